// Rows that somebody has accepted: what the sampler measures of them, what the doctor lists, and who may accept.

import postgres from "postgres";
import { beforeEach, expect, it, onTestFinished } from "vitest";
import { pagesOfTick } from "../../bench/ledger.ts";
import { lookAtAcceptedRows } from "../../commands/doctor/accepted-rows.ts";
import { runSqlFiles, setUp } from "../../commands/sql.ts";
import { type Check, checks } from "../../lib/counts/checks.ts";
import { databasePerTest, openConnection, targetOf } from "../helpers/database.ts";
import { sceneOf } from "../helpers/doctor.ts";
import { captureLog } from "../helpers/log.ts";
import { insertRows } from "../helpers/models.ts";
import { countsIn, evidenceOf, sampleAs } from "../helpers/sample.ts";

const { database, run } = databasePerTest();
let log: ReturnType<typeof captureLog>;
beforeEach(() => {
  log = captureLog();
});
const accept = (check: string, id: unknown, until = "now() + interval '5 days'") =>
  run(`insert into ledger_metrics.accepted ("check", id, until, why)
    values ('${check}', '${id}', ${until}, 'the bank takes its days')`);
/** `acceptedAt` as nobody but the owner of the table can set it. */
const acceptUpTo = (
  check: string,
  upTo: string,
  until = "now() + interval '80 days'",
  acceptedAt = "clock_timestamp()",
) =>
  run(`insert into ledger_metrics.accepted ("check", up_to, until, why, accepted_at)
    values ('${check}', ${upTo}, ${until}, 'from before', ${acceptedAt})`);
const names = ["accepted_rows", "overdue_rows", "oldest_open_age_seconds"];
/** Of a check with accepted rows: how many it counts, and which others are overdue, and since when. */
async function ofAccepted(): Promise<Record<string, unknown[]>> {
  const series = await evidenceOf(database.samplerUrl);
  const found = checks.map(({ id }): [string, unknown[]] => [id, names.map((name) => series[`${name}{check=${id}}`])]);
  return Object.fromEntries(found.filter(([, [accepted]]) => accepted !== undefined));
}
/** Until when the backlogs are accepted, in seconds from now, by the checks' ids. */
async function ends(): Promise<Record<string, number>> {
  const series = await evidenceOf(database.samplerUrl, /^accepted_until/);
  const ofCheck = ([name, value]: [string, number]) => [/check=(\w+)/.exec(name)?.[1], value - Date.now() / 1000];
  return Object.fromEntries(Object.entries(series).map(ofCheck));
}
const about = (seconds: number) => expect.closeTo(seconds, -2);
const day = 86_400;

it.each(checks)("of $id: as many as it counts, and the others that are overdue, while they run", async (check) => {
  const { id, table } = check;
  expect(await ofAccepted()).toEqual({});
  await run(insertRows(check, 1, { age: "5 days" }));
  const [first] = await database.admin.unsafe(`select id from ${table}`);
  await accept(id, first?.id);
  expect(await ofAccepted()).toEqual({ [id]: [1, 0, 0] });

  for (const age of ["1 day", "2 days"]) await run(insertRows(check, 1, { age })); // The next rows are as open as ever.
  const { overdueAfter, stuckAfter } = check; // A row that counts may be too young to be overdue.
  if (overdueAfter) await run(insertRows(check, 1, { age: `${stuckAfter} 10 seconds` }));
  expect(await ofAccepted()).toEqual({ [id]: [1, 2, about(2 * day)] });
  await accept(id, first?.id); // Twice is once.
  const [second] = await database.admin.unsafe(`select id from ${table} where id <> ${first?.id}`);
  await accept(id, second?.id, "now() - interval '1 second'"); // Its time is over.
  await accept(checks.find((other) => other.table !== table)?.id ?? "", second?.id);
  expect(await ofAccepted()).toMatchObject({ [id]: [1, 2, about(2 * day)] });

  await run(`update ${table} set status = 'settled' where id = ${first?.id}`);
  expect(await ofAccepted()).toMatchObject({ [id]: [0, 2, about(2 * day)] });
  expect(await ends()).toEqual({});
  await run(`update ledger_metrics.accepted set until = now() - interval '1 second'`);
  expect(await ofAccepted()).toEqual({});
  expect(log).toEqual([]);
});

it.each(checks)("of $id by a moment: all rows up to it, which count on, and no row after it", async (check) => {
  const { id, table, time } = check;
  await run(insertRows(check, 30, { age: "300 days" }));
  await acceptUpTo(id, "now() - interval '1 day'");
  expect([await ofAccepted(), await ends()]).toEqual([{ [id]: [30, 0, 0] }, { [id]: about(80 * day) }]);
  expect(countsIn(await sampleAs(database.samplerUrl), (error) => error)).toMatchObject({ [id]: 30 });

  await run(insertRows(check, 1, { age: "20 hours" }));
  expect(await ofAccepted()).toEqual({ [id]: [30, 1, about(72_000)] });
  const [old, newRow] = await database.admin.unsafe(
    `select id from ${table} order by ${time} = min(${time}) over () desc`,
  );
  // A row whose time moves is a new one.
  await run(`update ${table} set ${time} = now() - interval '21 hours' where id = ${old?.id}`);
  expect(await ofAccepted()).toEqual({ [id]: [29, 2, about(75_600)] });
  await accept(id, old?.id); // By its id, too.
  expect(await ofAccepted()).toEqual({ [id]: [30, 1, about(72_000)] });
  expect(await ends()).toEqual({ [id]: about(80 * day) });

  await run(`update ${table} set status = 'settled' where ${time} < now() - interval '1 day'`);
  expect(await ofAccepted()).toEqual({ [id]: [1, 1, about(72_000)] });
  expect(await ends()).toEqual({}); // The backlog is gone.
  expect(newRow).toBeDefined();
  expect(log).toEqual([]);
});

it("by a moment and by an id are shown with the moment's end, since it would hide the row alone", async () => {
  await run(insertRows({ id: "stuck_orders" }, 1, { age: "2 days" }));
  await acceptUpTo("stuck_orders", "now() - interval '1 day'");
  await accept("stuck_orders", 1);
  expect([await ofAccepted(), await ends()]).toEqual([{ stuck_orders: [1, 0, 0] }, { stuck_orders: about(80 * day) }]);
});

it("by a moment are no rows that did not count yet when it was written: they may get stuck afterwards", async () => {
  for (const { id, stuckAfter = "0 minutes" } of checks) {
    // Until two days ago, accepted then: a row that was a minute under its threshold, and rows that were past it.
    await run(insertRows({ id }, 2, { age: `${stuckAfter} 2 days 60 seconds` }));
    if (stuckAfter !== "0 minutes") await run(insertRows({ id }, 1, { age: `${stuckAfter} 2 days -60 seconds` }));
    await run(`alter table ledger_metrics.accepted
      drop constraint if exists "up_to is less than a day ago: accept newer rows by their ids"`); // As on the first day.
    await acceptUpTo(id, "now() - interval '2 days'", undefined, "now() - interval '2 days'");
  }
  const all = await ofAccepted();
  for (const { id, stuckAfter } of checks)
    expect([id, ...(all[id] ?? [])].slice(0, 3)).toEqual([id, 2, stuckAfter ? 1 : 0]);
});

it("by a moment are no rows without a time, which may be new", async () => {
  await run("alter table seller_transfers alter updated_at drop not null");
  await run(insertRows({ id: "failed_transfers" }, 6, { age: "2 days" }));
  await acceptUpTo("failed_transfers", "now() - interval '1 day'");
  for (const [index, time] of ["null", "'-infinity'", "'0001-01-01'", "'epoch'"].entries()) {
    await run(`update seller_transfers set updated_at = ${time}
      where id = (select min(id) from seller_transfers where updated_at > '1971-01-01')`);
    expect((await ofAccepted()).failed_transfers?.slice(0, 2)).toEqual([5 - index, 1 + index]);
  }
});

it("by a moment need no ids, and take times without a zone as UTC, whatever the database's zone is", async () => {
  await run(`alter database ${targetOf(database.adminUrl).database} set timezone = 'Asia/Kolkata';
    alter table orders drop id; alter table orders alter created_at drop default;
    alter table orders alter created_at type timestamp using created_at at time zone 'UTC'`);
  const insert = (age: string) =>
    run(`insert into orders (status, hyperswitch_payment_id, created_at)
    values ('pending', 'p', (now() - interval '${age}') at time zone 'UTC')`);
  await insert("25 hours");
  await insert("23 hours");
  await acceptUpTo("stuck_orders", "now() - interval '1 day'");
  expect(await ofAccepted()).toEqual({ stuck_orders: [1, 1, about(23 * 3_600)] });
  expect(log).toEqual([]);
});

it("are renewed and taken back by another row: the newest counts, also of one transaction", async () => {
  await run(insertRows({ id: "stuck_orders" }, 2, { age: "2 days" }));
  await accept("stuck_orders", 1);
  await accept("stuck_orders", 1, "now()");
  expect(await ofAccepted()).toEqual({});
  await acceptUpTo("stuck_orders", "now() - interval '25 hours'");
  await acceptUpTo("stuck_orders", "now() - interval '1 day'", "now() + interval '9 days'");
  expect([(await ofAccepted()).stuck_orders?.[0], await ends()]).toEqual([2, { stuck_orders: about(9 * day) }]);
  await acceptUpTo("stuck_orders", "now() - interval '3 days'"); // An earlier moment hides less.
  expect((await ofAccepted()).stuck_orders?.slice(0, 2)).toEqual([0, 2]);
  const insert = `insert into ledger_metrics.accepted ("check", up_to, until, why) values ('stuck_orders',`;
  await run(`${insert} now() - interval '1 day', now() + interval '1 day', 'yes'); ${insert} now(), now(), 'no')`);
  expect(await ofAccepted()).toEqual({});
  const [kept] = await database.admin`select count(*)::int as rows from ledger_metrics.accepted`;
  expect(kept).toEqual({ rows: 7 });
});

const ids = `insert into ledger_metrics.accepted ("check", id, until, why)
  select 'stuck_orders', id::text, now() + interval '9 days', 'known' from orders order by id limit 10`;
const moment = `insert into ledger_metrics.accepted ("check", up_to, until, why)
  values ('stuck_orders', now() - interval '1 day', now() + interval '80 days', 'from before')`;

it.each(["bigint", "integer", "uuid using gen_random_uuid()", "text", "varchar(40)"])(
  "cost a tick little beside a large backlog, with indexes and without, by a moment and by ids of the type %s",
  async (type) => {
    await run(
      `create or replace function gen_random_uuid() returns uuid language sql as 'select md5(random()::text)::uuid'`,
    );
    await run(`${insertRows({ id: "stuck_orders" }, 40_000, { age: "2 days" })}
      alter table orders alter id drop identity; alter table orders alter id type ${type.replace("gen_", "public.gen_")}; analyze orders`);
    const costOf = async (acceptance: string) => {
      await run("vacuum orders");
      const before = await pagesOfTick(database.admin);
      await run(acceptance);
      const after = await pagesOfTick(database.admin);
      const accepted = acceptance === ids ? 10 : 40_000;
      expect((await ofAccepted()).stuck_orders?.slice(0, 2)).toEqual([accepted, 40_000 - accepted]);
      await run("truncate ledger_metrics.accepted");
      return after / before;
    };
    // The table is read for the count, for its evidence, and once more; of ids, the primary key is read besides.
    for (const acceptance of [ids, moment]) expect(await costOf(acceptance)).toBeLessThan(1.6);
    await runSqlFiles(database.adminUrl, ["config/postgres/indexes.sql"]);
    expect(await costOf(moment)).toBeLessThan(1.1); // Of the index, what is after the moment.
  },
);

it("cost a tick nothing once they have ended, however many they are", async () => {
  await run(insertRows({ id: "stuck_orders" }, 3, { age: "2 days" }));
  for (const acceptance of [ids, moment]) await run(acceptance);
  const before = await pagesOfTick(database.admin);
  await run(`
    insert into ledger_metrics.accepted ("check", id, until, why, accepted_at)
      select 'stuck_orders', n::text, now() - interval '1 hour', 'over', now() - interval '2 hours'
      from generate_series(1, 20000) as n;
    insert into ledger_metrics.accepted ("check", up_to, until, why, accepted_at)
      select 'stuck_orders', '2026-01-01', now() - interval '1 hour', 'over', now() - interval '2 hours'
      from generate_series(1, 1000) as n`);
  await run("vacuum analyze ledger_metrics.accepted");
  expect((await pagesOfTick(database.admin)) - before).toBeLessThan(100);
  expect((await ofAccepted()).stuck_orders?.slice(0, 2)).toEqual([3, 0]);
});

it.each([
  [
    "bigint",
    ["9223372036854775807"],
    ["0", "+", " "]
      .map((before) => `${before}9223372036854775807`)
      .concat("9223372036854775807 ", "9223372036854775808", "x", ""),
  ],
  [
    "uuid using 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid",
    ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"],
    [
      "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
      "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}",
      "a0eebc999c0b4ef8bb6d6bb9bd380a11",
      "x",
    ],
  ],
  ["text using 'Ä 1'", ["Ä 1"], ["ä 1", "Ä 1 ", ""]],
])(
  "by an id of the type %s are rows whose id is written so, and what is no id accepts none",
  async (type, [id], others) => {
    await run(`${insertRows({ id: "stuck_orders" }, 1, { age: "2 days" })} alter table orders alter id drop identity;
    update orders set id = 9223372036854775807; alter table orders alter id type ${type}`);
    for (const other of others) await accept("stuck_orders", other);
    expect((await ofAccepted()).stuck_orders?.slice(0, 2)).toEqual([0, 1]);
    await accept("stuck_orders", id);
    expect((await ofAccepted()).stuck_orders?.slice(0, 2)).toEqual([1, 0]);
    expect(log).toEqual([]);
  },
);

it("are none where the table is missing, or may not be read", async () => {
  await run(insertRows({ id: "stuck_orders" }, 1, { age: "2 days" }));
  await accept("stuck_orders", 1);
  await acceptUpTo("stuck_orders", "now() - interval '1 day'");
  await run("revoke select on ledger_metrics.accepted from veza_ledger_sampler");
  expect(await ofAccepted()).toEqual({});
  expect(await evidenceOf(database.samplerUrl, /^overdue.*stuck_orders/)).toEqual({
    "overdue_rows{check=stuck_orders}": 1,
  });
  await run("drop table ledger_metrics.accepted");
  expect(await ofAccepted()).toEqual({});
  expect(log).toEqual([]);
});

it("are unknown where the ledger has no ids, with a line in the log, and count as open then", async () => {
  await run(insertRows({ id: "stuck_orders" }, 1, { age: "2 hours" }));
  await run("alter table orders rename id to number");
  await accept("stuck_orders", 1);
  expect(await ofAccepted()).toEqual({});
  expect(await evidenceOf(database.samplerUrl)).toMatchObject({
    "overdue_rows{check=stuck_orders}": 1,
    "evidence_success{check=stuck_orders}": 1,
  });
  expect(log[0]).toMatchObject({ message: "evidence not read", code: "42703" });
});

it("are none where several rows have an accepted id", async () => {
  await run(`${insertRows({ id: "stuck_orders" }, 2, { age: "2 hours" })} alter table orders rename to rows;
    create view orders as select 1 as id, status, hyperswitch_payment_id, created_at from rows;
    grant select on orders to veza_ledger_sampler`);
  await accept("stuck_orders", 1);
  expect(await ofAccepted()).toEqual({ stuck_orders: [0, 2, about(7_200)] });
});

it("are none of those without an id, whose time is read in UTC where it has no zone", async () => {
  await run(`
    alter database ${targetOf(database.adminUrl).database} set timezone = 'Asia/Kolkata';
    ${insertRows({ id: "stuck_orders" }, 1, { age: "2 days" })}
    alter table orders rename to rows;
    create view orders as select null::text as id, status, hyperswitch_payment_id, created_at at time zone 'UTC' as created_at from rows;
    grant select on orders to veza_ledger_sampler`);
  await accept("stuck_orders", 1);
  expect(await ofAccepted()).toEqual({ stuck_orders: [0, 1, about(172_800)] });
  await run("update rows set created_at = '1970-01-01'"); // What some software writes for "no time" is not "none".
  expect(await ofAccepted()).toEqual({ stuck_orders: [0, 1, about(Date.now() / 1000)] });
  await run("update rows set created_at = '-infinity'"); // How long it waits is unknown then, not 0.
  expect(await ofAccepted()).toEqual({ stuck_orders: [0, 1, Infinity] });
});

it("are accepted by people on call, who set no time of it and change nothing, and are refused by a sentence", async () => {
  await run("alter role veza_ledger_oncall password 'oncall'");
  const oncall = postgres(database.adminUrl.replace(/\/\/.*@/, "//veza_ledger_oncall:oncall@"), { max: 1 });
  onTestFinished(() => oncall.end());
  const row = { check: "'stuck_orders'", id: "'1'", until: "now() + interval '13 days'", why: "'known'" };
  const backlog = { ...row, id: undefined, up_to: "now() - interval '1 day'", until: "now() + interval '89 days'" };
  const insert = (values: Record<string, string | undefined>) => {
    const given = Object.entries(values).filter(([, value]) => value !== undefined);
    return oncall.unsafe(`begin read write; insert into ledger_metrics.accepted (${given.map(([name]) => `"${name}"`)})
      values (${given.map(([, value]) => value)}); commit`);
  };
  const refused = async (work: Promise<unknown>, reason: RegExp) => {
    await expect(work).rejects.toThrow(reason);
    await oncall.unsafe("rollback");
  };
  await insert(row);
  await insert(backlog);
  const noSuchCheck = /"there is no such check"/;
  await refused(insert({ ...row, until: "now() + interval '15 days'" }), /"a row is accepted for 14 days at most/);
  await refused(
    insert({ ...backlog, until: "now() + interval '91 days'" }),
    /"a backlog is accepted for 90 days at most/,
  );
  await refused(insert({ ...row, until: "'infinity'" }), /"a row is accepted for 14 days at most/);
  const tooNew = /"up_to is less than a day ago: accept newer rows by their ids/; // Such as rows of an incident.
  for (const upTo of ["now() + interval '1 minute'", "now()", "now() - interval '1439 minutes'"]) {
    await refused(insert({ ...backlog, up_to: upTo }), tooNew);
  }
  await insert({ ...backlog, up_to: "now()", until: "now()" }); // Whoever takes back what the installation accepted.
  await refused(insert({ ...row, up_to: "now()" }), /"give an id or a moment \(up_to\), and not both"/);
  await refused(insert({ ...row, id: undefined }), /"give an id or a moment \(up_to\), and not both"/);
  for (const from of [row, backlog]) {
    await refused(insert({ ...from, why: "' '" }), /"why is empty/);
    await refused(insert({ ...from, until: "now() - interval '1 year'" }), /"until is in the past: to take it back/);
    await refused(insert({ ...from, check: "'stuck_order'" }), noSuchCheck);
    await refused(insert({ ...from, check: "'VezaLedgerStuckOrders'" }), noSuchCheck);
    await refused(insert({ ...from, accepted_at: "now() + interval '10 days'" }), /permission denied/);
    await refused(insert({ ...from, accepted_by: "'somebody else'" }), /permission denied/);
  }
  for (const change of ["update ledger_metrics.accepted set why = 'x'", "delete from ledger_metrics.accepted"].concat(
    "truncate ledger_metrics.accepted",
  )) {
    await refused(oncall.unsafe(`begin read write; ${change}`), /permission denied/);
  }
  const kept = await oncall`select distinct accepted_by, why from ledger_metrics.accepted`;
  expect(kept).toEqual([{ accepted_by: "veza_ledger_oncall", why: "known" }]);
  await run(`set local role veza_ledger_oncall;
    insert into ledger_metrics.accepted ("check", id, until, why) values ('stuck_orders', '2', now(), 'known')`);
  const [byLogin] = await oncall`select accepted_by from ledger_metrics.accepted where id = '2'`;
  expect(byLogin).toEqual({ accepted_by: "postgres" }); // A person who takes the role stays known.
});

it("stay where a later version has dropped their check, which takes no new ones", async () => {
  await run(`alter table ledger_metrics.accepted drop constraint "there is no such check"`);
  await accept("gone", 1);
  await runSqlFiles(database.adminUrl, setUp);
  await expect(accept("gone", 2)).rejects.toThrow("there is no such check");
  expect(await database.admin`select id from ledger_metrics.accepted`).toEqual([{ id: "1" }]);
});

it("an upgrade with the same checks waits for nobody who writes, and one with others replaces them", async () => {
  const session = await database.admin.reserve();
  onTestFinished(() => session.release());
  await session.unsafe(`begin; insert into ledger_metrics.deliveries (id, digest, words) values ('1', '', '');
    insert into ledger_metrics.accepted ("check", up_to, until, why) values ('stuck_orders', now(), now(), 'x')`);
  await runSqlFiles(database.adminUrl, setUp);
  await session.unsafe(`rollback; alter table ledger_metrics.accepted drop constraint "there is no such check",
    add constraint "there is no such check" check ("check" in ('stuck_orders', 'stuck_refunds'))`);
  await expect(accept("orphan_refunds", 1)).rejects.toThrow("there is no such check");
  await runSqlFiles(database.adminUrl, setUp);
  await accept("orphan_refunds", 1);
});

it("an upgrade changes a constraint whose definition has changed under the same name, and no other", async () => {
  const name = '"why is empty: say why, for whoever reads it later"';
  const oids = () =>
    database.admin`select oid::int from pg_constraint where conrelid = 'ledger_metrics.accepted'::regclass order by conname`;
  const before = await oids();
  await run(`alter table ledger_metrics.accepted drop constraint ${name}, add constraint ${name} check (why <> 'x');
    comment on constraint ${name} on ledger_metrics.accepted is 'check (why <> ''x'')'`);
  await runSqlFiles(database.adminUrl, setUp);
  const unsaid = `insert into ledger_metrics.accepted ("check", id, until, why) values ('stuck_orders', '1', now(), '')`;
  await expect(run(unsaid)).rejects.toThrow("why is empty");
  const after = await oids();
  expect(after.filter(({ oid }) => !before.some((kept) => kept.oid === oid))).toHaveLength(1);
});

/** The table of accepted rows: its columns, constraints, and the rights of people on call. */
async function shape() {
  const columns = await database.admin`
    select column_name, is_nullable, column_default from information_schema.columns
    where table_schema = 'ledger_metrics' and table_name = 'accepted' order by 1`;
  const constraints = await database.admin`
    select conname, pg_get_constraintdef(oid) from pg_constraint
    where conrelid = 'ledger_metrics.accepted'::regclass and contype <> 'n' order by 1`;
  const rights = await database.admin`
    select privilege_type from information_schema.table_privileges
    where table_name = 'accepted' and grantee = 'veza_ledger_oncall' order by 1`;
  return { columns, constraints, rights };
}

it("have the limits of today after an upgrade from a version with another limit", async () => {
  const expected = await shape();
  // Where one of these changes, its name has to change, too: a database that has the name keeps the old one.
  const spans = expected.constraints.flatMap(({ conname, pg_get_constraintdef: definition }) =>
    [...definition.matchAll(/'(\d+):00:00'/g)].map(([, hours]) => `${conname.slice(0, 39)}: ${hours} h`),
  );
  expect(spans).toEqual([
    "a backlog is accepted for 90 days at mo: 2161 h",
    "a row is accepted for 14 days at most: : 337 h",
    "until is in the past: to take it back, : 01 h",
    "up_to is less than a day ago: accept ne: 24 h",
  ]);
  await run(`alter table ledger_metrics.accepted
    drop constraint "a row is accepted for 14 days at most: until is later",
    add constraint "a row is accepted for 7 days at most: until is later" check (
      id is null or until <= accepted_at + interval '169 hours')`);
  await runSqlFiles(database.adminUrl, setUp);
  expect(await shape()).toEqual(expected);
});

it("stay when a table of a version without moments is upgraded, twice, which people on call could delete from", async () => {
  const expected = await shape();
  await run(`drop table ledger_metrics.accepted;
    create table ledger_metrics.accepted (
      "check" text not null,
      id text not null,
      until timestamptz not null,
      why text not null check (why ~ '\\S'),
      accepted_at timestamptz not null default now(),
      accepted_by text not null default session_user,
      primary key ("check", id, accepted_at),
      constraint at_most_14_days check (until <= accepted_at + interval '336 hours'),
      constraint known_check check ("check" in ('stuck_orders'))
    );
    grant select, insert ("check", id, until, why), delete on ledger_metrics.accepted to veza_ledger_oncall;
    insert into ledger_metrics.accepted values
      ('stuck_orders', '1', now() + interval '3 days', 'known'), ('stuck_orders', '2', '2020-01-01', 'over')`);
  await run(insertRows({ id: "stuck_orders" }, 2, { age: "2 days" }));
  for (const _ of ["once", "twice"]) {
    await runSqlFiles(database.adminUrl, setUp);
    expect(await shape()).toEqual(expected);
  }
  expect(await ofAccepted()).toEqual({ stuck_orders: [1, 1, about(2 * day)] });
});

it("lists what is accepted, the soonest to run out first, and doubts what accepts no row", async () => {
  const scene = sceneOf(await openConnection(database.samplerUrl));
  expect(await lookAtAcceptedRows(scene)).toMatchObject({ mark: "✓", found: "none" });
  const [{ id: soon }, { id: sooner }] = checks as [Check, Check];
  await run(`${insertRows({ id: soon }, 1, { age: "2 hours" })} ${insertRows({ id: soon }, 1, { age: "2 days" })}`);
  const named = '("check", id, up_to, until, why, accepted_at, accepted_by)';
  await run(`insert into ledger_metrics.accepted ${named} values
    ('${soon}', '1', null, now() + interval '5 days', 'the bank takes its days', now(), 'alice'),
    ('${soon}', null, now() - interval '1 day', now() + interval '30 days', 'from before', now(), 'carol'),
    ('${sooner}', null, now() - interval '1 day', now() + interval '40 days', 'from before', now(), 'carol'),
    ('${sooner}', '4', null, now() + interval '1 day', 'closed account', now(), 'bob'),
    ('${sooner}', '3', null, now() + interval '1 day', 'a mistake', now() - interval '1 minute', 'bob'),
    ('${sooner}', '3', null, now(), 'taken back', now(), 'bob'),
    ('${soon}', '2', null, now() - interval '23 hours', 'over', now() - interval '1 day', 'bob')`);
  const { found, more = [], expected, remedy } = await lookAtAcceptedRows(scene);
  const time = "\\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d UTC";
  expect([found, ...more]).toEqual(
    [
      `${sooner} 4, until ${time}, by bob: closed account`,
      `${soon} 1, until ${time}, by alice: the bank takes its days`,
      `${soon} up to ${time}, 1 row, until ${time}, by carol: from before`,
      `${sooner} up to ${time}, 0 rows, until ${time}, by carol: from before`,
    ].map((line) => expect.stringMatching(`^${line}$`)),
  );
  expect(expected).toBe(`rows that count now, and not: ${sooner} 4`);
  const step = remedy.find((step) => typeof step === "object");
  expect(step).toMatchObject({ by: { role: "veza_ledger_oncall" } });
  await run(`set role veza_ledger_oncall; ${step?.sql.replace(/^begin read write;|; commit$/g, "")}; reset role`);
  expect(await lookAtAcceptedRows(scene)).toMatchObject({
    mark: "✓",
    more: [expect.stringContaining("up to"), expect.stringContaining("up to")],
  });
});

it("may end after 14 or 90 days of a zone whose clocks go back meanwhile: an hour later", async () => {
  const [id, upTo] = [`"check", id`, `"check", up_to`];
  const insert = (columns: string, what: string, days: number) =>
    run(`set local timezone = 'Europe/Paris'; insert into ledger_metrics.accepted (${columns}, until, why, accepted_at)
      values ('stuck_orders', ${what}, timestamptz '2026-10-20' + interval '${days} days', 'x', '2026-10-20')`);
  await insert(id, "'1'", 14);
  await insert(upTo, "'2026-10-19'", 90);
  await expect(insert(id, "'2'", 15)).rejects.toThrow("14 days at most");
  await expect(insert(upTo, "'2026-10-19'", 91)).rejects.toThrow("90 days at most");
});
