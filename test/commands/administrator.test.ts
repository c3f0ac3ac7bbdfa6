// What an administrator runs executes nothing of the application's. Here that owns the database, and so chooses what a
// session there begins with. Each attack notes as whom it ran, and takes what it can.
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { chmod, readFile } from "node:fs/promises";
import { promisify } from "node:util";
import postgres from "postgres";
import { beforeAll, beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { roles, tables } from "../../commands/declared-rights.ts";
import { run as doctor } from "../../commands/doctor.ts";
import { runSqlFiles, setUp } from "../../commands/sql.ts";
import { startPostgres } from "../../local/postgres.ts";
import { inProcess } from "../helpers/commands.ts";
import { doctorSettings, findingsIn } from "../helpers/doctor.ts";
import { needs } from "../helpers/needs.ts";
import { oneLine } from "../helpers/pages.ts";
import { countsIn, sampleAs } from "../helpers/sample.ts";
import { newFolder } from "../helpers/temporary-folder.ts";

let server: Awaited<ReturnType<typeof startPostgres>>;
let folder: string;
const url = (login: string, database = "ledger") => `postgres://${login}:${login}@127.0.0.1:${server.port}/${database}`;
/** Runs statements in a session that begins as the server has it. */
async function runAs(login: string, statements: string, database = "ledger"): Promise<postgres.Row[]> {
  const connection = { search_path: "public", standard_conforming_strings: "on" } as never;
  const sql = postgres(url(login, database), { max: 1, onnotice: () => {}, fetch_types: false, connection });
  return (await sql.unsafe(statements).finally(() => sql.end())) as postgres.Row[];
}

const typeOf = (signature: string) =>
  /has_/.test(signature) ? "boolean" : /now/.test(signature) ? "timestamptz" : "text";
/** SQL: functions and operators that fit as well as pg_catalog's, and come first; a view; a default. */
function attacks(): string {
  // A sequence and a file keep what a transaction takes back.
  const body = `language plpgsql set search_path = pg_catalog as $$ begin
    reset role;
    begin copy (select 1) to '${folder}/written'; exception when others then null; end;
    perform nextval(case when current_user in ('master', 'postgres', 'writer') then 'evil.admin' else 'evil.other' end);
    begin alter role shop superuser; exception when others then null; end;
    begin grant master to shop; exception when others then null; end;
    return null; end $$;`;
  const functions = ["set_config(text, text, boolean)", "current_setting(text)", "replace(text, text, text)"].concat(
    ["quote_ident(name)", "quote_ident(text)", "split_part(text, text, integer)", "pg_get_userbyid(oid)"],
    ["pg_has_role(oid, text)", "pg_has_role(name, oid, text)", "has_table_privilege(oid, oid, text)", "now()"],
    ["version()"],
  );
  const operators = [`|| text text`, "|| name name", "= name name", "= oid oid", "= text text", "!~ name text"];
  return `create schema evil; grant usage on schema evil to public;
    create sequence evil.admin; create sequence evil.other; grant all on all sequences in schema evil to public;
    ${functions.map((signature) => `create function evil.${signature} returns ${typeOf(signature)} ${body}`).join("")}
    ${operators
      .map((operator, n) => {
        const [name, left, right] = operator.split(" ");
        const type = name === "||" ? "text" : "boolean";
        return `create function evil.operator_${n}(${left}, ${right}) returns ${type} ${body}
          create operator evil.${name} (leftarg = ${left}, rightarg = ${right}, function = evil.operator_${n});`;
      })
      .join("")}
    create type evil.kind as enum ('a');
    create function evil.cast(evil.kind) returns text ${body}
    create cast (evil.kind as text) with function evil.cast(evil.kind) as implicit;
    create domain evil.status as text; alter domain evil.status add check (evil.version() is null) not valid;
    create function evil.add(text, name, text) returns text ${body} create function evil.add_up(text) returns text ${body}
    -- Behind pg_catalog, this fits a name better than string_agg(text, text), and runs without a row.
    create aggregate public.string_agg(name, text) (sfunc = evil.add, stype = text, finalfunc = evil.add_up, initcond = '');
    create function evil.note() returns trigger ${body}
    alter table orders rename to kept; alter table kept alter status set default evil.version();
    alter table kept add kind evil.kind default 'a', add domain evil.status;
    create trigger note before insert or update or delete on refunds for each statement execute function evil.note();
    create view orders as select * from kept where evil.version() is null;
    insert into kept (status, hyperswitch_payment_id, created_at) values ('pending', '1', now() - interval '2 hours');
    alter sequence evil.other restart;
    alter database ledger set search_path = evil, pg_catalog, public;
    alter database ledger set standard_conforming_strings = off`;
}
/** Whether anything of the application's ran as an administrator or as somebody else, and what it has taken. */
async function taken() {
  const [row] = await runAs(
    "postgres",
    `select (select is_called from evil.admin) as by_admin, (select is_called from evil.other) as by_other,
      rolsuper or pg_has_role('shop', 'master', 'member') as is_mighty from pg_roles where rolname = 'shop'`,
  );
  return { ...row, written: existsSync(`${folder}/written`) };
}
const nothing = { by_admin: false, by_other: false, is_mighty: false, written: false };
beforeAll(async () => {
  server = await startPostgres(0);
  folder = await newFolder();
  await chmod(folder, 0o777); // For the server's user.
  await runAs("postgres", `create role master login createrole password 'master'`, "postgres");
  await runAs(
    "master",
    "create role shop login password 'shop'; create role reader login password 'reader'",
    "postgres",
  );
  return () => server.stop();
});
beforeEach(async () => {
  await runAs("postgres", "create database ledger owner shop", "postgres");
  await runAs("postgres", "grant all on schema public to shop");
  await runAs("postgres", "grant shop to master with admin option");
  await runAs("master", "grant shop to master");
  await runSqlFiles(url("shop"), ["local/ledger.sql"]);
  onTestFinished(async () => {
    await runAs("postgres", "drop database ledger with (force)", "postgres");
    await runAs("postgres", `drop role if exists ${Object.keys(roles).join(", ")}, veza_ledger_amounts`, "postgres");
  });
});

it.each(["master", "postgres"])("install.sql, and uninstall.sql, by %s", async (admin) => {
  await runAs("shop", attacks());
  for (const files of [setUp, setUp, ["config/postgres/uninstall.sql"], setUp]) {
    await runSqlFiles(url(admin), files);
    expect(await taken()).toEqual(nothing);
  }
});

it.each(["master", "postgres"])("amounts.sql by %s, and what it reads as the sampler", async (admin) => {
  await runAs(
    "shop",
    `${tables.map((table) => `alter table ${table} add amount_cents int, add currency text;`).join("")}
    ${attacks()}`,
  );
  await runSqlFiles(url(admin), setUp);
  await runSqlFiles(url(admin), ["config/postgres/amounts.sql"]);
  expect(await taken()).toEqual(nothing);
  await runAs("postgres", "alter role veza_ledger_sampler password 'veza_ledger_sampler'");
  await runAs(
    "shop",
    `create function evil.seen() returns boolean language plpgsql as $$ begin
      perform nextval(case when current_user in ('master', 'postgres') then 'evil.admin' else 'evil.other' end);
      return true; end $$;
    create or replace view public.orders as select * from public.kept where evil.seen()`,
  );
  await runAs("veza_ledger_sampler", "select * from ledger_metrics.amounts_at_risk");
  expect(await taken()).toEqual({ ...nothing, by_other: true }); // As a role that may do nothing else.
});

it.each(["postgres", "writer", "master"])(
  "a first look and the doctor, by %s, are refused before anything runs",
  async (login) => {
    await runAs(
      "postgres",
      "drop role if exists writer; create role writer login noinherit password 'writer' in role pg_write_server_files",
    );
    await runAs("shop", attacks());
    const look = (as: string, ...args: string[]) =>
      inProcess(doctor, args.concat(args.length > 0 ? [] : [url(as)]), doctorSettings(url(as)));
    for (const args of [[], ["sampler"]]) {
      const { exitCode, output } = await look(login, ...args);
      expect([exitCode, output]).toEqual([1, expect.stringMatching(/as good as one/)]);
    }
    // As a login that is none, what the application's database puts first runs, and writes nothing.
    await look("reader");
    expect(await taken()).toEqual(nothing);
    await runAs("shop", "alter database ledger reset all");
    const { steps = [] } = findingsIn((await look(login)).output).find(({ line }) => line.startsWith("✗")) ?? {};
    const statements = steps.flatMap((step) => step.split("as a superuser: ")[1] ?? []);
    expect(statements).toHaveLength(2);
    onTestFinished(async () => void (await runAs("postgres", "drop owned by ledger_reader; drop role ledger_reader")));
    await runAs("postgres", `${statements.join(";")}; alter role ledger_reader password 'ledger_reader'`);
    expect((await look("ledger_reader")).output).toMatch(/^✓ stuck_refunds +0|^! stuck_refunds +0/m);
  },
);

it("the page of the first day removes the login of a first look, also as RDS' master, who is no superuser", async () => {
  const page = oneLine(await readFile("docs/first-day.md", "utf8"));
  const [, removal = ""] = /`([^`]*drop role ledger_reader;)`/.exec(page) ?? [];
  await runAs("master", "create role ledger_reader login connection limit 3");
  await runAs("shop", "grant usage on schema public to ledger_reader; grant select on public.refunds to ledger_reader");
  await runAs("master", removal);
  expect(await runAs("postgres", "select from pg_roles where rolname = 'ledger_reader'")).toEqual([]);
});

const back = ["config/postgres/uninstall.sql"];
const rolesLeft = async () =>
  (await runAs("postgres", "select rolname from pg_roles where rolname ~ '^veza_ledger' order by 1")).map(
    ({ rolname }) => rolname,
  );
const isThere = async () =>
  (await runAs("postgres", "select to_regnamespace('ledger_metrics') is not null as there"))[0]?.there;
/** Also by the grants of other tests. */
async function leaveShop(): Promise<void> {
  for (const grantor of ["master", "postgres"]) await runAs(grantor, "revoke shop from master");
}
const somebodyElse = "somebody else has made the schema ledger_metrics, or may create in it";

it("another administrator than the one who has installed is told so", async () => {
  await runSqlFiles(url("postgres"), setUp);
  await expect(runSqlFiles(url("master"), setUp)).rejects.toThrow(somebodyElse);
});

const isUntouched = async () => expect([await rolesLeft(), await isThere()]).toEqual([[], false]);

it.each(["postgres"])(
  "a database that changes the session's role is refused, before anything runs, by %s",
  async (admin) => {
    await runAs("shop", attacks());
    await runAs("shop", "alter database ledger set role = shop");
    for (const files of [setUp, back]) {
      await expect(runSqlFiles(url(admin), files)).rejects.toThrow(`acts as shop, and has logged in as ${admin}`);
    }
    await runAs("shop", "alter database ledger reset role");
    await isUntouched();
    expect(await taken()).toEqual(nothing);
  },
);

it.each(["postgres"])("a ledger_metrics of the application's is refused, and stays, by %s", async (admin) => {
  await runAs("shop", attacks());
  await runAs(
    "shop",
    `create schema ledger_metrics; create table ledger_metrics.accepted ("check" text);
     create trigger note before insert on ledger_metrics.accepted for each statement execute function evil.note()`,
  );
  await expect(runSqlFiles(url(admin), setUp)).rejects.toThrow(somebodyElse);
  await expect(runSqlFiles(url(admin), back)).rejects.toThrow("belongs to somebody who is no administrator");
  expect([await rolesLeft(), await isThere(), await taken()]).toEqual([[], true, nothing]);
});

it.each(["master"])("a ledger_metrics in which somebody else may create is refused, by %s", async (admin) => {
  await runAs(admin, "create schema ledger_metrics; grant create on schema ledger_metrics to reader");
  await expect(runSqlFiles(url(admin), setUp)).rejects.toThrow(somebodyElse);
  expect(await rolesLeft()).toEqual([]);
});

it.each(["master"])("a ledger_metrics of a commit before 1.0.0 is refused, and stays, by %s", async (admin) => {
  await runAs(admin, "create schema ledger_metrics; create table ledger_metrics.totals (name text)");
  await expect(runSqlFiles(url(admin), setUp)).rejects.toThrow(
    "ledger_metrics is of a commit before 1.0.0: take it back with that commit's roles.rollback.sql, or rename it",
  );
  expect(await rolesLeft()).toEqual([]);
  expect(
    await runAs("postgres", "select relname from pg_class where relnamespace = 'ledger_metrics'::regnamespace"),
  ).toEqual([{ relname: "totals" }]);
});

it.each(["master"])("settings of our logins change no count, by %s", async (admin) => {
  await runSqlFiles(url(admin), setUp);
  await runAs(
    "postgres",
    `create schema elsewhere; create table elsewhere.orders (like public.orders);
     grant usage on schema elsewhere to veza_ledger_sampler; grant select on elsewhere.orders to veza_ledger_sampler;
     alter role veza_ledger_sampler set search_path = elsewhere, public; alter role veza_ledger_sampler set timezone = 'Asia/Tokyo';
     alter role veza_ledger_sampler in database ledger set statement_timeout = '300ms';
     alter role veza_ledger_sampler password 'veza_ledger_sampler'`,
  );
  // The order is seen by a session whose time-out is not the role's: a count that takes longer would prove it slowly.
  await runAs(
    "shop",
    `insert into orders (status, hyperswitch_payment_id, created_at) values ('pending', '1', now() - interval '2 hours');
     alter table orders rename to kept;
     create view orders as select * from kept where current_setting('statement_timeout')::interval > '500ms'`,
  );
  await runSqlFiles(url(admin), setUp);
  const counts = countsIn(await sampleAs(url("veza_ledger_sampler")), (error) => error);
  expect(counts).toMatchObject({ stuck_orders: 1, failed_transfers: 0 });
});

it.each(["master", "postgres"])(
  "rights are taken back also in part, twice, where a table became a view, and while another database needs a login, by %s",
  async (admin) => {
    await runAs("postgres", "create database other", "postgres");
    onTestFinished(
      async () => void (await runAs("postgres", "drop database if exists other with (force)", "postgres")),
    );
    await runSqlFiles(url(admin), setUp);
    await runAs(
      "postgres",
      "revoke all on database other from public; grant connect on database other to veza_ledger_receiver",
    );
    await runAs("postgres", "create schema used; grant usage on schema used to veza_ledger_receiver", "other");
    await runAs("postgres", "drop owned by veza_ledger_oncall");
    await runAs("postgres", "drop role veza_ledger_oncall; drop table ledger_metrics.accepted cascade");
    await runAs("shop", "alter table orders rename to kept; create view orders as table kept");
    await runAs(admin, "create role veza_ledger_sampler_clone login in role veza_ledger_sampler");
    // In the other database, one process has both functions, and its login may do nothing but connect and be a member.
    await runAs("postgres", "grant connect on database other to veza_ledger");
    await runAs(admin, "create role veza_ledger_clone login in role veza_ledger");
    for (const _ of ["first", "second"]) {
      await runSqlFiles(url(admin), back);
      expect([await rolesLeft(), await isThere()]).toEqual([
        ["veza_ledger", "veza_ledger_clone", "veza_ledger_receiver"],
        false,
      ]);
    }
    const [row] = await runAs(
      "postgres",
      `select pg_has_role('master', 'veza_ledger_receiver', 'usage') as is_member,
      has_database_privilege('veza_ledger_receiver', 'other', 'connect') as may_connect,
      has_database_privilege('veza_ledger', 'other', 'connect') as may_both`,
    );
    expect(row).toEqual({ is_member: false, may_connect: true, may_both: true });
    await runAs("postgres", "drop database other", "postgres");
    await runSqlFiles(url(admin), back);
    await isUntouched();
    await runSqlFiles(url(admin), [...back, ...setUp]);
    expect(await rolesLeft()).toHaveLength(4);
  },
);

it("what another administrator has prepared is refused, before a cast of its types runs as a superuser", async () => {
  await runAs("shop", attacks());
  await runAs(
    "postgres",
    `create schema ledger_metrics authorization master; set role master; create table ledger_metrics.accepted
      ("check" text, id text, until timestamptz, why evil.kind, accepted_at timestamptz, accepted_by text);
     insert into ledger_metrics.accepted values ('stuck_orders', '1', now(), 'a', now(), 'x')`,
  );
  await expect(runSqlFiles(url("postgres"), setUp)).rejects.toThrow(somebodyElse);
  expect(await taken()).toEqual(nothing);
});

describe("uninstall.sql stops before it takes what install.sql did not make,", () => {
  it.each([
    [
      "a view of others",
      "create view public.last_run as select value from ledger_metrics.totals; alter view public.last_run owner to shop",
      "because other objects depend on them",
    ],
    [
      "a table in its schema",
      "create table ledger_metrics.notes ()",
      "cannot drop schema ledger_metrics because other objects depend on it",
    ],
    [
      "a table of a login of ours",
      "create table public.money (); alter table public.money owner to veza_ledger_oncall",
      "veza_ledger_oncall owns something here, which would go with it",
    ],
    [
      "a table with a key to its own",
      "create table public.notes (id text references ledger_metrics.deliveries)",
      "because other objects depend on them",
    ],
  ])("%s, and names it", async (_, made, named) => {
    await runSqlFiles(url("postgres"), setUp);
    await runAs("postgres", made);
    await expect(runSqlFiles(url("postgres"), back)).rejects.toThrow(named);
    expect(await isThere()).toBe(true);
  });

  it("rights to other databases among it", async () => {
    await runSqlFiles(url("postgres"), setUp);
    await runAs("postgres", "create database other", "postgres");
    onTestFinished(async () => void (await runAs("postgres", "drop database other with (force)", "postgres")));
    await runAs("postgres", "grant create, temp on database other to veza_ledger_receiver");
    const acl = async () =>
      (await runAs("postgres", "select datacl::text from pg_database where datname = 'other'"))[0];
    const before = await acl();
    await runSqlFiles(url("postgres"), back);
    expect([await acl(), await rolesLeft()]).toEqual([before, ["veza_ledger_receiver"]]);
  });
});

it("an administrator who does not inherit the owner's rights fails whole, and is told", async () => {
  await leaveShop();
  await runAs("postgres", "alter role master noinherit; grant shop to master");
  onTestFinished(async () => void (await runAs("postgres", "alter role master inherit; revoke shop from master")));
  await expect(runSqlFiles(url("master"), setUp)).rejects.toThrow("permission denied for database ledger");
  await isUntouched();
});

it.each([
  ["fails whole, and is told", ""],
  ["fails whole, also where Postgres only warns", `grant select on ${tables.join(", ")} to master`],
])("who may not grant %s", async (_, granted) => {
  await leaveShop();
  await runAs("postgres", "grant create on database ledger to master");
  await runAs("shop", granted);
  // From PostgreSQL 16 on, nobody becomes a member of a role by themselves that they may not give away.
  await runAs("postgres", "alter role master nocreaterole");
  onTestFinished(async () => void (await runAs("postgres", "alter role master createrole")));
  await expect(runSqlFiles(url("master"), setUp)).rejects.toThrow(/permission denied|must (be|have)/);
  await runAs("postgres", "alter role master createrole");
  await isUntouched();
});

it("who may give away the owner's rights has them until the commit alone", async () => {
  await leaveShop();
  await runAs("postgres", "grant create on database ledger to master");
  await runAs("postgres", "grant shop to master with admin option");
  const is16 = Number((await runAs("postgres", "show server_version_num"))[0]?.server_version_num) >= 160_000;
  if (is16)
    await runAs("postgres", "revoke inherit option for shop from master; revoke set option for shop from master");
  const memberships = () =>
    runAs("postgres", "select * from pg_auth_members where roleid = 'shop'::regrole and member = 'master'::regrole");
  const before = await memberships();
  for (const _ of ["at first", "again"]) {
    await runSqlFiles(url("master"), setUp);
    expect(await memberships()).toEqual(before);
  }
  expect(await rolesLeft()).toHaveLength(4);
});

it("who may not grant usage on the schema fails whole, where Postgres only warns", async () => {
  await runAs(
    "postgres",
    `alter schema public owner to postgres; revoke all on schema public from public;
     grant usage on schema public to shop`,
  );
  await expect(runSqlFiles(url("master"), setUp)).rejects.toThrow(
    "the grants have no effect: veza_ledger_sampler may not read public.orders",
  );
  await isUntouched();
});

it("what is missing is named by Postgres, and nothing has changed", async () => {
  const refusal = async (schema: string, database = "ledger") =>
    (await runSqlFiles(url("postgres", database), setUp, schema).catch((error) => error)).message;
  expect(await refusal("public", "postgres")).toBe('relation "public.orders" does not exist');
  expect(await refusal(`No"'pe`)).toBe(`schema "No"'pe" does not exist`);
  await runAs("shop", "alter table refunds drop updated_at");
  expect(await refusal("public")).toMatch('column "updated_at" of relation "refunds" does not exist');
  await isUntouched();
});

it("without plpgsql for PUBLIC, publishing works by the grants of a superuser", async () => {
  await runAs("postgres", "revoke usage on language plpgsql from public");
  await runSqlFiles(url("postgres"), setUp);
  await runAs("postgres", "alter role veza_ledger_receiver password 'veza_ledger_receiver'");
  const look = () => inProcess(doctor, ["receiver"], doctorSettings(url("veza_ledger_receiver")));
  expect((await look()).output).toMatch(/^✓ totals /m);
  await runAs("postgres", "revoke usage on language plpgsql from veza_ledger_receiver");
  const lines = findingsIn((await look()).output).map(({ line }) => line);
  expect(lines).toContain("✗ totals permission denied for language plpgsql");
});

it.each(["pg_execute_server_program", "pg_write_server_files", "pg_read_server_files"])(
  "a login in %s is as good as a superuser: a first look by it is refused",
  async (role) => {
    await runAs("postgres", `drop role if exists mighty; create role mighty login password 'mighty' in role ${role}`);
    onTestFinished(async () => void (await runAs("postgres", "drop role mighty")));
    const { exitCode, output } = await inProcess(doctor, [url("mighty")], doctorSettings(url("mighty")));
    expect([exitCode, output]).toEqual([1, expect.stringMatching(/as good as one/)]);
  },
);

it("a role of the application's that has the name of a login is refused, and stays, as it has not our comment", async () => {
  await runAs("postgres", "create role veza_ledger login");
  await expect(runSqlFiles(url("postgres"), setUp)).rejects.toThrow(
    "not a login of veza-ledger-metrics, by its comment: veza_ledger",
  );
  await runSqlFiles(url("postgres"), back);
  expect([await rolesLeft(), await isThere()]).toEqual([["veza_ledger"], false]);
});

describe("psql", await needs("psql"), () => {
  const psql = (login: string, file: string, ...options: string[]) =>
    promisify(execFile)("psql", ["-Xq", ...options.flatMap((given) => ["-v", given]), "-f", file, url(login)]).then(
      ({ stderr }) => ({ code: 0, stderr }),
      ({ code, stderr }) => ({ code, stderr: stderr as string }),
    );
  const [file] = setUp as [string];
  const [schema, zone] = ["schema=public", "timezone=UTC"];

  it.each([
    ["without a schema", [zone], "psql needs -v schema=..., the sampler's LEDGER_SCHEMA, such as public"],
    ["without a zone", [schema], "psql needs -v timezone=..., the sampler's LEDGER_TIMEZONE, such as UTC"],
    ["with a wrong schema", ["schema=nowhere", zone], 'schema "nowhere" does not exist'],
    [
      "with a wrong zone",
      [schema, "timezone=Europe/Pariss"],
      'invalid value for parameter "TimeZone": "Europe/Pariss"',
    ],
    ["for IAM, on a server that is not RDS", [schema, zone, "iam=yes"], 'role "rds_iam" does not exist'],
  ])("%s changes nothing, and says why", async (_, options, message) => {
    const { code, stderr } = await psql("master", file, ...options, "ON_ERROR_STOP=0");
    expect([code, stderr]).toEqual([3, expect.stringContaining(message)]);
    await isUntouched();
  });

  it("by a login without rights changes nothing, and says why", async () => {
    const { code, stderr } = await psql("reader", file, schema, zone);
    expect([code, stderr]).toEqual([3, expect.stringContaining("permission denied for database ledger")]);
    await isUntouched();
  });

  it("for IAM makes the functions' logins members, and no administrator", async () => {
    await runAs("postgres", "create role rds_iam; grant rds_iam to master with admin option");
    onTestFinished(async () => void (await runAs("postgres", "drop role rds_iam")));
    await runAs("postgres", "revoke rds_iam from master; grant rds_iam to postgres with admin option");
    expect(await psql("postgres", file, schema, zone, "iam=yes")).toMatchObject({ code: 0 });
    const members = await runAs(
      "postgres",
      "select member::regrole::text as login from pg_auth_members where roleid = 'rds_iam'::regrole order by 1",
    );
    expect(members.map(({ login }) => login)).toEqual(["postgres", "veza_ledger_receiver", "veza_ledger_sampler"]);
  });

  it("warns an administrator of the right that a superuser has to grant, until it is granted", async () => {
    const isWarned = async () =>
      (await psql("master", file, schema, zone)).stderr.includes(
        "veza_ledger_oncall is no member of pg_read_all_stats",
      );
    // Before PostgreSQL 16, CREATEROLE is enough to grant it, and the file has done so.
    const [row] = await runAs("postgres", "select current_setting('server_version_num')::int >= 160000 as lacks");
    expect(await isWarned()).toBe(row?.lacks);
    await runAs("postgres", "grant pg_read_all_stats to veza_ledger_oncall");
    expect(await isWarned()).toBe(false);
  });

  it("makes the indexes, and all else, for a schema in capitals, and takes it back", async () => {
    const moved = tables.map((table) => `alter table ${table} set schema "Veza-1"`).join("; ");
    await runAs("shop", `create schema "Veza-1"; ${moved}`);
    const theirs = "schema=Veza-1";
    expect(await psql("postgres", file, theirs, "timezone=Europe/Paris")).toEqual({ code: 0, stderr: "" });
    expect(await psql("shop", "config/postgres/indexes.sql", theirs)).toEqual({ code: 0, stderr: "" });
    await runAs("postgres", "alter role veza_ledger_oncall password 'veza_ledger_oncall'");
    const onCall = postgres(url("veza_ledger_oncall"), { max: 1, fetch_types: false });
    const [row] = await onCall`select count(*)::int, current_setting('timezone') as zone
      from ledger_metrics.stuck_orders()`.finally(() => onCall.end());
    expect(row).toEqual({ count: 0, zone: "Europe/Paris" });
    expect(await psql("shop", "config/postgres/indexes.rollback.sql", theirs)).toEqual({ code: 0, stderr: "" });
    expect(await psql("postgres", back[0] as string)).toEqual({ code: 0, stderr: "" });
    await isUntouched();
  });
});
