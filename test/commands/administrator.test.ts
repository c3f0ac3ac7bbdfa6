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

it.each(["master", "postgres"])("schema.sql and roles.sql, and what takes them back, by %s", async (admin) => {
  await runAs("shop", attacks());
  for (const files of [setUp, setUp, ["config/postgres/roles.rollback.sql"], setUp]) {
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

const back = ["config/postgres/roles.rollback.sql"];
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
const isUntouched = async () => expect([await rolesLeft(), await isThere()]).toEqual([[], false]);

describe.each(["master", "postgres"])("by %s", (admin) => {
  it("a database that changes the session's role is refused, before anything runs", async () => {
    await runAs("shop", attacks());
    await runAs("shop", "alter database ledger set role = shop");
    for (const files of [setUp, back]) {
      await expect(runSqlFiles(url(admin), files)).rejects.toThrow(`acts as shop, and has logged in as ${admin}`);
    }
    await runAs("shop", "alter database ledger reset role");
    await isUntouched();
    expect(await taken()).toEqual(nothing);
  });

  it("a ledger_metrics of the application's is refused, and stays", async () => {
    await runAs("shop", attacks());
    await runAs(
      "shop",
      `create schema ledger_metrics; create table ledger_metrics.accepted ("check" text);
       create trigger note before insert on ledger_metrics.accepted for each statement execute function evil.note()`,
    );
    await expect(runSqlFiles(url(admin), setUp)).rejects.toThrow(
      "made by somebody else: ledger_metrics.accepted of shop, the schema ledger_metrics of shop",
    );
    await expect(runSqlFiles(url(admin), back)).rejects.toThrow("belongs to shop, who is no administrator");
    expect([await rolesLeft(), await isThere(), await taken()]).toEqual([[], true, nothing]);
  });

  it.each([
    [
      "a table with a trigger",
      "create table totals (); create trigger note before insert on totals execute function evil.note()",
    ],
    ["a table of another owner", "create table totals (); alter table totals owner to shop"],
    [
      "a foreign table",
      "create foreign data wrapper far; create server far foreign data wrapper far; create foreign table totals () server far",
    ],
    ["a view", "create view totals as select 1 as value"],
    ["a table with policies", "create table totals (); alter table totals enable row level security"],
    ["a column of a type of the application's", "create table totals (kind evil.kind)"],
    ["a rule", "create table totals (); create rule note as on insert to totals do also select evil.version()"],
  ])("%s, where ledger_metrics has its own, is refused", async (_, made) => {
    await runAs("shop", attacks());
    onTestFinished(async () => void (await runAs("postgres", "drop foreign data wrapper if exists far cascade")));
    await runAs(
      "postgres",
      `create schema ledger_metrics; set search_path = ledger_metrics; ${made};
       do $$ begin if '${admin}' = 'master' then
         execute 'alter schema ledger_metrics owner to master';
         if to_regclass('ledger_metrics.totals') is not null
           and (select relowner::regrole::text from pg_class where oid = 'ledger_metrics.totals'::regclass) = 'postgres'
         then alter table ledger_metrics.totals owner to master; end if;
       end if; end $$`,
    );
    await expect(runSqlFiles(url(admin), setUp)).rejects.toThrow(
      /(not made by this file|made by somebody else): (the type of )?ledger_metrics\.totals(\.\w+)? of (shop|master|postgres)$/,
    );
    expect([await rolesLeft(), await taken()]).toEqual([[], nothing]);
  });

  it("an installation of before is upgraded, and its settings on roles change no count", async () => {
    await runSqlFiles(url(admin), setUp);
    await runAs(
      "postgres",
      `comment on constraint "there is no such check" on ledger_metrics.accepted is 'stuck_orders';
       alter table ledger_metrics.accepted drop constraint "there is no such check";
       create schema elsewhere; create table elsewhere.orders (like public.orders);
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
    const [row] = await runAs(
      "postgres",
      "select obj_description(oid) as comment from pg_constraint where conname = 'there is no such check'",
    );
    expect(row?.comment).toMatch(/^check \("check" in \('stuck_orders', .+\)\) not valid$/);
  });

  it("rights are taken back also in part, twice, where a table became a view, and while another database needs a login", async () => {
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
    await runAs("postgres", "drop role veza_ledger_oncall; drop table ledger_metrics.accepted");
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
  });
});

it("what another administrator has prepared is refused, before a cast of its types runs as a superuser", async () => {
  await runAs("shop", attacks());
  await runAs(
    "postgres",
    `create schema ledger_metrics authorization master; set role master; create table ledger_metrics.accepted
      ("check" text, id text, until timestamptz, why evil.kind, accepted_at timestamptz, accepted_by text);
     insert into ledger_metrics.accepted values ('stuck_orders', '1', now(), 'a', now(), 'x')`,
  );
  await expect(runSqlFiles(url("postgres"), setUp)).rejects.toThrow(
    "made by somebody else: ledger_metrics.accepted of master, the schema ledger_metrics of master",
  );
  expect(await taken()).toEqual(nothing);
});

describe("the rollback stops before it takes what these files did not make,", () => {
  it.each([
    [
      "a view of others",
      "create view public.last_run as select value from ledger_metrics.totals; alter view public.last_run owner to shop",
      "public.last_run of shop",
    ],
    ["a table in its schema", "create table ledger_metrics.notes ()", "ledger_metrics.notes of postgres"],
    [
      "a function in its schema",
      `create function ledger_metrics.f() returns int language sql as 'select 1'; alter function ledger_metrics.f() owner to shop`,
      "ledger_metrics.f() of shop",
    ],
    [
      "a table of veza_ledger_amounts",
      "create role veza_ledger_amounts; create table public.money (); alter table public.money owner to veza_ledger_amounts",
      "table public.money of veza_ledger_amounts",
    ],
    [
      "a table with a key to its own",
      "create table public.notes (id text references ledger_metrics.deliveries)",
      "cannot drop table ledger_metrics.deliveries because other objects depend on it",
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
    await runAs("postgres", "grant create, temp on database other to veza_ledger_receiver with grant option");
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
  const error = await runSqlFiles(url("master"), setUp).catch((error) => error);
  expect(error.message).toContain("master may not grant rights on public.orders of shop");
  expect(error.hint).toMatch(/^As a superuser, or as whoever made that owner: grant shop to master\b/);
  await runAs("postgres", "alter role master createrole");
  await isUntouched();
  await runAs("postgres", error.hint.replace(/^.*: /, ""));
  await runSqlFiles(url("master"), setUp);
  expect(await rolesLeft()).toHaveLength(4);
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
  await expect(runSqlFiles(url("master"), setUp)).rejects.toThrow("veza_ledger_sampler may not use the schema public");
  await isUntouched();
});

it("what is missing is named, and where, and nothing has changed", async () => {
  const refusal = async (schema: string, database = "ledger") => {
    const error = await runSqlFiles(url("postgres", database), setUp, schema).catch((error) => error);
    return [error.message, error.hint].join(": ");
  };
  const sees = (database: string, tables: string, schema: string) =>
    `in the database ${database}, postgres sees no ${tables} in the schema ${schema}: Is this the database, and the login? Give -v schema what the sampler has as LEDGER_SCHEMA.`;
  const all = tables.join(", ");
  expect(await refusal("public", "postgres")).toBe(sees("postgres", all, "public"));
  for (const schema of ["nowhere", "nowhere, pg_catalog", `"No''pe"`]) {
    expect(await refusal(schema)).toBe(sees("ledger", all, schema));
  }
  expect(await refusal("nowhere, public")).toMatch('schema "nowhere" does not exist');
  await runAs("shop", "alter table refunds drop updated_at");
  expect(await refusal("public")).toMatch('column "updated_at" of relation "refunds" does not exist');
  await runAs("shop", "drop table refunds");
  expect(await refusal("public")).toBe(sees("ledger", "refunds", "public"));
  await isUntouched();
});

it("without plpgsql for PUBLIC, publishing works by the grants of a superuser", async () => {
  await runAs("postgres", "revoke usage on language plpgsql from public");
  await runSqlFiles(url("postgres"), setUp);
  await runAs("postgres", "alter role veza_ledger_receiver password 'veza_ledger_receiver'");
  const look = () => inProcess(doctor, ["receiver"], doctorSettings(url("veza_ledger_receiver")));
  expect((await look()).output).toMatch(/^✓ totals /m);
  await runAs("postgres", "revoke usage on language plpgsql from veza_ledger_receiver");
  const finding = findingsIn((await look()).output).find(({ line }) => line.includes(" rights "));
  expect(finding?.line).toContain("lacks usage on language plpgsql");
  expect(finding?.steps).toContain("as postgres: grant usage on language plpgsql to veza_ledger_receiver");
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

it("a role of the application's that has the name of a login is refused, and keeps what it owns", async () => {
  await runAs("postgres", "create role veza_ledger login; alter table orders owner to veza_ledger");
  for (const files of [setUp, back]) {
    await expect(runSqlFiles(url("postgres"), files)).rejects.toThrow(
      /of another application.*: (.* of )?veza_ledger$/,
    );
  }
  const [row] = await runAs("postgres", "select to_regclass('public.orders') is not null as is_there");
  expect([row, await rolesLeft(), await isThere()]).toEqual([{ is_there: true }, ["veza_ledger"], false]);
  await runAs("postgres", "drop owned by veza_ledger cascade");
});

it("roles.sql alone runs nothing of the application's: what the database puts first is not asked", async () => {
  await runAs("shop", attacks());
  for (const admin of ["master", "postgres"]) {
    await expect(runSqlFiles(url(admin), ["config/postgres/roles.sql"])).rejects.toThrow("schema.sql has not begun");
  }
  expect(await taken()).toEqual(nothing);
});

describe("psql", await needs("psql"), () => {
  const psql = async (...args: string[]) => {
    const ran = promisify(execFile)("psql", ["-X", "-v", "ON_ERROR_STOP=0", ...args, url("postgres")]);
    return await ran.then(
      () => 0,
      ({ code }) => code,
    );
  };
  const [schema, both] = [["-f", "config/postgres/schema.sql"], setUp.flatMap((file) => ["-f", file])];

  it.each([
    ["schema.sql alone, which commits nothing", schema, 0],
    ["roles.sql alone", both.slice(2), 3],
    ["both, with a wrong schema", ["-v", "schema=nowhere", ...both], 3],
    ["both, with a wrong zone", ["-v", "timezone=Europe/Pariss", ...both], 3],
    ["both for IAM, on a server that is not RDS", ["-v", "iam=yes", ...both], 3],
    ["both for IAM, by another word", ["-v", "iam=true", ...both], 3],
  ])("changes nothing by %s", async (_, args, exitCode) => {
    expect(await psql(...args)).toBe(exitCode);
    await isUntouched();
  });

  describe("for IAM", () => {
    const withIam = (login: string) =>
      promisify(execFile)("psql", ["-X", "-q", "-v", "iam=yes", ...both, url(login)]).then(
        () => "done",
        ({ stderr }) => stderr as string,
      );
    const members = async () =>
      (
        await runAs(
          "postgres",
          "select member::regrole::text as login from pg_auth_members where roleid = 'rds_iam'::regrole order by 1",
        )
      ).map(({ login }) => login);
    const grantIn = (said: string) => /as the master: (grant .*)/.exec(said)?.[1] ?? "no hint";
    const bothLogins = ["veza_ledger_receiver", "veza_ledger_sampler"];
    beforeEach(async () => {
      await runAs("postgres", "create role rds_iam");
      onTestFinished(async () => void (await runAs("postgres", "drop role rds_iam")));
    });

    it("who may not grant it is told, and becomes no member: RDS would refuse their password", async () => {
      const [row] = await runAs("postgres", "select current_setting('server_version_num')::int >= 160000 as lacks");
      const said = await withIam("master");
      if (row?.lacks) {
        expect(said).toContain("ERROR:  master may not grant rds_iam\n");
        await isUntouched();
        await runSqlFiles(url("master"), setUp);
        await runAs("postgres", grantIn(said));
      }
      expect(await withIam("master")).toBe("done"); // The logins are members already.
      expect(await members()).toEqual(bothLogins);
    });

    it("a stage with passwords is told that RDS takes none from logins that log in with IAM", async () => {
      const withPasswords = async () =>
        (await promisify(execFile)("psql", ["-X", "-q", ...both, url("postgres")])).stderr.match(/WARNING: .*/g);
      expect(await withPasswords()).toBeNull();
      expect(await withIam("postgres")).toBe("done");
      expect(await withPasswords()).toEqual([
        "WARNING:  RDS takes no password from veza_ledger_sampler, veza_ledger_receiver, since they are members of rds_iam",
      ]);
    });

    it("logins with rights to another stage's database are refused, and named, until they are members", async () => {
      await runSqlFiles(url("postgres"), setUp);
      await runAs("postgres", "create database other", "postgres");
      onTestFinished(async () => void (await runAs("postgres", "drop database other", "postgres")));
      await runAs("postgres", "grant connect on database other to veza_ledger_receiver");
      const said = await withIam("postgres");
      expect(said).toContain("logins that are in use elsewhere: veza_ledger_receiver to other\n");
      expect(await members()).toEqual([]);
      await runAs("postgres", grantIn(said));
      expect(await withIam("postgres")).toBe("done");
    });
  });

  it.each([
    ["timezone=Europe/Pariss", "no time zone Europe/Pariss", "HINT:  Give -v timezone what the sampler has"],
    ["iam=yes", "there is no role rds_iam", "HINT:  Only RDS and Aurora have it."],
    ["iam=true", "-v iam is 'true', and has to be yes or no", ""],
  ])("says by -v %s what helps", async (variable, message, hint) => {
    const ran = promisify(execFile)("psql", ["-X", "-q", "-v", variable, ...both, url("postgres")]);
    const { stderr } = await ran.catch((error) => error);
    expect(stderr).toContain(message);
    expect(stderr).toContain(hint);
  });

  it("warns an administrator of the right that a superuser has to grant, until it is granted", async () => {
    const warning = async () => {
      const ran = promisify(execFile)("psql", ["-X", ...both, url("master")]);
      return (await ran).stderr.includes("veza_ledger_oncall is no member of pg_read_all_stats");
    };
    // Before PostgreSQL 16, CREATEROLE is enough to grant it, and the file has done so.
    const [row] = await runAs("postgres", "select current_setting('server_version_num')::int >= 160000 as lacks");
    expect(await warning()).toBe(row?.lacks);
    await runAs("postgres", "grant pg_read_all_stats to veza_ledger_oncall");
    expect(await warning()).toBe(false);
  });

  it("runs both again without -v, and they look where they did before, in the same zone", async () => {
    await runAs("shop", `create schema "Views"; create view "Views".orders as select * from public.orders`);
    const looks = () =>
      runAs(
        "postgres",
        `select array_to_string(proconfig, ' ') as settings from pg_proc
        where oid = 'ledger_metrics.stuck_orders()'::regprocedure
        union select array_to_string(setconfig, ' ') from pg_db_role_setting
        where setrole = 'veza_ledger_oncall'::regrole and setdatabase <> 0`,
      );
    expect(await psql("-v", "schema=Views,public", "-v", "timezone=Europe/Paris", ...both)).toBe(0);
    const before = await looks();
    expect(before).toHaveLength(2);
    for (const { settings } of before) expect(settings).toMatch(/pg_catalog, "Views", public, pg_temp.*|Europe\/Paris/);
    expect(await psql(...both)).toBe(0);
    expect(await looks()).toEqual(before);
    expect(await psql("-v", "schema=public", "-v", "timezone=UTC", ...both)).toBe(0);
    for (const { settings } of await looks()) expect(settings).not.toMatch(/Views|Paris/);
    expect(await psql("-f", ...back)).toBe(0);
  });

  it("runs both, and what takes them back, as the pages say", async () => {
    await runAs("shop", 'create schema "Veza"; alter table orders set schema "Veza"');
    for (const schema of ['"Veza",public', "Veza, public"])
      expect(await psql("-v", `schema=${schema}`, "-v", "timezone=Europe/Paris", ...both)).toBe(0);
    await runAs("postgres", "alter role veza_ledger_oncall password 'veza_ledger_oncall'");
    const onCall = postgres(url("veza_ledger_oncall"), { max: 1, fetch_types: false });
    const [row] = await onCall`select count(*)::int, current_setting('timezone') as zone from orders`.finally(() =>
      onCall.end(),
    );
    expect(row).toEqual({ count: 0, zone: "Europe/Paris" });
    expect(await psql("-f", ...back)).toBe(0);
    await isUntouched();
  });
});
