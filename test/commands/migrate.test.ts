import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import postgres from "postgres";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { run } from "../../commands/migrate.ts";
import { runSqlFiles } from "../../commands/sql.ts";
import { tryRole } from "../../commands/trial.ts";
import { checks } from "../../lib/checks.ts";
import { findOnPath } from "../../local/find-on-path.ts";
import { type LocalPostgres, startPostgres } from "../../local/postgres.ts";
import { inProcess } from "../helpers/commands.ts";
import { createDatabase, openConnection, type TestDatabase } from "../helpers/database.ts";
import { runProgram } from "../helpers/processes.ts";
import { assertRights, sampleAs } from "../helpers/sample.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await createDatabase();
  await assertRights(database);
});
afterAll(() => database?.remove());

/** Runs `npm run migrate` to its end, and resolves to its exit code and what it has printed. */
async function migrate(url: string | undefined, args: string[] = []): Promise<[number, string]> {
  const { exitCode, output } = await inProcess(run, args, { DATABASE_URL: url });
  return [exitCode, `${output}\n`];
}
/** A file with these lines, such as `role=password`; gone with the test. */
async function passwordFile(...lines: string[]): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), "veza-passwords-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  await writeFile(path.join(folder, "passwords"), lines.join("\n"));
  return path.join(folder, "passwords");
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
    alter table ledger_metrics.deliveries drop column words;
    insert into ledger_metrics.deliveries (id, body_digest) values ('old', 'of its body');
    create sequence ledger_metrics.published_since;
    grant select, update on ledger_metrics.published_since to veza_ledger_receiver;
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
  expect(await receiver`select id, words from ledger_metrics.deliveries`).toEqual([{ id: "old", words: null }]);
  // A receiver of an earlier version, which is still there, publishes with it.
  expect(await receiver`select setval('ledger_metrics.published_since', 7)::int`).toEqual([{ setval: 7 }]);
  await receiver.end();
  const left = await database.admin`select relname from pg_class
    where relnamespace = to_regnamespace('ledger_metrics') and relname ~ 'samples|pushes'`;
  expect(left).toEqual([]);
});

it("makes a login for both functions where it is asked for one, and not on AWS", async () => {
  const server = await startPostgres(0);
  onTestFinished(() => server.stop());
  await runSqlFiles(server.superuserUrl, ["local/ledger.sql"]);
  const [, without] = await migrate(server.superuserUrl);
  expect(without).not.toMatch(/veza_ledger /);
  const tried = /^✓ veza_ledger +tried: \d+ counts, a delivery, a publish/m;
  expect(await migrate(server.superuserUrl, ["--one-login"])).toEqual([0, expect.stringMatching(tried)]);
  expect(await migrate(server.superuserUrl)).toEqual([0, expect.stringMatching(tried)]);
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
  it("from a file are set where there are none, never replaced, and never shown to the server", async () => {
    const { url, sql, as } = withoutRoles();
    const first = await passwordFile("veza_ledger_sampler=one", "# the receiver's", "veza_ledger_receiver='two $#'");
    const spaced = await migrate(url, ["--password-from", first]);
    expect(spaced).toEqual([1, expect.stringContaining("printable ASCII without spaces")]);
    expect(await sql`select from pg_roles where rolname ~ 'veza'`).toHaveLength(0);

    const good = await passwordFile("veza_ledger_sampler=one", "veza_ledger_receiver='two$#'");
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

    const again = await passwordFile("veza_ledger_sampler=fourth", "veza_ledger_oncall=three");
    const [code, second] = await migrate(url, ["--password-from", again]);
    expect(code).toBe(1);
    expect(second).toMatch(
      /^✗ veza_ledger_sampler +has another password than the given one, or none, .*\n {2}→ give the password that/m,
    );
    expect(second).toMatch(/^✓ veza_ledger_oncall +logged in/m);
    expect(await mayLogIn(as("veza_ledger_sampler:one"))).toBe(true);
    expect(printed + second).not.toMatch(/two\$|fourth|three/);
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
      "  → migrate the ledger first, or let the role read a view: docs/what-counts.md; then run it again\n" +
      "Nothing was changed.\n",
  ]);
  expect(await admin`select to_regnamespace('ledger_metrics') as found`).toEqual([{ found: null }]);
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

describe("beside the ledger of another stage on the same server", () => {
  let server: LocalPostgres;
  let isBefore16: boolean;
  const as = (login: string, name: string) =>
    server.superuserUrl.replace("postgres:postgres@", `${login}:${login}@`).replace(/\w+$/, name);
  /** Runs statements as the superuser, or as somebody else. */
  async function runOn(name: string, statements: string, who = "postgres"): Promise<void> {
    const sql = postgres(as("postgres", name), { max: 1, onnotice: () => {} });
    await sql.unsafe(`set role "${who}"`);
    await sql.unsafe(statements).finally(() => sql.end());
  }
  /** A ledger with one stuck order, as a careful company has it: PUBLIC may do nothing. */
  async function makeLedger(name: string, schema = "veza"): Promise<void> {
    await runOn("postgres", `create database "${name}" owner master`);
    await runOn(
      name,
      `revoke all on database "${name}" from public; revoke all on schema public from public;
       grant connect on database "${name}" to veza_app; create schema ${schema} authorization veza_app`,
    );
    await runOn(name, `set search_path = ${schema}; ${await readFile("local/ledger.sql", "utf8")}`, "veza_app");
    await runOn(
      name,
      `insert into ${schema}.orders (status, hyperswitch_payment_id, created_at)
       values ('pending', 'pay', '-infinity')`,
    );
  }
  const join = (name: string) => runOn(name, "grant veza_app to master", "master");
  const leave = (name: string) => runOn(name, "revoke veza_app from master", "master");
  async function countsOf(name: string, login = "veza_ledger_sampler"): Promise<Record<string, unknown>> {
    const outcomes = await sampleAs(as(login, name));
    return Object.fromEntries(
      outcomes.map((outcome) => [outcome.check.id, "error" in outcome ? outcome.error : outcome.count]),
    );
  }
  const prodCounts = { ...Object.fromEntries(checks.map(({ id }) => [id, 0])), stuck_orders: 3 };
  async function expectProdAsBefore(): Promise<void> {
    for (const login of ["veza_ledger_sampler", "veza_ledger"]) {
      expect(await countsOf("prod", login), login).toEqual(prodCounts);
    }
  }

  beforeAll(async () => {
    server = await startPostgres(0);
    await runOn("postgres", `create role master login createrole createdb password 'master'`);
    await runOn("postgres", `create role veza_app login password 'veza_app'`, "master");
    await runOn("postgres", `create role "Read-Only" login createrole password 'Read-Only'`);
    const sql = postgres(server.superuserUrl, { max: 1 });
    const [row] = await sql`select current_setting('server_version_num')::int < 160000 as is_before_16`;
    isBefore16 = row?.is_before_16;
    await sql.end();
    await makeLedger("prod", "veza_v1");
    // Its times have no zone, and are written in Paris: in UTC, two of the three would lie ahead.
    await runOn(
      "prod",
      `alter table veza_v1.orders alter created_at drop default, alter created_at type timestamp;
       insert into veza_v1.orders (status, hyperswitch_payment_id, created_at)
         select 'pending', 'pay', (now() - interval '40 minutes') at time zone 'Europe/Paris'
         from generate_series(1, 2)`,
    );
    await join("prod");
    await runOn("prod", "alter database prod set search_path = veza_v1, public");
    const files = ["local/one-login.sql", "config/postgres/schema.sql", "config/postgres/roles.sql"];
    await runSqlFiles(as("master", "prod"), files);
    await runOn("prod", "alter database prod reset search_path");
    await runOn("prod", "alter role veza_ledger_sampler in database prod set timezone = 'Europe/Paris'", "master");
    await runSqlFiles(as("master", "prod"), ["config/postgres/roles.sql"]);
    await leave("prod");
    for (const role of roles.split(", ")) await runOn("prod", `alter role ${role} password '${role}'`);
    await expectProdAsBefore();
    return () => server.stop();
  });

  interface Case {
    login?: string;
    args?: string[];
    /** What came before, in this database. */
    before?: (name: string) => Promise<unknown>;
    says: string;
    /** What is printed as remedies, with NAME for the database's name. PostgreSQL before 16 may need less. */
    remedies: string[];
  }
  const toSchema = ["--schema", "veza"];
  const roles = "veza_ledger, veza_ledger_oncall, veza_ledger_receiver, veza_ledger_sampler";
  const tables = "orders, refunds, seller_transfers";
  /** Prod finds its ledger by a setting for the whole server. */
  const lookInWholeServer =
    "alter role veza_ledger_sampler in database prod reset search_path;" +
    "alter role veza_ledger_sampler set search_path = veza_v1, public";
  const setPath = 'as master: alter role veza_ledger_sampler in database "NAME" set search_path = veza, public';
  const cases: [string, Case][] = [
    [
      "a ledger in another schema, by a login that does not own it",
      {
        says: `the search_path, "$user", public, does not lead to the schema veza, which has ${tables}`,
        remedies: ["as master: grant veza_app to master", "npm run migrate -- --schema veza"],
      },
    ],
    [
      "run again once the membership was revoked",
      {
        before: async (name) => {
          await join(name);
          expect(await migrate(as("master", name), toSchema)).toEqual([0, expect.stringContaining("✓ migrated")]);
          await leave(name);
        },
        says: "master may not give the rights that the roles need",
        remedies: ["as master: grant veza_app to master", "then run it again"],
      },
    ],
    [
      "a login that has rights to nothing, and a name in need of quotes",
      {
        login: "Read-Only",
        args: toSchema,
        before: (name) => runOn(name, `grant connect on database "${name}" to "Read-Only"`),
        says: '"Read-Only" may not give the rights that the roles need',
        remedies: [
          'as master: grant connect on database "NAME" to "Read-Only" with grant option',
          'as master: grant create on database "NAME" to "Read-Only"',
          `as veza_app: grant select on veza.${tables.replaceAll(", ", ", veza.")} to "Read-Only" with grant option`,
          'as veza_app: grant usage on schema veza to "Read-Only" with grant option',
          `as master: grant ${roles} to "Read-Only" with admin option`,
          "then run it again",
        ],
      },
    ],
    [
      "a login that may not create roles",
      {
        login: "veza_app",
        args: toSchema,
        says: "veza_app may not create roles; run it as a login that may, such as the master user of RDS, or give it",
        remedies: [
          "as a superuser: alter role veza_app createrole",
          'as master: grant connect on database "NAME" to veza_app with grant option',
          'as master: grant create on database "NAME" to veza_app',
          `as master: grant ${roles} to veza_app with admin option`,
          "then run it again",
        ],
      },
    ],
    [
      "what another login has made",
      {
        login: "Read-Only",
        args: toSchema,
        before: async (name) => {
          await join(name);
          expect(await migrate(as("master", name), toSchema)).toEqual([0, expect.stringContaining("✓ migrated")]);
          await runOn(name, `grant connect on database "${name}" to "Read-Only"`);
        },
        says: '"Read-Only" may not give the rights that the roles need',
        remedies: ["as master: npm run migrate"],
      },
    ],
    ...[
      ["in this database", 'alter role veza_ledger_sampler in database "NAME" set search_path = veza_v1, public'],
      ["as prod's does", lookInWholeServer],
    ].map(([where, statements = ""]): [string, Case] => [
      `a role that looks elsewhere, ${where}`,
      {
        before: async (name) => {
          await join(name);
          await runOn(name, statements.replace("NAME", name));
        },
        says: `the search_path, veza_v1, public, does not lead to the schema veza, which has ${tables}`,
        remedies: [setPath, "then run it again"],
      },
    ]),
    [
      "--schema against the role's search_path",
      {
        args: toSchema,
        before: async (name) => {
          await join(name);
          await runOn(name, lookInWholeServer);
        },
        says: "veza_ledger_sampler looks for the ledger in veza_v1, public, and not in veza",
        remedies: [setPath, "then run it again"],
      },
    ],
    ...(
      [
        ["may not log in", "nologin", "login"],
        ["has an expired password", "valid until '2020-01-01'", "valid until 'infinity'"],
      ] as const
    ).map(([says, change, cure]): [string, Case] => [
      `a role that ${says}`,
      {
        args: [...toSchema, "--password-from", "veza_ledger_receiver"],
        before: async (name) => {
          await join(name);
          await runOn(name, `alter role veza_ledger_receiver ${change}`);
        },
        says: `veza_ledger_receiver ${says}`,
        remedies: [`as master: alter role veza_ledger_receiver ${cure}`, "then run it again"],
      },
    ]),
  ];

  /** Does what a remedy says, as it is printed. Resolves to the last run of the command. */
  async function apply(remedy: string, name: string, login: string, args: string[]): Promise<unknown> {
    let last: unknown;
    for (const step of remedy.split(/; (?=as |npm )|; then /)) {
      const [, who = login, statement = step] = /^as (.+?): (.+)$/.exec(step) ?? [];
      if (statement === "run it again") last = await migrate(as(login, name), args);
      else if (statement.startsWith("npm run migrate"))
        last = await migrate(as(who, name), statement.split(" ").slice(4));
      else await runOn(name, statement, who === "a superuser" ? "postgres" : who);
    }
    return last;
  }

  let staging = 0;
  it.each(cases)("%s: what is printed is done as it stands, and prod counts as before", async (_, given) => {
    const { login = "master", before, says, remedies } = given;
    staging += 1;
    const name = `staging-${staging}`;
    onTestFinished(async () => {
      await runOn("postgres", `drop database "${name}" with (force)`);
      await runOn(
        "prod",
        `alter role veza_ledger_sampler reset search_path; alter role veza_app nocreaterole;
         alter role veza_ledger_sampler in database prod set search_path = veza_v1, public;
         revoke veza_app, master from "Read-Only"`,
      );
      await leave("prod");
    });
    await makeLedger(name);
    await before?.(name);
    const args = [...(given.args ?? [])];
    const role = args.indexOf("--password-from") + 1;
    if (role > 0) args[role] = await passwordFile(`${args[role]}=${args[role]}`);
    const [exitCode, printed] = await migrate(as(login, name), args);
    const [, said = "", remedy = ""] = /^✗ (.*)\n {2}→ (.*)$/m.exec(printed) ?? [];
    expect([exitCode, said.replaceAll(/ +/g, " ")]).toEqual([1, expect.stringContaining(says)]);
    const expected = remedies
      .map((step) => step.replaceAll("NAME", name))
      .filter((step) => !isBefore16 || !/admin/.test(step));
    if (!isBefore16 || !remedies.some((step) => step.includes("veza_app:"))) expect(remedy).toBe(expected.join("; "));

    const [mended, output] = (await apply(remedy, name, login, args)) as [number, string];
    expect(output.match(/^✗.*\n.*/gm)).toBe(null);
    expect(mended).toBe(0);
    expect(await countsOf(name)).toEqual({ ...prodCounts, stuck_orders: 1 });
    await expectProdAsBefore();
  });

  it("a role that has another password keeps it, for prod's functions, and one without gets it", async () => {
    await makeLedger("second");
    await join("second");
    const role = "veza_ledger_receiver";
    const given = async (password: string) =>
      migrate(as("master", "second"), [...toSchema, "--password-from", await passwordFile(`${role}=${password}`)]);
    const refused =
      /^✗ veza_ledger_receiver +has another password than the given one, or none, and keeps what it has\n {2}→ (.*)$/m;
    const loggedIn = [0, expect.stringMatching(/^✓ veza_ledger_receiver +logged in, and tried/m)];
    expect(await given("wrong")).toEqual([1, expect.stringMatching(refused)]);
    await openConnection(as(role, "prod"));
    expect(await given(role)).toEqual(loggedIn);

    await runOn("prod", `alter role ${role} password null`);
    const [, remedy = ""] = refused.exec((await given(role))[1]) ?? [];
    const [, who = "", statement = ""] = /Where it has none, as (\w+): (.*); then run it again$/.exec(remedy) ?? [];
    await runOn("second", statement.replace("NEW", role), who);
    expect(await given(role)).toEqual(loggedIn);
    await leave("second");
  });

  it("two migrations at once, in two databases: one is told to run again", async () => {
    await makeLedger("late");
    await join("late");
    const other = postgres(as("postgres", "prod"), { max: 1 });
    await other.unsafe("begin; alter role veza_ledger_receiver set lock_timeout = '2s'");
    const migrating = migrate(as("master", "late"), toSchema);
    const admin = postgres(as("postgres", "prod"), { max: 1 });
    const waiting = () => admin`select from pg_stat_activity where wait_event_type = 'Lock'`;
    await expect.poll(waiting, { interval: 20 }).toHaveLength(1);
    await other.unsafe("commit");
    expect(await migrating).toEqual([
      1,
      "✗ tuple concurrently updated\n  → somebody else works on the roles: run it again\nNothing was changed.\n",
    ]);
    expect(await migrate(as("master", "late"), toSchema)).toEqual([0, expect.stringContaining("✓ migrated")]);
    await Promise.all([other.end(), admin.end()]);
    await runOn("postgres", "drop database late with (force)");
    await leave("prod");
  });

  it("an empty database may be the wrong one, which comes before any right", async () => {
    await runOn("postgres", "create database empty");
    expect(await migrate(as("Read-Only", "empty"))).toEqual([
      1,
      "✗ the database empty has no table orders, refunds, seller_transfers\n" +
        "  → it may be the wrong database: name the ledger's in DATABASE_URL, or migrate the ledger first; " +
        "then run it again\nNothing was changed.\n",
    ]);
    for (const schema of ["eu", "us"]) {
      await runOn("empty", `create schema ${schema}`);
      await runOn("empty", `set search_path = ${schema}; ${await readFile("local/ledger.sql", "utf8")}`);
    }
    expect((await migrate(server.superuserUrl.replace(/\w+$/, "empty")))[1]).toMatch(
      /→ choose eu or us, .*what-counts\.md; npm run migrate -- --schema eu or npm run migrate -- --schema us\n/,
    );
  });

  it("the documented rollback stops at its first error, and leaves the roles to prod until they are the last", async ({
    skip,
  }) => {
    skip(!(await findOnPath(["psql"])), "psql could not be had");
    const [command = ""] =
      /^.*psql .*indexes\.rollback[\s\S]*?(?=^```)/m.exec(await readFile("docs/deploy.md", "utf8")) ?? [];
    const rollBack = async (name: string) => {
      const filled = command.replace(/postgres:\S+/, as("master", name));
      const { child, exited, output } = runProgram("bash", ["-c", filled], {});
      await exited;
      return [child.exitCode, output()];
    };
    await makeLedger("last");
    await join("last");
    await migrate(as("master", "last"), toSchema);
    await runOn("last", "insert into ledger_metrics.totals values ('kept', '{}', 5)");
    const left = async (name: string) => {
      const sql = postgres(as("postgres", name), { max: 1 });
      const rows = await sql`
        select nspname as name from pg_namespace where nspname = 'ledger_metrics'
        union all select rolname from pg_roles where rolname ~ '^veza_ledger'
        union all select 'settings' from pg_db_role_setting join pg_database on oid = setdatabase
          where datname = ${name} and setrole <> 0
        union all select 'rights' from pg_shdepend join pg_database on oid = dbid
          where datname = ${name} and refobjid in (select oid from pg_roles where rolname ~ '^veza_ledger')`;
      await sql.end();
      return [...new Set(rows.map((row) => row.name))].sort();
    };
    const all = ["ledger_metrics", "rights", "settings", ...roles.split(", ")];
    expect(await left("last")).toEqual(all);

    await leave("last");
    const refused = /ERROR: +master could not take all rights back: .*\nHINT: +Run it as the login that ran roles\.sql/;
    expect(await rollBack("last")).toEqual([3, expect.stringMatching(refused)]);
    expect(await left("last")).toEqual(all);

    await join("last");
    for (const _ of ["once", "again"]) {
      expect(await rollBack("last")).toEqual([0, expect.stringMatching(/NOTICE: +the roles stay, .*: prod(, |$)/m)]);
      expect(await left("last")).toEqual(roles.split(", "));
    }
    await expectProdAsBefore();
    const receiver = await openConnection(as("veza_ledger_receiver", "prod"));
    await expect(tryRole(receiver, "veza_ledger_receiver")).resolves.toBe("a delivery, a publish");

    for (const name of ["second", "prod"]) expect(await rollBack(name)).toMatchObject([0, expect.any(String)]);
    expect(await left("prod")).toEqual([]);
  });
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
  ["sampler", "select xmin from orders", "permission denied for table orders"],
  ["sampler", "select * from ledger_metrics.deliveries", "permission denied for table deliveries"],
  ["receiver", "select status from orders", "permission denied for table orders"],
  ["receiver", "delete from ledger_metrics.totals", "permission denied for table totals"],
  ["receiver", "create table ledger_metrics.mine ()", "permission denied for schema ledger_metrics"],
])("the %s role may not: %s", async (role, statement, message) => {
  const sql = postgres(role === "sampler" ? database.samplerUrl : database.receiverUrl, { max: 1 });
  await expect(sql.unsafe(`begin; ${statement}`)).rejects.toThrow(message);
  await sql.end();
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
    expect(await left(), "3 roles, a schema, and an index for each check: npm run generate").toHaveLength(
      3 + 1 + checks.length,
    );
    for (const name of applied.toReversed()) await runSqlFiles(url, [`config/postgres/${name}.rollback.sql`]);
    expect(await left()).toEqual([]);
  }
  await Promise.all([sql.end(), owner.end()]);
});
