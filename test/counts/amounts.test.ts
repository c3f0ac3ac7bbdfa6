// The money at risk, by amounts.sql; and usual migrations of the backend, which nothing of ours may refuse. It has a
// server of its own, since the file makes a role.
import { readFile } from "node:fs/promises";
import { beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { readSqlFile, runSqlFiles, setUp } from "../../commands/sql.ts";
import { checks } from "../../lib/counts/checks.ts";
import { createDatabase, serverForFile, type TestDatabase } from "../helpers/database.ts";
import { captureLog } from "../helpers/log.ts";
import { insertRows } from "../helpers/models.ts";
import { blocksOf } from "../helpers/pages.ts";
import { countsIn, evidenceOf, sampleAs } from "../helpers/sample.ts";

const serverUrl = await serverForFile();
const [reset = ""] = await blocksOf("docs/amounts.md", "sql");
let database: TestDatabase;
beforeEach(async () => {
  database = await createDatabase(serverUrl);
  onTestFinished(() => database.remove());
  for (const table of new Set(checks.map(({ table }) => table))) {
    await run(`alter table ${table} add amount_cents bigint not null default 1005, add currency text default 'EUR'`);
  }
});
/** As the superuser, in one session. */
async function run(text: string): Promise<void> {
  const session = await database.admin.reserve();
  await session.unsafe(text).finally(() => session.release());
}
const runFile = () => runSqlFiles(database.adminUrl, ["config/postgres/amounts.sql"]);
const amounts = () => evidenceOf(database.samplerUrl, /^amount_at_risk/);

it("adds up the amounts of the rows that a check counts", async () => {
  const log = captureLog();
  const expected: Record<string, number> = {};
  for (const [index, check] of checks.entries()) {
    await run(insertRows(check, index + 1) + insertRows(check, 1, { status: "settled" }));
    expected[`amount_at_risk{check=${check.id},currency=EUR}`] = Number(((index + 1) * 10.05).toFixed(2));
  }
  expect(Object.keys(expected).length).toBeGreaterThan(4);
  expect(await amounts()).toEqual({});
  for (const _ of ["once", "again"]) {
    await runFile();
    expect(await amounts()).toEqual(expected);
  }
  await runSqlFiles(database.adminUrl, setUp); // An upgrade keeps them.
  expect(await amounts()).toEqual(expected);

  await run("revoke select on ledger_metrics.amounts_at_risk from veza_ledger_sampler");
  expect(await amounts()).toEqual({});
  await run("grant select on ledger_metrics.amounts_at_risk to veza_ledger_sampler");
  await run(reset);
  expect(await amounts()).toEqual({});
  await run("drop view ledger_metrics.amounts_at_risk");
  expect(await amounts()).toEqual({});
  expect(log).toEqual([]);
});

it("divides no yen by 100, in a copy with the divisor of docs/amounts.md", async () => {
  const [divisor = ""] = /\/ case [^`]* end/.exec(await readFile("docs/amounts.md", "utf8")) ?? [];
  const copy = (await readSqlFile("config/postgres/amounts.sql")).replace("\\set ON_ERROR_STOP on", "");
  await run(insertRows({ id: "stuck_orders" }, 1));
  await run("update orders set currency = 'JPY'");
  await run(insertRows({ id: "stuck_orders" }, 1));
  await run(copy.replaceAll("/ 100.0", divisor));
  expect(await amounts()).toEqual({
    "amount_at_risk{check=stuck_orders,currency=EUR}": 10.05,
    "amount_at_risk{check=stuck_orders,currency=JPY}": 1005,
  });
});

it("shows amounts to the sampler and people on call alone, and lets nobody read their columns", async () => {
  await runFile();
  const as = (role: string, question: string) =>
    run(`begin; set local role ${role}; ${question}`).finally(() => run("rollback"));
  for (const role of ["veza_ledger_sampler", "veza_ledger_oncall"]) {
    await as(role, "select from ledger_metrics.amounts_at_risk");
    await expect(as(role, "select amount_cents from orders")).rejects.toThrow("permission denied for table orders");
  }
  await expect(as("veza_ledger_receiver", "select from ledger_metrics.amounts()")).rejects.toThrow("permission denied");
  const [role] = await database.admin`
    select rolcanlogin, rolsuper, rolcreaterole,
      has_schema_privilege(oid, 'ledger_metrics', 'create') as may_create,
      exists (select from pg_auth_members where member = pg_roles.oid) as is_member
    from pg_roles where rolname = 'veza_ledger_amounts'`;
  expect(Object.values(role ?? {})).toEqual([false, false, false, false, false]);
});

it("are taken back with the rest, and their role", async () => {
  await runFile();
  const roles = () => database.admin`select rolname from pg_roles where rolname = 'veza_ledger_amounts'`;
  expect(await roles()).toHaveLength(1);
  await runSqlFiles(database.adminUrl, ["config/postgres/uninstall.sql"]);
  expect(await roles()).toHaveLength(0);
  await runSqlFiles(database.adminUrl, setUp);
  for (const login of ["sampler", "receiver"]) await run(`alter role veza_ledger_${login} password '${login}'`);
});

it("shows 500 amounts at most, those of the most rows", async () => {
  const orders = (from: number) => `
    insert into orders (status, hyperswitch_payment_id, created_at, currency)
    select 'pending', 'pay', now() - interval '1 hour', 'C' || n from generate_series(${from}, 502) as n;`;
  await run(orders(1) + orders(3));
  await runFile();
  const shown = Object.keys(await amounts());
  expect([shown.length, shown.filter((name) => /currency=C[12]}/.test(name))]).toEqual([500, []]);
});

it("shows an amount without a currency, together with that of an empty one", async () => {
  await run(insertRows({ id: "stuck_orders" }, 3));
  await run("update orders set currency = case when id % 2 = 0 then '' end");
  await runFile();
  expect(await amounts()).toEqual({ "amount_at_risk{check=stuck_orders,currency=}": 30.15 });
});

it("fails no count, and says so, where a migration has taken a column away", async () => {
  const log = captureLog();
  await run(insertRows({ id: "stuck_orders" }, 1));
  await runFile();
  await run("alter table orders drop column currency");
  expect(countsIn(await sampleAs(database.samplerUrl), (error) => error)).toMatchObject({ stuck_orders: 1 });
  expect(await amounts()).toEqual({});
  expect(log).toContainEqual(expect.objectContaining({ message: "evidence not read", of: "amounts" }));
});

describe("with all of ours installed, a usual migration of the backend passes:", () => {
  const watched = checks.filter(({ table }) => table === "orders").map(({ status }) => status);
  const toEnum = `create type order_status as enum ('paid', '${[...new Set(watched)].join("', '")}');
    alter table orders alter status type order_status using status::order_status`;
  const migrate = async (migration: string) => {
    await run(insertRows({ id: "stuck_orders" }, 1));
    await runFile();
    await runSqlFiles(database.adminUrl, ["clients/go/outbox.sql", ...setUp, "config/postgres/indexes.sql"]);
    await run(`insert into ledger_metrics.accepted ("check", id, until, why) values ('stuck_orders', '1', now(), 'x')`);
    await run(migration);
  };

  // In turn, on one database: each finds all of ours as it was installed.
  it("of types, of columns and of a table", () =>
    migrate(`alter table orders alter status type varchar(20);
      alter table orders alter created_at type timestamptz(3);
      alter table orders alter amount_cents type numeric(20, 2);
      alter table orders drop column currency;
      alter table refunds drop column hyperswitch_refund_id;
      alter table orders rename hyperswitch_payment_id to psp_payment_id;
      drop table orders`));

  it("a status that becomes an enum, once the indexes are gone, as docs/settings.md says", async () => {
    await expect(migrate(toEnum)).rejects.toThrow("operator does not exist: order_status");
    await runSqlFiles(database.adminUrl, ["config/postgres/indexes.rollback.sql"]);
    await run(toEnum);
    await runSqlFiles(database.adminUrl, ["config/postgres/indexes.sql"]);
    expect(countsIn(await sampleAs(database.samplerUrl), (error) => error)).toMatchObject({ stuck_orders: 1 });
  });
});
