// What a ledger may have besides: the money at risk, rows that a person has accepted, and an outbox.

import postgres from "postgres";
import { beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { runSqlFiles } from "../../commands/sql.ts";
import { checks } from "../../lib/checks.ts";
import { createDatabase, type TestDatabase } from "../helpers/database.ts";
import { captureLog } from "../helpers/log.ts";
import { insertRows } from "../helpers/models.ts";
import { assertRights, evidenceOf } from "../helpers/sample.ts";

let database: TestDatabase;
let log: ReturnType<typeof captureLog>;
beforeEach(async () => {
  log = captureLog();
  database = await createDatabase();
  await assertRights(database);
  onTestFinished(() => database.remove());
});

const run = async (statements: string): Promise<void> => void (await database.admin.unsafe(statements));
/** The series of these names. */
const evidenceLike = async (name: RegExp) =>
  Object.fromEntries(Object.entries(await evidenceOf(database.samplerUrl)).filter(([series]) => name.test(series)));

it("says what the owner's view puts at risk, and is silent where it is missing or may not be read", async () => {
  const amounts = () => evidenceLike(/^amount_at_risk/);
  await run("drop view if exists ledger_metrics.amounts_at_risk");
  expect(await amounts()).toEqual({});
  await run(`
    create view ledger_metrics.amounts_at_risk ("check", currency, amount) as
      values ('orphan_refunds', 'EUR', 310.20), ('orphan_refunds', 'USD', 5), ('orphan_refunds', 'EUR', 0.05)`);
  expect(await amounts()).toEqual({});
  await run("grant select on ledger_metrics.amounts_at_risk to veza_ledger_sampler");
  const of = (currency: string) => `amount_at_risk{check=orphan_refunds,currency=${currency}}`;
  expect(await amounts()).toEqual({ [of("EUR")]: 310.25, [of("USD")]: 5 });
  expect(log).toEqual([]);
});

describe("rows that somebody has accepted", () => {
  const accept = (check: string, id: unknown, until = "now() + interval '5 days'") =>
    run(`insert into ledger_metrics.accepted values ('${check}', '${id}', ${until}, 'the bank takes its days')`);
  const ofAccepted = () => evidenceLike(/accepted/);
  const rows = (check: string) => `accepted_rows{check=${check}}`;
  const oldest = (check: string) => `oldest_unaccepted_timestamp_seconds{check=${check}}`;
  const secondsAgo = (seconds: number) => expect.closeTo(Date.now() / 1000 - seconds, -2);

  it.each(checks)("of $id: as many as it counts, and the oldest other, while they run", async (check) => {
    const { id, table } = check;
    expect(await ofAccepted()).toEqual({});
    await run(insertRows(check, 1, { age: "5 days" }));
    const [first] = await database.admin.unsafe(`select id from ${table}`);
    await accept(id, first?.id);
    expect(await ofAccepted()).toEqual({ [rows(id)]: 1, [oldest(id)]: 0 });

    await run(insertRows(check, 2, { age: "2 days" })); // The next rows are as open as ever.
    expect(await ofAccepted()).toEqual({ [rows(id)]: 1, [oldest(id)]: secondsAgo(172_800) });
    await accept(id, first?.id); // Twice is once.
    const [second] = await database.admin.unsafe(`select id from ${table} where id <> ${first?.id}`);
    await accept(id, second?.id, "now() - interval '1 second'"); // Its time is over.
    expect(await ofAccepted()).toMatchObject({ [rows(id)]: 1 });

    await run(`update ${table} set status = 'settled' where id = ${first?.id}`);
    expect(await ofAccepted()).toMatchObject({ [rows(id)]: 0 });
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

  it("are unknown where the ledger has no ids, with a line in the log, and nothing else fails", async () => {
    await run("alter table orders rename id to number");
    await accept("stuck_orders", 1);
    expect(await ofAccepted()).toEqual({});
    expect(await evidenceLike(/^rows_outside.check=stuck_orders,reason=ahead/)).not.toEqual({});
    expect(log[0]).toMatchObject({ message: "evidence not read", code: "42703" });
  });

  it("are none of those without an id", async () => {
    await run(`
      ${insertRows({ id: "stuck_orders" }, 1, { age: "2 days" })}
      alter table orders rename to rows;
      create view orders as select null::text as id, status, hyperswitch_payment_id, created_at from rows;
      grant select on orders to veza_ledger_sampler`);
    await accept("stuck_orders", 1);
    expect(await ofAccepted()).toEqual({ [rows("stuck_orders")]: 0, [oldest("stuck_orders")]: secondsAgo(172_800) });
  });

  it("are accepted for 14 days at most, with a reason, by people on call, who set no time", async () => {
    await run("alter role veza_ledger_oncall password 'oncall'");
    const oncall = postgres(database.adminUrl.replace(/\/\/.*@/, "//veza_ledger_oncall:oncall@"), { max: 1 });
    onTestFinished(() => oncall.end());
    const insert = (until: string, why = "known", more = "") =>
      oncall.unsafe(`begin read write;
        insert into ledger_metrics.accepted ("check", id, until, why${more && ", accepted_at"})
          values ('stuck_orders', '1', now() + interval '${until}', '${why}'${more}); commit`);
    const refused = async (work: Promise<unknown>, reason: RegExp) => {
      await expect(work).rejects.toThrow(reason);
      await oncall.unsafe("rollback");
    };
    await insert("13 days");
    await refused(insert("15 days"), /at_most_14_days/);
    await refused(insert("1 day", " "), /violates check constraint/);
    await refused(insert("20 days", "known", ", now() + interval '10 days'"), /permission denied/);
    await refused(oncall.unsafe("begin read write; update ledger_metrics.accepted set why = 'x'"), /permission denied/);
    const [row] = await oncall`select accepted_by, why from ledger_metrics.accepted`;
    expect(row).toEqual({ accepted_by: "veza_ledger_oncall", why: "known" });
    await oncall.unsafe("begin read write; delete from ledger_metrics.accepted where id = '1'; commit");
    expect(await oncall`select from ledger_metrics.accepted`).toEqual([]);
  });
});

it("says how many deliveries wait in the outbox or are parked, and since when, where there is one", async () => {
  const outbox = () => evidenceLike(/^outbox/);
  expect(await outbox()).toEqual({});
  await runSqlFiles(database.adminUrl, ["clients/go/outbox.sql", "config/postgres/roles.sql"]);
  const none = { "outbox_rows{state=waiting}": 0, "outbox_rows{state=parked}": 0 };
  expect(await outbox()).toEqual({ ...none, "outbox_oldest_timestamp_seconds{}": 0 });
  await run(`
    insert into ledger_metrics_outbox (id, body, created_at, sent_at, parked_at) values
      ('a', '[]', to_timestamp(1800000000), null, null), ('b', '[]', to_timestamp(1700000000), null, null),
      ('c', '[]', to_timestamp(1600000000), now(), null), ('d', '[]', to_timestamp(1600000000), null, now())`);
  expect(await outbox()).toEqual({
    "outbox_rows{state=waiting}": 2,
    "outbox_rows{state=parked}": 1,
    "outbox_oldest_timestamp_seconds{}": 1_700_000_000,
  });
  expect(log).toEqual([]);
});
