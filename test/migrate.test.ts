import { readdir } from "node:fs/promises";
import postgres from "postgres";
import { afterAll, beforeAll, expect, it, onTestFinished } from "vitest";
import { runSqlFiles } from "../commands/sql.ts";
import { checks } from "../lib/checks.ts";
import { startPostgres } from "../local/postgres.ts";
import { createDatabase, type TestDatabase, targetOf } from "./helpers/database.ts";
import { runScript } from "./helpers/processes.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await createDatabase();
});
afterAll(() => database.admin.end());

const tables = () => database.admin`select relname from pg_class
  where relnamespace = to_regnamespace('ledger_metrics') and relkind = 'r' order by relname`;

/** Runs `npm run migrate` to its end, and resolves to its exit code and what it has printed. */
async function migrate(url: string | undefined): Promise<[number | null, string]> {
  const { child, exited, output } = runScript("commands/migrate.ts", [], { DATABASE_URL: url });
  await exited;
  return [child.exitCode, output()];
}
const inPlace = "The schema ledger_metrics is in place. Next: config/postgres/roles.sql.\n";

it("npm run migrate can be run again, beside a writer that does not end: it waits for nobody and keeps the totals", async () => {
  await database.admin`insert into ledger_metrics.totals values ('kept', '{}', 5)`;
  const writer = await database.admin.reserve();
  onTestFinished(() => writer.release());
  await writer`begin`;
  await writer`insert into ledger_metrics.deliveries (id, body_digest) values ('open', '')`;
  await writer`update ledger_metrics.totals set value = 6`;
  expect(await migrate(database.adminUrl)).toEqual([0, inPlace]);
  await writer`rollback`;
  expect(await database.admin`select name, value from ledger_metrics.totals`).toEqual([{ name: "kept", value: "5" }]);
});

it("npm run migrate keeps the numbers of an earlier version, or gives up when it cannot have the table", async () => {
  await database.admin.unsafe(`
    alter table ledger_metrics.totals rename to samples;
    alter index ledger_metrics.totals_pkey rename to samples_pkey;
    create sequence ledger_metrics.pushes`);
  const writer = await database.admin.reserve();
  onTestFinished(() => writer.release());
  await writer`begin`;
  await writer`update ledger_metrics.samples set value = 6`;
  expect(await migrate(database.adminUrl)).toEqual([
    1,
    expect.stringContaining("canceling statement due to lock timeout"),
  ]);
  await writer`commit`;
  expect(await migrate(database.adminUrl)).toEqual([0, inPlace]);
  const receiver = postgres(database.receiverUrl, { max: 1 });
  expect(await receiver`select name, value from ledger_metrics.totals`).toEqual([{ name: "kept", value: "6" }]);
  await receiver.end();
  const left = await database.admin`select relname from pg_class
    where relnamespace = to_regnamespace('ledger_metrics') and relname ~ 'samples|pushes'`;
  expect(left).toEqual([]);
});

it("the schema can be rolled back, and applied again", async () => {
  await runSqlFiles(database.adminUrl, ["config/postgres/schema.rollback.sql"]);
  expect(await tables()).toEqual([]);
  await migrate(database.adminUrl);
  expect(await tables()).toEqual([{ relname: "deliveries" }, { relname: "totals" }]);
  await runSqlFiles(database.adminUrl, ["config/postgres/roles.sql", "config/postgres/roles.sql"]);
});

it("roles.sql lets the sampler and people on call into whatever schema the ledger is in", async () => {
  const { admin, adminUrl } = await createDatabase();
  onTestFinished(() => admin.end());
  await admin.unsafe("create schema veza");
  for (const table of new Set(checks.map(({ table }) => table))) {
    await admin.unsafe(`alter table ${table} set schema veza`);
  }
  const { database: name } = targetOf(adminUrl);
  await admin.unsafe(`alter database ${name} set search_path = veza, public`);
  await runSqlFiles(adminUrl, ["config/postgres/roles.sql"]);
  const allowed = await admin`
    select rolname as name from pg_roles where rolname ~ '^veza_ledger_(sampler|oncall)$' and has_schema_privilege(oid, 'veza', 'usage')`;
  expect(allowed.map(({ name }) => name).sort()).toEqual(["veza_ledger_oncall", "veza_ledger_sampler"]);
});

it("says what is missing, and shows no password when it fails", async () => {
  expect(await migrate(undefined)).toEqual([1, expect.stringContaining("DATABASE_URL is missing")]);
  const [exitCode, printed] = await migrate(database.samplerUrl);
  expect(exitCode).toBe(1);
  expect(printed).toContain("The schema could not be applied: ");
  expect(printed).not.toContain(":sampler@");
});

it.each([
  ["sampler", "update orders set status = 'paid'", "cannot execute UPDATE in a read-only transaction"],
  ["sampler", "set transaction read write; update orders set status = 'paid'", "permission denied for table orders"],
  ["sampler", "select id from orders", "permission denied for table orders"],
  ["sampler", "select * from ledger_metrics.deliveries", "permission denied for table deliveries"],
  ["receiver", "select status from orders", "permission denied for table orders"],
  ["receiver", "delete from ledger_metrics.totals", "permission denied for table totals"],
  ["receiver", "create table ledger_metrics.mine ()", "permission denied for schema ledger_metrics"],
])("the %s role may not: %s", async (role, statement, message) => {
  const sql = postgres(role === "sampler" ? database.samplerUrl : database.receiverUrl, { max: 1 });
  await expect(sql.unsafe(`begin; ${statement}`)).rejects.toThrow(message);
  await sql.end();
});

it.each([
  ["default_transaction_isolation", "serializable", "read committed"],
  ["synchronous_commit", "off", "on"],
])("the receiver's %s does not depend on the database's default", async (setting, other, pinned) => {
  const { database: name } = targetOf(database.adminUrl);
  await database.admin.unsafe(`alter database ${name} set ${setting} = '${other}'`);
  const shownTo = async (url: string) => {
    const sql = postgres(url, { max: 1 });
    const [row] = await sql`select current_setting(${setting}) as value`;
    await sql.end();
    return row?.value;
  };
  expect(await shownTo(database.adminUrl)).toBe(other);
  expect(await shownTo(database.receiverUrl)).toBe(pinned);
});

it("every file of SQL can be applied twice, and taken back", async () => {
  const server = await startPostgres(0);
  onTestFinished(() => server.stop());
  const sql = postgres(server.superuserUrl, { max: 1 });
  // What RDS gives to its users: no superuser, but the owner of a database who may create roles.
  await sql`create role owner login createrole password 'owner'`;
  await sql`create database ledger owner owner`;
  const url = server.superuserUrl.replace("postgres:postgres@", "owner:owner@").replace(/\w+$/, "ledger");
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
    expect(await left(), "4 roles, a schema, and an index for each check: npm run indexes").toHaveLength(
      4 + 1 + checks.length,
    );
    for (const name of applied.toReversed()) await runSqlFiles(url, [`config/postgres/${name}.rollback.sql`]);
    expect(await left()).toEqual([]);
  }
  await Promise.all([sql.end(), owner.end()]);
});
