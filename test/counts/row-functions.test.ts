// The functions for people on call: they list what the alerts count, and accept no other row.

import fc from "fast-check";
import postgres from "postgres";
import { describe, expect, it, onTestFinished } from "vitest";
import { runSqlFiles, setUp } from "../../commands/sql.ts";
import { measureAcceptance } from "../../lib/counts/accepted.ts";
import { checks } from "../../lib/counts/checks.ts";
import { runChecks } from "../../lib/counts/counting.ts";
import { databaseForFile, databasePerTest } from "../helpers/database.ts";
import { insertRows, modelOf, providerIds } from "../helpers/models.ts";
import { evidenceOf } from "../helpers/sample.ts";

const { database, run } = databasePerTest();
const list = (id: string, columns = "*") => `select ${columns} from ledger_metrics.${id}()`;

/** As people on call log in, with what roles.sql sets for them. */
function onCall(): postgres.Sql {
  const sql = postgres(database.adminUrl.replace(/\/\/.*@/, "//veza_ledger_oncall:oncall@"), { max: 1 });
  onTestFinished(() => sql.end());
  return sql;
}
const overdueOf = async (id: string) => (await evidenceOf(database.samplerUrl))[`overdue_rows{check=${id}}`];
const firingOf = async (sql: postgres.Sql, id: string) =>
  (await sql.unsafe(list(id, "count(*) filter (where fires)::int as firing")))[0]?.firing;

it("of a backlog fire as the gauge says, before and after some of them are accepted", async () => {
  await run(`${insertRows({ id: "stuck_orders" }, 3_000, { age: "400 days" })}
    ${insertRows({ id: "failed_transfers" }, 2)} ${insertRows({ id: "orphan_refunds" }, 1)}
    ${insertRows({ id: "stuck_refunds" }, 1)}`);
  const sql = onCall();
  const all = async () => Promise.all(checks.map(async ({ id }) => [await firingOf(sql, id), await overdueOf(id)]));
  const expected = { stuck_orders: 3_000, stuck_refunds: 1, failed_transfers: 2, orphan_refunds: 1 };
  const both = (counts: Record<string, number>) => checks.map(({ id }) => [counts[id] ?? 0, counts[id] ?? 0]);
  expect(await all()).toEqual(both(expected));
  const listed = await sql.unsafe(list("stuck_orders"));
  const accepted = await sql.unsafe(`begin read write;
    select * from ledger_metrics.accept('stuck_orders', '{1,2}', 'known', now() + interval '1 day'); commit`);
  expect((accepted as unknown as postgres.Row[][])[1]).toMatchObject(
    ["1", "2"].map((id) => ({
      ...{ accepted_check: "stuck_orders", id, accepted_because: "known", accepted_by: "veza_ledger_oncall" },
      since: listed.find((row) => row.id === id)?.since,
    })),
  );
  expect(listed[0]?.since).toBeInstanceOf(Date);
  expect(await all()).toEqual(both({ ...expected, stuck_orders: 2_998 }));
});

it.each(checks)("of $id list what fires first, by age, then what does not, with what finds it", async (check) => {
  const { id, overdueAfter, table } = check;
  await run(`${insertRows(check, 1, { age: "2 days" })} ${insertRows(check, 1, { age: "4 days" })}
    ${insertRows(check, 1, { age: "3 days" })} ${insertRows(check, 1, { age: "5 days" })}
    ${overdueAfter ? insertRows(check, 1, { age: `${check.stuckAfter} 10 seconds` }) : ""}
    insert into ledger_metrics.accepted ("check", id, until, why) values ('${id}', '4', now() + interval '1 day', 'known')`);
  const rows = await onCall().unsafe(list(id));
  const young = overdueAfter ? [["5", false, null]] : [];
  expect(rows.map((row) => [row.id, row.fires, row.accepted_because])).toEqual([
    ["2", true, null],
    ["3", true, null],
    ["1", true, null],
    ["4", false, "known"],
    ...young,
  ]);
  const provider = providerIds[table as keyof typeof providerIds];
  if (modelOf(check).hasProviderId) expect(rows[0]).toMatchObject({ [provider as string]: "id_1" });
});

it("list rows without a time first; of rows accepted by id and by a moment, the later end and the id's reason", async () => {
  await run(`alter table seller_transfers alter updated_at drop not null;
    ${insertRows({ id: "failed_transfers" }, 3, { age: "2 days" })} ${insertRows({ id: "failed_transfers" }, 1)}
    update seller_transfers set updated_at = null where id = 3;
    insert into ledger_metrics.accepted ("check", id, up_to, until, why) values
      ('failed_transfers', '1', null, now() + interval '1 day', 'by its id'),
      ('failed_transfers', null, now() - interval '1 day', now() + interval '9 days', 'by a moment')`);
  const rows = await onCall().unsafe(
    list("failed_transfers", "id, extract(day from accepted_until + interval '1 hour' - now())::int, accepted_because"),
  );
  expect(rows.map((row) => Object.values(row))).toEqual([
    ["3", null, null],
    ["4", null, null],
    ["1", 9, "by its id"],
    ["2", 9, "by a moment"],
  ]);
});

it("list the orphan refunds that were failed in the last 14 days, with when", async () => {
  await run(`insert into refunds (status, hyperswitch_refund_id, created_at, updated_at)
    select status, provider, now() - interval '20 days', now() - age
    from (values ('failed', null, interval '13 days'), ('failed', '', '2 hours'), ('failed', 'r', '1 hour'),
      ('failed', null, '15 days'), ('pending', null, '1 hour')) as row (status, provider, age)`);
  const rows = await onCall()`select id, since < now() - interval '19 days' as is_old,
    round(extract(epoch from now() - failed_at) / 3600)::int as hours from ledger_metrics.failed_orphan_refunds()`;
  expect(rows).toEqual([
    { id: "2", is_old: true, hours: 2 },
    { id: "1", is_old: true, hours: 13 * 24 },
  ]);
});

describe("accept", () => {
  const accept = (check: string, ids: string, why = "'known'", until = "now() + interval '1 day'") =>
    `begin read write; select * from ledger_metrics.accept(${check}, ${ids}, ${why}, ${until}); commit`;
  const lists = "select * from ledger_metrics.stuck_orders() lists what can be accepted.";

  it.each([
    ["an id that is not there", accept("'stuck_orders'", "'{1,4711}'"), "stuck_orders does not count 4711."],
    ["an order that is paid", accept("'stuck_orders'", "'{2}'"), "stuck_orders does not count 2."],
    ["several ids as one", accept("'stuck_orders'", "array['1 3']"), "stuck_orders does not count 1 3."],
    ["an empty list", accept("'stuck_orders'", "'{}'"), "the list of ids is empty, or one of them is null."],
    ["no list", accept("'stuck_orders'", "null"), "the list of ids is empty, or one of them is null."],
    ["an id that is null", accept("'stuck_orders'", "'{1,null}'"), "the list of ids is empty, or one of them is null."],
    ["an empty reason", accept("'stuck_orders'", "'{1}'", "' \t'"), "the reason is empty. Say why, for whoever"],
    ["no reason", accept("'stuck_orders'", "'{1}'", "null"), "the reason is empty. Say why, for whoever"],
    ["no time", accept("'stuck_orders'", "'{1}'", "'x'", "null"), "until is empty. Say until when."],
    ["an unknown check", accept("'amounts'", "'{1}'"), "there is no check amounts."],
    ["a check that is null", accept("null", "'{1}'"), "there is no check null."],
    [
      "a transaction that only reads",
      accept("'stuck_orders'", "'{1}'").replace("read write", "read only"),
      "this transaction may only read.",
    ],
  ])("refuses %s with a sentence, and what can be accepted, and writes nothing", async (_, statement, sentence) => {
    await run(`${insertRows({ id: "stuck_orders" }, 3)} update orders set status = 'paid' where id = 2`);
    const sql = onCall();
    const error = await sql.unsafe(statement).catch((error) => error);
    expect(error.message).toMatch(`Nothing is accepted: ${sentence}`);
    expect(error.hint).toContain(/read only/.test(statement) ? "begin read write; " : "select * from ledger_metrics.");
    if (!/check|only/.test(sentence)) expect(error.hint).toContain(lists);
    if (/count/.test(sentence)) expect(error.hint).toContain("mistyped, is of another check, or was repaired");
    expect(await database.admin`select * from ledger_metrics.accepted`).toEqual([]);
  });

  it("refuses an id of several rows, and what the table refuses", async () => {
    await run(`${insertRows({ id: "stuck_orders" }, 2)}
      alter table orders alter id drop identity, drop constraint orders_pkey; update orders set id = 7`);
    const sql = onCall();
    await expect(sql.unsafe(accept("'stuck_orders'", "'{7}'"))).rejects.toThrow(
      "several rows of stuck_orders have the id 7.",
    );
    await sql.unsafe("rollback");
    await run(`update orders set id = 8 where ctid = (select min(ctid) from orders);
      insert into ledger_metrics.accepted ("check", id, until, why) values ('stuck_orders', '7', now(), 'known')`);
    for (const [until, sentence] of [
      ["now() + interval '15 days'", "a row is accepted for 14 days at most: until is later"],
      ["now() - interval '1 day'", "until is in the past: to take it back, until is now()"],
    ]) {
      await expect(sql.unsafe(accept("'stuck_orders'", "'{7}'", "'x'", until))).rejects.toMatchObject({
        message: `Nothing is accepted: ${sentence}.`,
        hint: lists,
      });
      await sql.unsafe("rollback");
    }
  });

  it("takes an acceptance back, also of a row that no longer counts, and takes an id once", async () => {
    await run(insertRows({ id: "stuck_orders" }, 2));
    const sql = onCall();
    await sql.unsafe(accept("'stuck_orders'", "'{1,2,1}'"));
    expect(await overdueOf("stuck_orders")).toBe(0);
    await run("update orders set status = 'paid' where id = 1");
    await sql.unsafe(accept("'stuck_orders'", "'{1,2}'", "'taken back'", "now()"));
    expect([await overdueOf("stuck_orders"), await firingOf(sql, "stuck_orders")]).toEqual([1, 1]);
    expect(await database.admin`select id from ledger_metrics.accepted order by accepted_at`).toHaveLength(4);
  });

  it.each([
    ["waits, and was never accepted", "stuck_orders", 2],
    ["is accepted of another check", "orphan_refunds", 1],
    ["is not there", "stuck_orders", 3],
  ])("takes nothing back where the row %s", async (_, check, id) => {
    await run(`${insertRows({ id: "stuck_orders" }, 2)} ${insertRows({ id: "orphan_refunds" }, 1)}`);
    const sql = onCall();
    await sql.unsafe(accept("'stuck_orders'", "'{1}'"));
    await expect(sql.unsafe(accept(`'${check}'`, `'{${id}}'`, "'x'", "now()"))).rejects.toThrow(
      `Nothing is taken back: no acceptance of ${check} has the id ${id}.`,
    );
    await sql.unsafe("rollback");
    expect(await overdueOf("stuck_orders")).toBe(1);
  });
});

it("may be called by people on call alone", async () => {
  const rows = await database.admin`
    select proname, array(select grantee::regrole::text from aclexplode(proacl) where grantee <> proowner) as grantees
    from pg_proc where pronamespace = 'ledger_metrics'::regnamespace and proname <> 'amounts'`;
  const names = [...checks.map(({ id }) => id), "failed_orphan_refunds", "accept"];
  expect(rows.toSorted((a, b) => a.proname.localeCompare(b.proname))).toEqual(
    names.sort().map((proname) => ({ proname, grantees: ["veza_ledger_oncall"] })),
  );
});

it("stop no migration, and one that lacks a column breaks no other", async () => {
  const sql = onCall();
  await run(
    "alter table orders rename hyperswitch_payment_id to payment; alter table refunds drop hyperswitch_refund_id",
  );
  await expect(sql.unsafe(list("stuck_orders"))).rejects.toThrow('column "hyperswitch_payment_id" does not exist');
  await expect(sql.unsafe(list("orphan_refunds"))).rejects.toThrow('column "hyperswitch_refund_id" does not exist');
  for (const id of ["failed_transfers", "pending_reversals"]) expect(await sql.unsafe(list(id))).toEqual([]);
});

it("refuse to leave out rows that row-level security hides", async () => {
  await run(`${insertRows({ id: "stuck_orders" }, 1)} alter table orders enable row level security;
    create policy none on orders using (false)`);
  const sql = onCall();
  await sql`set row_security = on`;
  await expect(sql.unsafe(list("stuck_orders"))).rejects.toThrow("row-level security policy");
});

it("read where the sampler does, in its zone, whatever the caller's are", async () => {
  await run(`create schema veza; alter table orders set schema veza;
    alter table veza.orders alter created_at drop default;
    alter table veza.orders alter created_at type timestamp using created_at at time zone 'UTC'`);
  await runSqlFiles(database.adminUrl, setUp, "veza, public", "Asia/Kolkata");
  await run(`insert into veza.orders (status, hyperswitch_payment_id, created_at)
    values ('pending', 'p', (now() - interval '41 minutes') at time zone 'Asia/Kolkata')`);
  const sql = onCall();
  await sql`set timezone = 'America/New_York'`;
  await sql`set search_path = public`;
  const [row] = await sql`select fires, round(extract(epoch from now() - since) / 60)::int as minutes
    from ledger_metrics.stuck_orders()`;
  expect(row).toEqual({ fires: true, minutes: 41 });
});

it("are made anew by the next run of the files, also where their columns have changed", async () => {
  await run(`drop function ledger_metrics.stuck_orders();
    create function ledger_metrics.stuck_orders() returns table (id text) language sql as 'select null::text'`);
  await runSqlFiles(database.adminUrl, setUp);
  await run(insertRows({ id: "stuck_orders" }, 1));
  expect(await onCall().unsafe(list("stuck_orders"))).toMatchObject([{ id: "1", fires: true }]);
});

// Random ledgers and acceptances, each in one transaction, so that now() stands still. LISTS_SEED repeats a run.
const minute = 60;
const day = 24 * 60 * minute;
const thresholds = [5, 10, 30, 40].map((minutes) => minutes * minute);
const ago = fc.oneof(
  fc.tuple(fc.constantFrom(...thresholds), fc.constantFrom(-1, 0, 1)).map(([at, more]) => `${at * 1e6 + more}`),
  fc.integer({ min: 0, max: 100 * day }).map((seconds) => `${seconds}000000`),
);
const row = fc.record({
  isTwin: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
  ago,
  hasTime: fc.integer({ min: 0, max: 9 }).map((n) => n > 0),
  isEpoch: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
  provider: fc.constantFrom("p", "", null),
  status: fc.constantFrom("pending", "pending", "permanently_failed", "reversal_pending", "paid"),
});
const acceptance = fc.record({
  check: fc.constantFrom(...checks.map(({ id }) => id)),
  id: fc.option(fc.integer({ min: 1, max: 20 }), { nil: null }),
  upTo: ago,
  acceptedAgo: fc.integer({ min: 0, max: 100 }),
  until: fc.constantFrom(
    ...["now() + interval '1 day'", "now() + interval '9 days'", "now() + interval '2 days'"],
    ...["now()", "now() - interval '1 hour'"],
  ),
});
const ledger = fc.record({
  rows: fc.array(row, { minLength: 5, maxLength: 20 }),
  acceptances: fc.array(acceptance, { maxLength: 20 }),
  idType: fc.constantFrom("bigint", "integer", "uuid", "text", "varchar(40)"),
  timeType: fc.constantFrom("timestamptz", "timestamp"),
  zone: fc.constantFrom("UTC", "Asia/Kolkata"),
});
type Ledger = typeof ledger extends fc.Arbitrary<infer L> ? L : never;

const idOf = ({ idType }: Ledger, n: number) => {
  if (idType === "uuid") return `a0eebc99-9c0b-4ef8-bb6d-${String(n).padStart(12, "0")}`;
  return idType === "bigint" || idType === "integer" ? String(n) : `order ${n}`;
};

/** SQL: this ledger. Its ids are not unique, as in a view of two tables. */
function made(given: Ledger): string {
  const { rows, acceptances, idType, timeType, zone } = given;
  const text = (value: string | null) => (value === null ? "null" : `'${value}'`);
  const tables = Object.entries(providerIds).map(([table, provider]) => {
    const values = rows.map((row, index) => {
      const at = row.isEpoch ? "timestamptz 'epoch'" : `now() - ${row.ago} * interval '1 microsecond'`;
      const time = row.hasTime ? (timeType === "timestamp" ? `(${at}) at time zone '${zone}'` : at) : "null";
      return `('${idOf(given, row.isTwin ? index : index + 1)}', '${row.status}', ${provider ? `${text(row.provider)}, ` : ""}${time}, ${time})`;
    });
    return `drop table ${table}; create table ${table} (id ${idType}, status text,
        ${provider ? `${provider} text, ` : ""} created_at ${timeType}, updated_at ${timeType});
      ${values.length > 0 ? `insert into ${table} values ${values};` : ""}`;
  });
  const accepted = acceptances.map(
    ({ check, id, upTo, acceptedAgo, until }, index) =>
      `('${check}', ${id === null ? `null, now() - ${upTo} * interval '1 microsecond'` : `'${idOf(given, id)}', null`},
        ${until}, 'x', now() - interval '${acceptedAgo} minutes ${index} microseconds')`,
  );
  return `${tables.join("")} ${accepted.length > 0 ? `insert into ledger_metrics.accepted ("check", id, up_to, until, why, accepted_at) values ${accepted}` : ""}`;
}

const random = await databaseForFile();

it("fire as often as the gauge says, in random ledgers with random acceptances", { timeout: 300_000 }, async () => {
  const session = await random.admin.reserve();
  onTestFinished(() => session.release());
  await session.unsafe(`alter table ledger_metrics.accepted
    drop constraint "up_to is less than a day ago: accept newer rows by their ids",
    drop constraint "until is in the past: to take it back, until is now()"`);
  await runSqlFiles(random.adminUrl, []);
  const seen = { fires: 0, accepted: 0 };
  const seed = Number(process.env.LISTS_SEED ?? Math.floor(Math.random() * 2 ** 31));
  const property = fc.asyncProperty(ledger, async (given) => {
    await session.unsafe(`begin; ${made(given)}`);
    try {
      for (const { id } of checks)
        await session.unsafe(`alter function ledger_metrics.${id}() set timezone = '${given.zone}'`);
      await session.unsafe(`set local search_path = pg_catalog, public; set local timezone = '${given.zone}'`);
      const ask = async (question: string) => session.unsafe(question);
      const outcomes = await runChecks(ask);
      const acceptance = await measureAcceptance(ask);
      for (const outcome of outcomes) {
        if ("error" in outcome) throw outcome.error;
        const { id } = outcome.check;
        const rows = await session.unsafe(list(id));
        const firing = rows.filter(({ fires }) => fires);
        const accepted = rows.filter(({ accepted_until }) => accepted_until !== null);
        expect(rows).toHaveLength(outcome.count);
        expect(firing).toHaveLength((acceptance.get(id) ?? outcome).overdue);
        expect(accepted).toHaveLength(outcome.count - (acceptance.get(id)?.rows ?? outcome.count));
        expect(firing.filter(({ accepted_until }) => accepted_until !== null)).toEqual([]);
        seen.fires += firing.length;
        seen.accepted += accepted.length;
      }
    } finally {
      await session.unsafe("rollback");
    }
  });
  await fc.assert(property, { numRuns: 200, seed });
  expect(seen.fires).toBeGreaterThan(50);
  expect(seen.accepted).toBeGreaterThan(50);
});
