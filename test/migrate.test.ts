import { readdir } from "node:fs/promises";
import postgres from "postgres";
import { afterAll, beforeAll, expect, it, onTestFinished } from "vitest";
import { startPostgres } from "../local/postgres.ts";
import { runSqlFiles } from "../local/sql.ts";
import { createDatabase, type TestDatabase, targetOf } from "./helpers/database.ts";
import { runScript } from "./helpers/processes.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await createDatabase();
});
afterAll(() => database.admin.end());

const tables = () => database.admin`select relname from pg_class
  where relnamespace = to_regnamespace('ledger_metrics') and relkind = 'r' order by relname`;

it("npm run migrate can be run again: it keeps the totals", async () => {
  await database.admin`insert into ledger_metrics.samples values ('kept', '{}', 5)`;
  const migrate = runScript("commands/migrate.ts", [], { DATABASE_URL: database.adminUrl });
  await migrate.exited;
  expect(migrate.child.exitCode).toBe(0);
  expect(migrate.output()).toBe("The schema ledger_metrics is in place. Next: config/postgres/roles.sql.\n");
  expect(await database.admin`select name, value from ledger_metrics.samples`).toEqual([{ name: "kept", value: "5" }]);
});

it("the schema can be rolled back, and applied again", async () => {
  await runSqlFiles(database.adminUrl, ["config/postgres/schema.rollback.sql"]);
  expect(await tables()).toEqual([]);
  const migrate = runScript("commands/migrate.ts", [], { DATABASE_URL: database.adminUrl });
  await migrate.exited;
  expect(await tables()).toEqual([{ relname: "deliveries" }, { relname: "samples" }]);
  await runSqlFiles(database.adminUrl, ["config/postgres/roles.sql", "config/postgres/roles.sql"]);
});

it("says what is missing, and shows no password when it fails", async () => {
  const without = runScript("commands/migrate.ts", [], { DATABASE_URL: undefined });
  await without.exited;
  expect([without.child.exitCode, without.output()]).toEqual([1, expect.stringContaining("DATABASE_URL is missing")]);

  const refused = runScript("commands/migrate.ts", [], { DATABASE_URL: database.samplerUrl });
  await refused.exited;
  expect(refused.child.exitCode).toBe(1);
  expect(refused.output()).toContain("The schema could not be applied: ");
  expect(refused.output()).not.toContain(":sampler@");
});

it.each([
  ["sampler", "update orders set status = 'paid'", "cannot execute UPDATE in a read-only transaction"],
  ["sampler", "set transaction read write; update orders set status = 'paid'", "permission denied for table orders"],
  ["sampler", "select id from orders", "permission denied for table orders"],
  ["sampler", "select * from ledger_metrics.deliveries", "permission denied for table deliveries"],
  ["receiver", "select status from orders", "permission denied for table orders"],
  ["receiver", "delete from ledger_metrics.samples", "permission denied for table samples"],
  ["receiver", "create table ledger_metrics.mine ()", "permission denied for schema ledger_metrics"],
])("the %s role may not: %s", async (role, statement, message) => {
  const sql = postgres(role === "sampler" ? database.samplerUrl : database.receiverUrl, { max: 1 });
  await expect(sql.unsafe(`begin; ${statement}`)).rejects.toThrow(message);
  await sql.end();
});

it("the receiver records at read committed, whatever the database's default is", async () => {
  await database.admin.unsafe(
    `alter database ${targetOf(database.adminUrl).database} set default_transaction_isolation = 'serializable'`,
  );
  const isolation = async (url: string) => {
    const sql = postgres(url, { max: 1 });
    const [row] = await sql`show transaction_isolation`;
    await sql.end();
    return row?.transaction_isolation;
  };
  expect(await isolation(database.adminUrl)).toBe("serializable");
  expect(await isolation(database.receiverUrl)).toBe("read committed");
});

it("every file of SQL can be applied twice, and taken back", async () => {
  const server = await startPostgres(0);
  onTestFinished(() => server.stop());
  const sql = postgres(server.url, { max: 1 });
  // What RDS gives to its users: no superuser, but the owner of a database who may create roles.
  await sql`create role owner login createrole password 'owner'`;
  await sql`create database ledger owner owner`;
  const url = server.url.replace("postgres:postgres@", "owner:owner@").replace(/\w+$/, "ledger");
  const owner = postgres(url, { max: 1 });
  const left = () => owner`
    select rolname as name from pg_roles where rolname like 'veza%'
    union all select nspname from pg_namespace where nspname = 'ledger_metrics'
    union all select indexname from pg_indexes where indexname like 'veza%'`;
  const files = await readdir("config/postgres");
  const applied = ["schema", "roles", "indexes"];
  expect(files.sort()).toEqual(applied.flatMap((name) => [`${name}.rollback.sql`, `${name}.sql`]).sort());

  await runSqlFiles(url, ["local/ledger.sql"]);
  for (let round = 0; round < 2; round += 1) {
    for (const name of [...applied, ...applied]) await runSqlFiles(url, [`config/postgres/${name}.sql`]);
    expect(await left()).toHaveLength(3 + 1 + 5);
    for (const name of applied.toReversed()) await runSqlFiles(url, [`config/postgres/${name}.rollback.sql`]);
    expect(await left()).toEqual([]);
  }
  await Promise.all([sql.end(), owner.end()]);
});
