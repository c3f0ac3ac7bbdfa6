// What tells a blind check: inserts, and what becomes of the rest when it fails. truth.test.ts has the rest.

import { expect, it } from "vitest";
import { checks } from "../../lib/counts/checks.ts";
import { databasePerTest } from "../helpers/database.ts";
import { captureLog } from "../helpers/log.ts";
import { insertRows, needsTime, onTable } from "../helpers/models.ts";
import { evidenceOf, sampleOf } from "../helpers/sample.ts";

const { database, run } = databasePerTest();
const evidence = () => evidenceOf(database.samplerUrl);
const inserts = (table: string) => `table_inserts_total{table=${table}}`;
const success = (check: string) => `evidence_success{check=${check}}`;
const ofWebhooks = checks.filter(({ waitsForWebhook }) => waitsForWebhook);

it("tells inserts, watched rows and nearly stuck rows of the checks whose rows wait for a webhook, and of no others", async () => {
  const named = Object.keys(await evidence()).filter((name) => /^(check_(watches|inserts)|nearly)/.test(name));
  const metrics = ["check_inserts", "check_watches", "nearly_stuck_rows"];
  const due = ofWebhooks.flatMap(({ id }) => metrics.map((metric) => `${metric}{check=${id}}`));
  expect(named.sort()).toEqual(due.sort());
});

it("does not tell nearly stuck rows where what spoils the count spoils them, too", async () => {
  captureLog();
  await run(`alter table orders alter created_at type date; ${insertRows({ id: "stuck_refunds" }, 1)}`);
  const seen = await evidence();
  expect(seen).toMatchObject({ "check_success{check=stuck_orders}": 0, "check_watches{check=stuck_orders}": 0 });
  expect(seen).not.toHaveProperty("nearly_stuck_rows{check=stuck_orders}");
  expect(seen).toHaveProperty("nearly_stuck_rows{check=stuck_refunds}", 0);
});

it("counts inserts by Postgres' statistics: into all partitions, and into the table of a view", async () => {
  const [check, table] = [{ id: "stuck_orders" }, "orders"] as const;
  // An idle session tells Postgres its numbers after 10 s; before PostgreSQL 15, with its next statement.
  const everySession = () => Promise.all(Array.from({ length: 4 }, () => run("select pg_sleep(0.1)")));
  const counted = async () => {
    await everySession();
    return (await evidence())[inserts(table)];
  };
  const flushed = (expected: number) => expect.poll(counted).toBe(expected);
  await flushed(0);
  await run(insertRows(check, 7));
  await flushed(7);
  await run(
    `create table noted (n int); create rule note as on update to ${table} do also insert into noted values (1)`,
  );
  expect(await evidence()).toMatchObject({ [inserts(table)]: 7, [`check_inserts{check=${check.id}}`]: 7 });
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

it("never fails a count: what cannot be had is absent, and one line says why", async () => {
  const log = captureLog();
  await run("alter table seller_transfers drop column updated_at");
  const { outcomes, evidence: found } = await sampleOf(database.samplerUrl);
  const failed = outcomes.filter((outcome) => "error" in outcome).map(({ check }) => check.id);
  expect(failed).toEqual(Object.keys(onTable("seller_transfers", 1, needsTime("updated_at"))));
  const affected = Object.keys(onTable("seller_transfers", 1));
  for (const id of affected) expect(found.map(({ labels }) => labels.check)).not.toContain(id);
  expect(found.map(({ labels }) => labels.table)).toContain("seller_transfers");
  const expected = { level: "warn", message: "evidence not read", code: "42703" };
  expect(log).toMatchObject(affected.map(() => expected));
});

it("says of each count whether all of its evidence was read, and nothing of a check that fails", async () => {
  captureLog();
  const read = () => evidenceOf(database.samplerUrl, /^evidence_success/);
  const all = Object.fromEntries(checks.map(({ id }) => [success(id), 1]));
  expect(await read()).toEqual(all);
  await run("revoke execute on function pg_stat_get_tuples_inserted(oid) from public");
  expect(await read()).toEqual(Object.fromEntries(checks.map(({ id }) => [success(id), 0])));
  await run("grant execute on function pg_stat_get_tuples_inserted(oid) to public");
  await run("alter table seller_transfers drop column updated_at"); // Failed transfers are counted without it.
  const expected = { ...all, [success("failed_transfers")]: 0 };
  for (const { id, table } of checks) {
    if (table === "seller_transfers" && id !== "failed_transfers") delete expected[success(id)];
  }
  expect(await read()).toEqual(expected);
});

it("is read in one scan of the table, where the table has no index", async () => {
  const scans = async () => {
    await database.admin`select pg_stat_clear_snapshot()`;
    const [row] = await database.admin`select seq_scan from pg_stat_user_tables where relname = 'orders'`;
    return Number(row?.seq_scan);
  };
  await evidence();
  // A count and its evidence; statistics may arrive late.
  const onOrders = checks.filter(({ table }) => table === "orders").length;
  await expect.poll(scans).toBe(2 * onOrders);
});
