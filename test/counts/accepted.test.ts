// Rows that somebody has accepted: what the sampler measures of them, what the doctor lists, and who may accept.

import postgres from "postgres";
import { beforeEach, expect, it, onTestFinished } from "vitest";
import { lookAtAccepted } from "../../commands/doctor/accepted.ts";
import { runSqlFiles, setUp } from "../../commands/sql.ts";
import { type Check, checks } from "../../lib/checks.ts";
import { databasePerTest, openConnection, targetOf } from "../helpers/database.ts";
import { sceneOf } from "../helpers/doctor.ts";
import { captureLog } from "../helpers/log.ts";
import { insertRows } from "../helpers/models.ts";
import { evidenceOf } from "../helpers/sample.ts";

const { database, run } = databasePerTest();
let log: ReturnType<typeof captureLog>;
beforeEach(() => {
  log = captureLog();
});
const accept = (check: string, id: unknown, until = "now() + interval '5 days'") =>
  run(`insert into ledger_metrics.accepted values ('${check}', '${id}', ${until}, 'the bank takes its days')`);
/** Of a check with accepted rows: how many it counts, and which others are overdue, and since when. */
async function ofAccepted(): Promise<Record<string, unknown[]>> {
  const series = await evidenceOf(database.samplerUrl);
  const found = checks.map(({ id }): [string, unknown[]] => [
    id,
    ["accepted_rows", "overdue_rows", "oldest_open_age_seconds"].map((name) => series[`${name}{check=${id}}`]),
  ]);
  return Object.fromEntries(found.filter(([, [accepted]]) => accepted !== undefined));
}
const about = (seconds: number) => expect.closeTo(seconds, -2);

it.each(checks)("of $id: as many as it counts, and the others that are overdue, while they run", async (check) => {
  const { id, table } = check;
  expect(await ofAccepted()).toEqual({});
  await run(insertRows(check, 1, { age: "5 days" }));
  const [first] = await database.admin.unsafe(`select id from ${table}`);
  await accept(id, first?.id);
  expect(await ofAccepted()).toEqual({ [id]: [1, 0, 0] });

  for (const age of ["1 day", "2 days"]) await run(insertRows(check, 1, { age })); // The next rows are as open as ever.
  expect(await ofAccepted()).toEqual({ [id]: [1, 2, about(172_800)] });
  await accept(id, first?.id); // Twice is once.
  const [second] = await database.admin.unsafe(`select id from ${table} where id <> ${first?.id}`);
  await accept(id, second?.id, "now() - interval '1 second'"); // Its time is over.
  await accept(checks.find((other) => other.table !== table)?.id ?? "", second?.id);
  expect(await ofAccepted()).toMatchObject({ [id]: [1, 2, about(172_800)] });

  await run(`update ${table} set status = 'settled' where id = ${first?.id}`);
  expect(await ofAccepted()).toMatchObject({ [id]: [0, 2, about(172_800)] });
  await run(`update ledger_metrics.accepted set until = now() - interval '1 second'`);
  expect(await ofAccepted()).toEqual({});
  expect(log).toEqual([]);
});

it("are none where the table is missing, or may not be read", async () => {
  await accept("stuck_orders", 1);
  await run("revoke select on ledger_metrics.accepted from veza_ledger_sampler");
  expect(await ofAccepted()).toEqual({});
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

it("are accepted for 14 days at most, with a reason, by people on call, who set no time", async () => {
  await run("alter role veza_ledger_oncall password 'oncall'");
  const oncall = postgres(database.adminUrl.replace(/\/\/.*@/, "//veza_ledger_oncall:oncall@"), { max: 1 });
  onTestFinished(() => oncall.end());
  const insert = (until: string, why = "known", more = "", check = "stuck_orders") =>
    oncall.unsafe(`begin read write;
      insert into ledger_metrics.accepted ("check", id, until, why${more && ", accepted_at"})
        values ('${check}', '1', now() + interval '${until}', '${why}'${more}); commit`);
  const refused = async (work: Promise<unknown>, reason: RegExp) => {
    await expect(work).rejects.toThrow(reason);
    await oncall.unsafe("rollback");
  };
  await insert("13 days");
  await refused(insert("15 days"), /at_most_14_days/);
  await refused(insert("1 day", " "), /violates check constraint/);
  await refused(insert("1 day", "known", "", "stuck_order"), /known_check/);
  await refused(insert("1 day", "known", "", "VezaLedgerStuckOrders"), /known_check/);
  await refused(insert("20 days", "known", ", now() + interval '10 days'"), /permission denied/);
  await refused(oncall.unsafe("begin read write; update ledger_metrics.accepted set why = 'x'"), /permission denied/);
  const [row] = await oncall`select accepted_by, why from ledger_metrics.accepted`;
  expect(row).toEqual({ accepted_by: "veza_ledger_oncall", why: "known" });
  await oncall.unsafe("begin read write; delete from ledger_metrics.accepted where id = '1'; commit");
  expect(await oncall`select from ledger_metrics.accepted`).toEqual([]);
  await run(`set local role veza_ledger_oncall;
    insert into ledger_metrics.accepted ("check", id, until, why) values ('stuck_orders', '1', now(), 'known')`);
  const [byLogin] = await oncall`select accepted_by from ledger_metrics.accepted`;
  expect(byLogin).toEqual({ accepted_by: "postgres" }); // A person who takes the role stays known.
});

it("stay where a later version has dropped their check, which takes no new ones", async () => {
  await run("alter table ledger_metrics.accepted drop constraint known_check");
  await accept("gone", 1);
  await runSqlFiles(database.adminUrl, setUp);
  await expect(accept("gone", 2)).rejects.toThrow("known_check");
  expect(await database.admin`select id from ledger_metrics.accepted`).toEqual([{ id: "1" }]);
});

it("lists the accepted rows, the soonest to run out first", async () => {
  const scene = sceneOf(await openConnection(database.samplerUrl));
  expect(await lookAtAccepted(scene)).toMatchObject({ mark: "✓", found: "none" });
  const [{ id: soon }, { id: sooner }] = checks as [Check, Check];
  await run(insertRows({ id: soon }, 1));
  await run(`insert into ledger_metrics.accepted values
    ('${soon}', '1', now() + interval '5 days', 'the bank takes its days', now(), 'alice'),
    ('${sooner}', '4', now() + interval '1 day', 'closed account', now(), 'bob'),
    ('${soon}', '2', now() - interval '1 minute', 'over', now() - interval '1 day', 'bob')`);
  const { found, more = [], expected } = await lookAtAccepted(scene);
  expect([found, ...more]).toEqual([
    expect.stringMatching(`^${sooner} 4, until \\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d UTC, by bob: closed account$`),
    expect.stringMatching(`^${soon} 1, until .* UTC, by alice: the bank takes its days$`),
  ]);
  expect(expected).toBe(`rows that count now, and not ('${sooner}', '4')`);
});
