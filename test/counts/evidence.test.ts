import postgres from "postgres";
import { beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { runSqlFiles } from "../../commands/sql.ts";
import { checks } from "../../lib/checks.ts";
import { createDatabase, type TestDatabase } from "../helpers/database.ts";
import { captureLog } from "../helpers/log.ts";
import { insertRows, modelOf } from "../helpers/models.ts";
import { assertRights, sampleOf } from "../helpers/sample.ts";

let database: TestDatabase;
beforeEach(async () => {
  database = await createDatabase();
  await assertRights(database);
  onTestFinished(() => database.remove());
});

const run = async (statements: string): Promise<void> => void (await database.admin.unsafe(statements));

/** The evidence of a sample, as on the gateway, without its first word. */
async function evidence(): Promise<Record<string, number>> {
  const { evidence } = await sampleOf(database.samplerUrl);
  const labelsOf = (labels: object) => Object.entries(labels).map(([name, value]) => `${name}=${value}`);
  return Object.fromEntries(
    evidence.map(({ name, labels, value }) => [`${name.slice(12)}{${labelsOf(labels)}}`, value]),
  );
}
const newest = (check: string) => `newest_item_timestamp_seconds{check=${check}}`;
const outside = (check: string, reason: string) => `rows_outside{check=${check},reason=${reason}}`;
const inserts = (table: string) => `table_inserts_total{table=${table}}`;

it.each(checks)("of $id: its newest row up to now, of any age, and rows that it can never count", async (check) => {
  const { id, table, time, staleAfter } = check;
  const first = await evidence();
  expect(first).not.toHaveProperty(newest(id));
  if (staleAfter) expect(first).toMatchObject({ [outside(id, "no_time")]: 0, [outside(id, "ahead")]: 0 });

  await run(`
    ${insertRows(check, 1, { age: "3 days" })}
    ${insertRows(check, 1, { age: "90 seconds" })}
    ${insertRows(check, 1, { age: "-1 minutes" })}
    ${insertRows(check, 2, { age: "-6 minutes" })}
    ${insertRows(check, 1, { age: "3 days", status: "settled" })}`);
  const isWritable = `alter table ${table} alter ${time} drop not null`;
  await run(`${isWritable};
    ${insertRows(check, 3, { age: "4 days" })}
    update ${table} set ${time} = null
      where ${time} between now() - interval '97 hours' and now() - interval '95 hours';
    ${insertRows(check, 1, { age: "5 days" })}
    update ${table} set ${time} = 'infinity' where ${time} < now() - interval '119 hours'`);
  const seen = await evidence();
  expect(Math.abs((seen[newest(id)] ?? 0) - (Date.now() / 1000 - 90))).toBeLessThan(30);
  if (staleAfter) expect(seen).toMatchObject({ [outside(id, "no_time")]: 3, [outside(id, "ahead")]: 3 });
  else expect(Object.keys(seen).filter((name) => name.includes(`rows_outside{check=${id}`))).toEqual([]);
  expect(await evidence()).toMatchObject({ [newest(id)]: expect.any(Number) });
});

it("is absent where it has no finite time", async () => {
  await run("insert into orders (status, hyperswitch_payment_id, created_at) values ('pending', 'pay', '-infinity')");
  expect(await evidence()).not.toHaveProperty(newest("stuck_orders"));
});

it("counts inserts by Postgres' statistics: into all partitions, and into the table of a view", async () => {
  const [check] = checks;
  if (!check) throw new Error("there are no checks");
  const { table } = modelOf(check);
  // An idle session tells Postgres its numbers after 10 s; before PostgreSQL 15, with its next statement.
  const everySession = () => Promise.all(Array.from({ length: 4 }, () => run("select pg_sleep(0.1)")));
  const counted = async () => {
    await everySession();
    return (await evidence())[inserts(table)];
  };
  const flushed = (expected: number) => expect.poll(counted, { timeout: 30_000 }).toBe(expected);
  await flushed(0);
  await run(insertRows(check, 7));
  await flushed(7);
  await run(`
    alter table ${table} rename to old_rows;
    create table ${table} (like old_rows including identity including defaults) partition by list (status);
    create table pending_rows partition of ${table} for values in ('pending');
    create table other_rows partition of ${table} default;
    grant select on ${table} to veza_ledger_sampler;
    ${insertRows(check, 3)}
    ${insertRows(check, 2, { status: "settled" })}`);
  await flushed(5);
  await run(`
    alter table ${table} rename to parts;
    create view kept as select * from parts;
    create view ${table} as select * from kept;
    grant select on ${table} to veza_ledger_sampler`);
  expect(await evidence()).toHaveProperty(inserts(table), 5);
  await run("create or replace view kept as select * from parts union all select * from old_rows");
  expect(await evidence()).not.toHaveProperty(inserts(table));
});

it("counts no inserts where Postgres keeps no statistics, or looks elsewhere", async () => {
  await run("alter table refunds rename to copied; create view refunds as select 'pending' as status");
  const tables = async () => Object.keys(await evidence()).filter((name) => name.startsWith("table_inserts"));
  expect((await tables()).sort()).toEqual([inserts("orders"), inserts("seller_transfers")]);
  await run("do $$ begin execute format('alter database %I set track_counts = off', current_database()); end $$");
  expect(await tables()).toEqual([]);
});

it("never fails a count: what cannot be had is absent, and one line says why", async () => {
  const log = captureLog();
  await run("alter table seller_transfers drop column updated_at");
  const { outcomes, evidence } = await sampleOf(database.samplerUrl);
  const failed = outcomes.filter((outcome) => "error" in outcome).map(({ check }) => check.id);
  expect(failed).toEqual(["pending_reversals"]);
  expect(evidence.map(({ labels }) => labels.check)).not.toContain("failed_transfers");
  expect(evidence.map(({ labels }) => labels.table)).toContain("seller_transfers");
  expect(log).toEqual(
    ["failed_transfers", "pending_reversals"].map(() => ({
      level: "warn",
      message: "evidence not read",
      code: "42703",
      reason: expect.stringContaining("updated_at"),
    })),
  );
});

it("says what the owner's view puts at risk, and is silent where it is missing or may not be read", async () => {
  const log = captureLog();
  const amounts = async () => {
    const { evidence } = await sampleOf(database.samplerUrl);
    return evidence.filter(({ name }) => name === "veza_ledger_amount_at_risk");
  };
  await run("drop view if exists ledger_metrics.amounts_at_risk");
  expect(await amounts()).toEqual([]);
  await run(`
    create view ledger_metrics.amounts_at_risk ("check", currency, amount) as
      values ('orphan_refunds', 'EUR', 310.20), ('orphan_refunds', 'USD', 5), ('orphan_refunds', 'EUR', 0.05)`);
  expect(await amounts()).toEqual([]);
  await run("grant select on ledger_metrics.amounts_at_risk to veza_ledger_sampler");
  const of = (currency: string, value: number) => ({
    name: "veza_ledger_amount_at_risk",
    labels: { check: "orphan_refunds", currency },
    value,
  });
  expect(await amounts()).toEqual(expect.arrayContaining([of("EUR", 310.25), of("USD", 5)]));
  expect(log).toEqual([]);
});

describe("rows that somebody has accepted", () => {
  const accept = (check: string, id: unknown, until = "now() + interval '5 days'") =>
    run(`insert into ledger_metrics.accepted values ('${check}', '${id}', ${until}, 'the bank takes its days')`);
  const ofAccepted = async () =>
    Object.fromEntries(Object.entries(await evidence()).filter(([name]) => /accepted/.test(name)));
  const rows = (check: string) => `accepted_rows{check=${check}}`;
  const oldest = (check: string) => `oldest_unaccepted_timestamp_seconds{check=${check}}`;
  const secondsAgo = (seconds: number) => expect.closeTo(Date.now() / 1000 - seconds, -2);

  it.each(checks)("of $id: as many as it counts, and the oldest other, while they run", async (check) => {
    const { id, table, time } = check;
    const log = captureLog();
    expect(await ofAccepted()).toEqual({});
    await run(insertRows(check, 1, { age: "5 days" }));
    const [first] = await database.admin.unsafe(`select id from ${table}`);
    await accept(id, first?.id);
    expect(await ofAccepted()).toEqual({ [rows(id)]: 1, [oldest(id)]: 0 });

    await run(insertRows(check, 2, { age: "2 days" })); // The next rows are as open as ever.
    expect(await ofAccepted()).toEqual({ [rows(id)]: 1, [oldest(id)]: secondsAgo(172_800) });
    await accept(id, first?.id); // Twice is once.
    expect(await ofAccepted()).toMatchObject({ [rows(id)]: 1 });

    await run(`update ${table} set status = 'settled' where id = ${first?.id}`);
    expect(await ofAccepted()).toMatchObject({ [rows(id)]: 0 });
    await run(`update ledger_metrics.accepted set until = now() - interval '1 second'`);
    expect(await ofAccepted()).toEqual({});
    await run(`update ${table} set ${time} = now()`);
    expect(log).toEqual([]);
  });

  it("are none where the table is missing, or may not be read", async () => {
    const log = captureLog();
    await accept("stuck_orders", 1);
    await run("revoke select on ledger_metrics.accepted from veza_ledger_sampler");
    expect(await ofAccepted()).toEqual({});
    await run("drop table ledger_metrics.accepted");
    expect(await ofAccepted()).toEqual({});
    expect(log).toEqual([]);
  });

  it("are unknown where the ledger has no ids, with a line in the log, and nothing else fails", async () => {
    const log = captureLog();
    await run("alter table orders rename id to number");
    await accept("stuck_orders", 1);
    expect(await ofAccepted()).toEqual({});
    expect(await evidence()).toHaveProperty(outside("stuck_orders", "ahead"));
    expect(log[0]).toMatchObject({ message: "evidence not read", code: "42703" });
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

  it("cost at most 100 ms a tick, with 10,000 pending rows and 100 accepted", async () => {
    const [check] = checks;
    if (!check) throw new Error("there are no checks");
    await run(`${insertRows(check, 10_000)}
      insert into ledger_metrics.accepted
        select '${check.id}', id, now() + interval '1 day', 'known' from ${check.table} limit 100;
      analyze`);
    const timed = async () => {
      const startedAt = performance.now();
      expect(await evidence()).toHaveProperty(newest(check.id));
      return performance.now() - startedAt;
    };
    const fastest = async () => Math.min(await timed(), await timed(), await timed(), await timed(), await timed());
    const withAccepted = await fastest();
    expect(await ofAccepted()).toMatchObject({ [rows(check.id)]: 100 });
    await run("truncate ledger_metrics.accepted");
    expect(withAccepted - (await fastest())).toBeLessThan(100);
  });
});

it("is read in one scan of the table, where the table has no index", async () => {
  const scans = async () => {
    await database.admin`select pg_stat_clear_snapshot()`;
    const [row] = await database.admin`select seq_scan from pg_stat_user_tables where relname = 'orders'`;
    return Number(row?.seq_scan);
  };
  const before = await scans();
  await evidence();
  const onOrders = checks.filter(({ table }) => table === "orders").length;
  await expect.poll(scans, { timeout: 30_000 }).toBe(before + 2 * onOrders); // A count, and its evidence.
});

it("says how many deliveries wait in the outbox or are parked, and since when, where there is one", async () => {
  const log = captureLog();
  const outbox = async () =>
    Object.fromEntries(Object.entries(await evidence()).filter(([name]) => name.startsWith("outbox")));
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
