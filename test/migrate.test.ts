import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import postgres from "postgres";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { runSqlFiles } from "../commands/sql.ts";
import { tryRole } from "../commands/trial.ts";
import { checks } from "../lib/checks.ts";
import { type LocalPostgres, startPostgres } from "../local/postgres.ts";
import { createDatabase, openConnection, type TestDatabase, targetOf } from "./helpers/database.ts";
import { runProgram } from "./helpers/processes.ts";
import { assertRights } from "./helpers/sample.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await createDatabase();
  await assertRights(database);
});
afterAll(() => database?.remove());

const tables = () => database.admin`select relname from pg_class
  where relnamespace = to_regnamespace('ledger_metrics') and relkind = 'r' order by relname`;

/** Runs `npm run migrate` to its end, and resolves to its exit code and what it has printed. */
async function migrate(url: string | undefined, args: string[] = [], input = ""): Promise<[number | null, string]> {
  const { child, exited, output } = runProgram(
    process.execPath,
    ["commands/migrate.ts", ...args],
    { DATABASE_URL: url },
    "pipe",
  );
  child.stdin?.end(input);
  await exited;
  return [child.exitCode, output()];
}
const inPlace = expect.stringMatching(
  /^✓ migrated +ledger_metrics, the roles and their rights are in place in \w+\n(✓ veza_ledger\w* +tried: .*\n){4}$/,
);

it("npm run migrate can be run again: it waits for no writer, and keeps the totals", async () => {
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
    alter table ledger_metrics.totals drop column ahead;
    drop sequence ledger_metrics.published_since;
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
  const totals = await receiver`select name, value, ahead from ledger_metrics.totals`;
  expect(totals).toEqual([{ name: "kept", value: "6", ahead: "0" }]);
  await receiver.end();
  const left = await database.admin`select relname from pg_class
    where relnamespace = to_regnamespace('ledger_metrics') and relname ~ 'samples|pushes'`;
  expect(left).toEqual([]);
});

it("the schema can be rolled back, and applied again", async () => {
  await runSqlFiles(database.adminUrl, ["config/postgres/schema.rollback.sql"]);
  expect(await tables()).toEqual([]);
  expect(await migrate(database.adminUrl)).toEqual([0, inPlace]);
  expect(await tables()).toEqual([{ relname: "accepted" }, { relname: "deliveries" }, { relname: "totals" }]);
});

it("roles.sql lets the sampler and people on call into whatever schema the ledger is in", async () => {
  const { admin, adminUrl, remove } = await createDatabase();
  onTestFinished(remove);
  await admin.unsafe("create schema veza");
  for (const table of new Set(checks.map(({ table }) => table))) {
    await admin.unsafe(`alter table ${table} set schema veza`);
  }
  const { database: name } = targetOf(adminUrl);
  await admin.unsafe(`alter database ${name} set search_path = veza, public`);
  await runSqlFiles(adminUrl, ["config/postgres/roles.sql"]);
  const allowed = await admin`
    select rolname as name from pg_roles
    where rolname ~ '^veza_ledger_(sampler|oncall)$' and has_schema_privilege(oid, 'veza', 'usage')`;
  expect(allowed.map(({ name }) => name).sort()).toEqual(["veza_ledger_oncall", "veza_ledger_sampler"]);
});

describe("passwords", () => {
  /** A server of their own, since roles belong to a whole server. */
  let server: LocalPostgres;
  beforeAll(async () => {
    server = await startPostgres(0);
    await runSqlFiles(server.superuserUrl, ["local/ledger.sql"]);
    return () => server.stop();
  });
  /** Its database, with a ledger and none of the roles. */
  function withoutRoles(): { url: string; sql: postgres.Sql; as: (login: string) => string } {
    const url = server.superuserUrl;
    const sql = postgres(url, { max: 1, onnotice: () => {} });
    onTestFinished(async () => {
      await runSqlFiles(url, ["config/postgres/roles.rollback.sql", "config/postgres/schema.rollback.sql"]);
      await sql.end();
    });
    return { url, sql, as: (login) => url.replace("postgres:postgres@", `${login}@`) };
  }
  const mayLogIn = async (url: string) => {
    const sql = postgres(url, { max: 1 });
    const answer = await sql`select 1`.then(
      () => true,
      ({ code }) => code,
    );
    await sql.end();
    return answer;
  };
  const file = async (...lines: string[]) => {
    const folder = await mkdtemp(path.join(tmpdir(), "veza-passwords-"));
    onTestFinished(() => rm(folder, { recursive: true }));
    await writeFile(path.join(folder, "passwords"), lines.join("\n"));
    return path.join(folder, "passwords");
  };

  it("from a file are set where there are none, never replaced, and never shown to the server", async () => {
    const { url, sql, as } = withoutRoles();
    const first = await file("veza_ledger_sampler=one", "# the receiver's", "veza_ledger_receiver='two $#'");
    const spaced = await migrate(url, ["--password-from", first]);
    expect(spaced).toEqual([1, expect.stringContaining("printable ASCII without spaces")]);
    expect(await sql`select from pg_roles where rolname ~ 'veza'`).toHaveLength(0);

    const good = await file("veza_ledger_sampler=one", "veza_ledger_receiver='two$#'");
    const [exitCode, printed] = await migrate(url, ["--password-from", good]);
    expect(exitCode).toBe(0);
    expect(printed).toMatch(
      new RegExp(`^✓ veza_ledger_sampler +logged in, and tried: ${checks.length} counts, a publish$`, "m"),
    );
    expect(printed).toMatch(/^✓ veza_ledger_receiver +logged in, and tried: a delivery, a publish$/m);
    expect(printed).toMatch(/^✓ veza_ledger_oncall +tried: .*\. It has no password yet$/m);
    const stored = await sql`select rolpassword from pg_authid where rolname = 'veza_ledger_sampler'`;
    expect(stored[0]?.rolpassword).toMatch(/^SCRAM-SHA-256\$4096:/);
    expect(await mayLogIn(as("veza_ledger_receiver:two$%23"))).toBe(true);

    const again = await file("veza_ledger_sampler=fourth", "veza_ledger_oncall=three");
    const [code, second] = await migrate(url, ["--password-from", again]);
    expect(code).toBe(1);
    expect(second).toMatch(/^✗ veza_ledger_sampler +has another password than the given one, and keeps it\n {2}→ use/m);
    expect(second).toMatch(/^✓ veza_ledger_oncall +logged in/m);
    expect(await mayLogIn(as("veza_ledger_sampler:one"))).toBe(true);
    expect(printed + second).not.toMatch(/two\$|fourth|three/);
  });

  it("are asked for, and an empty answer leaves a role without", async () => {
    const { url, as } = withoutRoles();
    const [exitCode, printed] = await migrate(url, ["--password-from", "prompt"], "one\ntwo\nthree\n");
    expect([exitCode, printed]).toEqual([0, expect.stringContaining("Password of veza_ledger (empty: none): ")]);
    expect(await mayLogIn(as("veza_ledger_oncall:three"))).toBe(true);
    expect(await mayLogIn(as("veza_ledger:"))).not.toBe(true);
    const [, second] = await migrate(url, ["--password-from", "prompt"]);
    expect(second.match(/Password of \w+/g)).toEqual(["Password of veza_ledger"]);
  });

  it("are not needed with IAM: rds_iam is granted where it is there", async () => {
    const { url, sql } = withoutRoles();
    expect(await migrate(url, ["--iam"])).toEqual([0, expect.stringMatching(/^! IAM +there is no role rds_iam/m)]);
    await sql`create role rds_iam`;
    const [exitCode, printed] = await migrate(url, ["--iam"]);
    expect(exitCode).toBe(0);
    expect(printed).not.toMatch(/^!|no password/m);
    const members =
      await sql`select member::regrole::text as name from pg_auth_members where roleid = 'rds_iam'::regrole`;
    expect(members.map(({ name }) => name).sort()).toEqual(["veza_ledger_receiver", "veza_ledger_sampler"]);
  });
});

it("changes nothing when one statement fails, and says what mends it", async () => {
  const { admin, adminUrl, remove } = await createDatabase();
  onTestFinished(remove);
  await admin.unsafe("drop schema ledger_metrics cascade; alter table refunds rename hyperswitch_refund_id to gone");
  const [exitCode, printed] = await migrate(adminUrl);
  expect([exitCode, printed]).toEqual([
    1,
    '✗ column "hyperswitch_refund_id" of relation "refunds" does not exist\n' +
      "  → migrate the ledger first, or let the role read a view: docs/what-counts.md\nNothing was changed.\n",
  ]);
  expect(await admin`select to_regnamespace('ledger_metrics') as found`).toEqual([{ found: null }]);
  await admin.unsafe("drop table refunds");
  expect((await migrate(adminUrl))[1]).toMatch(/has no table refunds\n {2}→ name the ledger's database, or migrate/);
});

it("migrates a ledger whose people on call lack a column, and says so", async () => {
  const { admin, adminUrl, remove } = await createDatabase();
  onTestFinished(remove);
  await admin.unsafe("alter table orders rename id to number");
  const [exitCode, printed] = await migrate(adminUrl);
  expect(exitCode).toBe(1);
  expect(printed).toMatch(/^✓ veza_ledger_sampler/m);
  expect(printed).toMatch(/^✗ veza_ledger_oncall +could not list stuck_orders: column "id" does not exist/m);
});

it.each([
  ["veza_ledger_sampler", "revoke select (status) on orders", "grant select (status) on public.orders"],
  ["veza_ledger_sampler", "revoke select on ledger_metrics.totals", "grant select on ledger_metrics.totals"],
  [
    "veza_ledger_receiver",
    "revoke update (attempts) on ledger_metrics.deliveries",
    "grant update (attempts) on ledger_metrics.deliveries",
  ],
  ["veza_ledger_receiver", "revoke usage on schema ledger_metrics", "grant usage on schema ledger_metrics"],
  ["veza_ledger_oncall", "revoke select (id) on refunds", "grant select (id) on public.refunds"],
])("names the one grant that %s lacks after: %s", async (role, revoke, grant) => {
  const { admin, adminUrl, remove } = await createDatabase();
  const connection = await openConnection(adminUrl);
  onTestFinished(remove);
  await admin.unsafe(`${revoke} from ${role}`);
  const remedy = `as postgres: ${grant} to ${role}`;
  await expect(tryRole(connection, role, { setRole: true })).rejects.toMatchObject({ message: "lacks rights", remedy });
  await admin.unsafe(remedy.replace("as postgres: ", ""));
  await expect(tryRole(connection, role, { setRole: true })).resolves.toMatch(/,/);
  expect(await admin`select from ledger_metrics.deliveries`).toHaveLength(0);
});

it("prints its SQL for a review, which can be run as it is", async () => {
  const { admin, adminUrl, remove } = await createDatabase();
  onTestFinished(remove);
  await admin.unsafe("drop schema ledger_metrics cascade; create schema veza; alter table orders set schema veza");
  const [exitCode, printed] = await migrate(undefined, ["--dry-run", "--schema", "veza"]);
  expect(exitCode).toBe(0);
  const one = postgres(adminUrl, { max: 1, onnotice: () => {} });
  await one.unsafe(printed);
  await one.end();
  onTestFinished(() => admin.unsafe("drop schema veza cascade").then(() => {}));
  const sampler = postgres(adminUrl.replace(/\/\/.*@/, "//veza_ledger_sampler:sampler@"), { max: 1 });
  expect(await sampler`select status from orders`).toEqual([]);
  await sampler.end();
  await admin.unsafe(
    `alter role veza_ledger_sampler in database ${targetOf(adminUrl).database} set search_path = other, public`,
  );
  const [, refused] = await migrate(adminUrl, ["--schema", "veza"]);
  expect(refused).toMatch(/looks for the ledger in other, public, and not in veza$/m);
  expect(refused).toMatch(/^ {2}→ alter role veza_ledger_sampler in database \w+ reset search_path; then/m);
});

it.each([["--fast"], ["now"]])("says how it is used, to %s", async (argument) => {
  expect(await migrate(database.adminUrl, [argument])).toEqual([2, expect.stringContaining("usage: npm run migrate")]);
});

it("says what is missing, and shows no password when it fails", async () => {
  expect(await migrate(undefined)).toEqual([1, expect.stringContaining("DATABASE_URL is missing")]);
  const [exitCode, printed] = await migrate(database.samplerUrl);
  expect(exitCode).toBe(1);
  expect(printed).toMatch(/^✗ .*\n {2}→ .*\nNothing was changed\.\n$/);
  expect(printed).not.toContain(":sampler@");
});

it.each([
  ["sampler", "update orders set status = 'paid'", "cannot execute UPDATE in a read-only transaction"],
  ["sampler", "set transaction read write; update orders set status = 'paid'", "permission denied for table orders"],
  ["sampler", "select updated_at from orders", "permission denied for table orders"],
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
