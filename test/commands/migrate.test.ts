// npm run migrate: what it makes, keeps and refuses, and that its remedies work as they are printed.
import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import postgres from "postgres";
import { afterEach, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { run } from "../../commands/migrate.ts";
import { runSqlFiles } from "../../commands/sql.ts";
import { tryRole } from "../../commands/trial.ts";
import { lockAndReadTotals } from "../../lib/publish.ts";
import { type LocalPostgres, startPostgres } from "../../local/postgres.ts";
import { inProcess } from "../helpers/commands.ts";
import { databaseForFile, databaseForTest, openConnection } from "../helpers/database.ts";
import { inLines } from "../helpers/doctor.ts";
import { forEachCheck } from "../helpers/models.ts";
import { needs } from "../helpers/needs.ts";
import { runProgram } from "../helpers/processes.ts";
import { countsIn, sampleAs } from "../helpers/sample.ts";
import { newFolder } from "../helpers/temporary-folder.ts";

const database = await databaseForFile();

/** Runs `npm run migrate` to its end, and resolves to its exit code and what it has printed. */
async function migrate(url: string | undefined, args: string[] = []): Promise<[number, string]> {
  const { exitCode, output } = await inProcess(run, args, { DATABASE_URL: url });
  return [exitCode, `${inLines(output)}\n`];
}
/** A file with this text. */
async function passwordFile(text: string): Promise<string> {
  const file = path.join(await newFolder(), "passwords");
  await writeFile(file, text);
  return file;
}
const inPlace = expect.stringMatching(
  /^✓ migrated .* are in place in \w+: (nothing to do|statements: \d+)\n(✓ veza_ledger\w* has its rights .*\n){4}$/,
);

it("npm run migrate can be run again: it waits for no writer, and keeps the totals", async () => {
  await database.admin`insert into ledger_metrics.totals values ('kept', '{}', 5)`;
  const writer = await database.admin.reserve();
  onTestFinished(() => writer.release());
  await writer`begin`;
  await writer`insert into ledger_metrics.deliveries (id, digest, words) values ('open', '', '')`;
  await writer`update ledger_metrics.totals set value = 6`;
  expect(await migrate(database.adminUrl)).toEqual([0, inPlace]);
  await writer`rollback`;
  expect(await database.admin`select name, value from ledger_metrics.totals`).toEqual([{ name: "kept", value: "5" }]);
});

it("npm run migrate gives up when somebody else has a table for itself", async () => {
  await database.admin`alter table ledger_metrics.accepted drop constraint known_check`;
  const writer = await database.admin.reserve();
  onTestFinished(() => writer.release());
  await writer`begin`;
  await writer`lock table ledger_metrics.accepted in row exclusive mode`;
  const lateForTable =
    /^✗ migrated canceling statement due to lock timeout, at: alter table .*\n {2}→ somebody else works on /;
  expect(await migrate(database.adminUrl)).toEqual([1, expect.stringMatching(lateForTable)]);
  await writer`commit`;
  expect(await migrate(database.adminUrl)).toEqual([0, inPlace]);
});

describe("on a server without the roles", () => {
  let server: LocalPostgres;
  let sql: postgres.Sql;
  beforeAll(async () => {
    server = await startPostgres(0);
    await runSqlFiles(server.superuserUrl, ["local/ledger.sql"]);
    sql = postgres(server.superuserUrl, { max: 1, onnotice: () => {} });
    return async () => {
      await sql.end();
      await server.stop();
    };
  });
  const migrateHere = (...args: string[]) => migrate(server.superuserUrl, args);
  afterEach(async () => {
    const isThere = (await sql`select from pg_roles where rolname = 'veza_ledger_sampler'`).length > 0;
    const undo = await inProcess(run, ["--undo"], { DATABASE_URL: server.superuserUrl });
    if (isThere) await sql.unsafe(undo.output);
  });
  const logIn = (login: string) => openConnection(server.superuserUrl.replace("postgres:postgres@", `${login}@`));

  it("makes a login for both functions where it is asked for one, and not on AWS", async () => {
    const tried = /^✓ veza_ledger has its rights/m;
    expect(await migrateHere()).toEqual([0, expect.not.stringMatching(tried)]);
    expect(await migrateHere("--one-login")).toEqual([0, expect.stringMatching(tried)]);
    expect(await migrateHere()).toEqual([0, expect.stringMatching(tried)]);
  });

  it("sets passwords from a file for new roles, never replaces one, and never shows one to the server", async () => {
    // A password that came in clear text would then be stored in this way.
    await sql`alter role postgres set password_encryption = 'md5'`;
    const good = await passwordFile("veza_ledger_sampler=one\n# the receiver's\nveza_ledger_receiver='two$#'");
    const [exitCode, printed] = await migrateHere("--password-from", good);
    expect([exitCode, printed]).toEqual([0, expect.stringMatching(/^✓ veza_ledger_receiver +logged in, and tried/m)]);
    expect(printed).toMatch(/^✓ veza_ledger_oncall has .*\. It has no password yet$/m);
    expect(await sql`select from pg_authid where rolname ~ 'veza' and rolpassword ~ '^SCRAM-SHA-256'`).toHaveLength(2);
    await logIn("veza_ledger_receiver:two$%23");

    const other = await passwordFile("veza_ledger_sampler=fourth\nveza_ledger_receiver='two$#'");
    const [code, second] = await migrateHere("--password-from", other);
    expect([code, second]).toEqual([1, expect.stringMatching(/^✓ veza_ledger_receiver +logged in/m)]);
    expect(second).toMatch(/^✗ veza_ledger_sampler +password .*\n {2}→ .* give the right one, or set it by /m);
    await logIn("veza_ledger_sampler:one");
    expect(printed + second).not.toMatch(/two\$|fourth/);
  });

  const wantsRoles = "has to give the password of one of veza_ledger_sampler, veza_ledger_receiver, ";
  it.each([
    ["a stranger", "veza_ledger_sampler=one\npostgres=two", wantsRoles],
    ["veza_ledger, and no --one-login", "veza_ledger=one", wantsRoles],
    ["no password", "veza_ledger_sampler=", wantsRoles],
    ["a # that would cut a password", "veza_ledger_sampler=one#two", "put the password into single quotes"],
    ["a space in a password", "veza_ledger_sampler='one two'", "a password must be printable ASCII without spaces"],
  ])("changes nothing for a file of passwords with %s", async (_, text, problem) => {
    const [exitCode, printed] = await migrateHere("--password-from", await passwordFile(text));
    expect([exitCode, printed]).toEqual([1, expect.stringMatching(/\nNothing was changed\.\n$/)]);
    expect(printed).toContain(problem);
    expect(await sql`select from pg_roles where rolname ~ 'veza'`).toHaveLength(0);
  });

  const each = "veza_ledger_sampler=one\nveza_ledger_receiver=two";
  it("says to run it again where somebody publishes meanwhile", async () => {
    const given = ["--password-from", await passwordFile(each)];
    expect(await migrateHere(...given)).toMatchObject([0, expect.any(String)]);
    const publisher = await sql.reserve();
    await publisher.unsafe(lockAndReadTotals);
    const [exitCode, printed] = await migrateHere(...given);
    await publisher.unsafe("commit");
    publisher.release();
    expect([exitCode, printed]).toEqual([1, expect.stringMatching(/could not publish: .*\n {2}→ .*: run it again$/m)]);
  });

  it("migrates what is read-only and serializable by default, and tries each role by its own log-in", async () => {
    await sql`alter database postgres set default_transaction_read_only = on`;
    await sql`alter database postgres set default_transaction_isolation = serializable`;
    const ran = await migrateHere("--password-from", await passwordFile(each));
    await sql`alter database postgres reset all`;
    expect(ran).toEqual([0, expect.stringMatching(/(^✓ veza_ledger_\w+ logged in, and tried: .*\n){2}/m)]);
  });

  it("prints no password, and says which roles have none then", async () => {
    const given = ["--password-from", await passwordFile(each)];
    const [, script] = await migrateHere("--print", ...given);
    expect(script.match(/^-- \\password \w+$/gm)).toHaveLength(3);
    await migrateHere();
    await sql`drop owned by veza_ledger_receiver; drop role veza_ledger_receiver`.simple();
    await sql`create role visitor login password 'visitor'`;
    const [exitCode, told] = await migrate(
      server.superuserUrl.replace("postgres:postgres@", "visitor:visitor@"),
      given,
    );
    await sql`drop role visitor`;
    await migrateHere();
    expect([exitCode, told]).toEqual([1, expect.stringMatching(/: create role veza_ledger_receiver .* limit 20;/)]);
    expect(script + told).not.toContain("SCRAM");
  });

  it("grants rds_iam to the functions with --iam, which need no password then", async () => {
    const notOnRds = /^✗ migrated role "rds_iam" does not exist\n {2}→ leave --iam out, .*\nNothing was changed\.$/m;
    expect(await migrateHere("--iam")).toEqual([1, expect.stringMatching(notOnRds)]);
    await sql`create role rds_iam`;
    const [exitCode, printed] = await migrateHere("--iam");
    expect(exitCode).toBe(0);
    expect(printed.match(/^.*no password/gm)).toEqual([expect.stringContaining("veza_ledger_oncall")]);
    const members =
      await sql`select member::regrole::text as name from pg_auth_members where roleid = 'rds_iam'::regrole`;
    expect(members.map(({ name }) => name).sort()).toEqual(["veza_ledger_receiver", "veza_ledger_sampler"]);
  });
});

it("changes nothing where a statement has no effect, or a column is missing, and says what fixes it", async () => {
  const { admin, adminUrl } = await databaseForTest();
  await admin.unsafe(`drop schema ledger_metrics cascade; revoke all on orders from veza_ledger_oncall;
    create function undo() returns event_trigger language plpgsql as
      $$ begin revoke all on public.orders from veza_ledger_oncall; end $$;
    create event trigger undo on ddl_command_end when tag in ('GRANT') execute function undo()`);
  const noEffect =
    /^✗ migrated Postgres took it and did not do it: grant .*\n {2}→ .*superuser\nNothing was changed\.\n$/;
  expect(await migrate(adminUrl)).toEqual([1, expect.stringMatching(noEffect)]);
  await admin`alter table refunds rename hyperswitch_refund_id to gone`;
  const lacking =
    /^✗ migrated refunds has no column hyperswitch_refund_id\n {2}→ migrate the ledger first, .*\nNothing was ch.*\n$/;
  expect(await migrate(adminUrl)).toEqual([1, expect.stringMatching(lacking)]);
  expect(await admin`select to_regnamespace('ledger_metrics') as found`).toEqual([{ found: null }]);
});

it("keeps a search_path that leads to the ledger by way of a view, for a --schema in it too", async () => {
  const { admin, adminUrl } = await databaseForTest();
  await admin.unsafe(`create schema seen; create view seen.orders as table orders;
    alter role veza_ledger_sampler in database ${new URL(adminUrl).pathname.slice(1)} set search_path = seen, public`);
  const { output } = await inProcess(run, ["--schema", "public", "--print"], { DATABASE_URL: adminUrl });
  expect(new Set(output.match(/set search_path = .*(?=;$)/gm))).toContain("set search_path = seen, public");
  expect(output).not.toContain("set search_path = public");
});

it.each([
  ["veza_ledger_sampler", "select (status) on orders", "could not count stuck_orders: permission denied"],
  ["veza_ledger_sampler", "select on ledger_metrics.totals", "could not publish: permission denied"],
  ["veza_ledger_receiver", "update (attempts) on ledger_metrics.deliveries", "could not record a delivery: permission"],
  ["veza_ledger_oncall", "select on ledger_metrics.deliveries", "could not read the totals: permission denied"],
])("tries %s, which cannot do its work without: %s", async (role, right, fact) => {
  const { admin, adminUrl } = await databaseForTest();
  await admin.unsafe("alter role veza_ledger_oncall password 'oncall'");
  const { sql } = await openConnection(adminUrl.replace("postgres:postgres@", `${role}:${role.split("_").at(-1)}@`));
  expect(await tryRole(sql, role)).toMatchObject({ mark: "✓" });
  await admin.unsafe(`revoke ${right} from ${role}`);
  expect(await tryRole(sql, role)).toMatchObject({ mark: "✗", found: expect.stringContaining(fact) });
  expect(await admin`select from ledger_metrics.deliveries`).toHaveLength(0);
});

describe("next to the ledger of another stage on the same server", async () => {
  let server: LocalPostgres;
  const as = (login: string, name: string) =>
    server.superuserUrl.replace("postgres:postgres@", `${login}:${login}@`).replace(/\w+$/, name);
  /** Runs statements as the superuser, or as somebody else. */
  async function runOn(name: string, statements: string, who = "postgres"): Promise<postgres.RowList<postgres.Row[]>> {
    const sql = postgres(as("postgres", name), { max: 1, onnotice: () => {} });
    await sql.unsafe(`set role "${who}"`);
    return await sql.unsafe(statements).finally(() => sql.end());
  }
  /** A ledger with one stuck order, as a careful company has it: PUBLIC may do nothing. */
  async function makeLedger(name: string): Promise<void> {
    await runOn("postgres", `create database "${name}" owner master`);
    await runOn(
      name,
      `revoke all on database "${name}" from public; revoke all on schema public from public;
       grant connect on database "${name}" to veza_app; create schema veza authorization veza_app;
       set role veza_app; set search_path = veza; ${await readFile("local/ledger.sql", "utf8")};
       insert into orders (status, hyperswitch_payment_id, created_at) values ('pending', 'pay', '-infinity')`,
    );
  }
  const join = (name: string) => runOn(name, "grant veza_app to master", "master");
  const leave = (name: string) => runOn(name, "revoke veza_app from master", "master");
  const migrateAsMaster = async (name: string, ...args: string[]) => {
    const [exitCode, printed] = await migrate(as("master", name), ["--schema", "veza", ...args]);
    expect([exitCode, printed]).toEqual([0, expect.stringContaining("✓ migrated")]);
  };
  const roles = "veza_ledger, veza_ledger_oncall, veza_ledger_receiver, veza_ledger_sampler";
  async function expectProdAsBefore(): Promise<void> {
    for (const login of ["veza_ledger_sampler", "veza_ledger"]) {
      const counts = countsIn(await sampleAs(as(login, "prod")), (error) => error);
      expect(counts, login).toEqual(forEachCheck(({ id }) => (id === "stuck_orders" ? 1 : 0)));
    }
  }

  beforeAll(async () => {
    server = await startPostgres(0);
    await runOn("postgres", "create role master login createrole createdb password 'master'");
    await runOn("postgres", "create role veza_app login password 'veza_app'", "master");
    await makeLedger("prod");
    await join("prod");
    await migrateAsMaster("prod", "--one-login");
    await leave("prod");
    for (const role of roles.split(", ")) await runOn("prod", `alter role ${role} password '${role}'`);
    await expectProdAsBefore();
    return () => server.stop();
  });

  it("an empty database may be the wrong one, which comes before any right", async () => {
    await runOn("postgres", "create database empty");
    const wrongDatabase =
      /^✗ migrated the database empty has no table orders, refunds, .*\n {2}→ it may be the wrong database: /;
    expect(await migrate(as("veza_app", "empty"))).toEqual([1, expect.stringMatching(wrongDatabase)]);
  });

  const rollback =
    "the documented rollback stops at its first error, and leaves the roles to prod until they are the last";
  it(rollback, await needs("bash", "psql"), async () => {
    const page = await readFile("docs/deploy.md", "utf8");
    const commands = [/^\(read -rs.*\n.*indexes\.rollback.*/m, /^psql -v .*undo\.sql.*/m].map(
      (one) => one.exec(page)?.[0],
    );
    const rollBack = async (name: string) => {
      const file = path.join(await newFolder(), "undo.sql");
      const filled = commands
        .join("\n")
        .replaceAll(/postgres:\S+/g, as("master", name))
        .replaceAll("undo.sql", file);
      const { child, exited, output } = runProgram("bash", ["-ec", filled.replace("read -rs PGPASSWORD;", "")], {});
      await exited;
      expect(child.exitCode, output()).toBe(0);
    };
    const left = async (name: string) => {
      const rows = await runOn(
        name,
        `with role as (select oid, rolname from pg_roles where rolname ~ '^veza_ledger'),
           here as (select oid from pg_database where datname = current_database())
         select nspname as name from pg_namespace where nspname = 'ledger_metrics'
         union select rolname from role
         union select 'settings' from pg_db_role_setting, here where setdatabase = oid and setrole <> 0
         union select 'rights' from pg_shdepend, here where dbid = oid and refobjid in (select oid from role)`,
      );
      return rows.map((row) => row.name).sort();
    };
    await makeLedger("last");
    await join("last");
    await migrateAsMaster("last");
    await rollBack("last");
    expect(await left("last")).toEqual(roles.split(", "));
    await expectProdAsBefore();
    await join("prod");
    await rollBack("prod");
    expect(await left("prod")).toEqual([]);
  });
});

it("says what is missing, shows no password, and has a login that may do a part of it hand the script on", async () => {
  expect(await migrate(undefined)).toEqual([1, expect.stringMatching(/^✗ migrated DATABASE_URL is missing\n/)]);
  const { admin, adminUrl, samplerUrl } = await databaseForTest();
  await admin.unsafe(`drop schema ledger_metrics cascade;
    alter table orders owner to veza_ledger_sampler; revoke all on orders from veza_ledger_oncall`);
  const [exitCode, printed] = await migrate(samplerUrl);
  const handOn =
    /^✗ migrated veza_ledger_sampler ran 0 statements, and may not run \d+\n {2}→ .* --print >plan\.sql.*; give/;
  expect([exitCode, printed]).toEqual([1, expect.stringMatching(handOn)]);
  expect(printed).not.toContain(":sampler@");
  const script = await inProcess(run, ["--print"], { DATABASE_URL: samplerUrl });
  await (await openConnection(adminUrl)).sql.unsafe(script.output);
  expect(await migrate(adminUrl)).toEqual([0, inPlace]);
});

it.each([
  ["sampler", "update orders set status = 'paid'", "cannot execute UPDATE in a read-only transaction"],
  ["sampler", "set transaction read write; update orders set status = 'paid'", "permission denied for table orders"],
  ["sampler", "select xmin from orders", "permission denied for table orders"],
  ["sampler", "select * from ledger_metrics.deliveries", "permission denied for table deliveries"],
  ["receiver", "select status from orders", "permission denied for table orders"],
  ["receiver", "delete from ledger_metrics.totals", "permission denied for table totals"],
  ["receiver", "create table ledger_metrics.mine ()", "permission denied for schema ledger_metrics"],
])("the %s role may not: %s", async (role, statement, message) => {
  const { sql } = await openConnection(role === "sampler" ? database.samplerUrl : database.receiverUrl);
  await expect(sql.unsafe(`begin; ${statement}`)).rejects.toThrow(message);
});
