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
import { urlAs } from "../helpers/database.ts";
import { doctorSettings, findingsIn } from "../helpers/doctor.ts";
import { needs } from "../helpers/needs.ts";
import { oneLine } from "../helpers/pages.ts";
import { copyingFiles } from "../helpers/template.ts";
import { newFolder } from "../helpers/temporary-folder.ts";

let server: Awaited<ReturnType<typeof startPostgres>>;
let folder: string;
let superuser: postgres.Sql;
/** The password of each login that a test uses. */
let password: string;
const url = (login: string, database = "ledger") =>
  urlAs(`${login}:${password}`, server.superuserUrl).replace(/\w+$/, database);
/** Runs statements in a session of this login, which no setting of the database has changed. */
async function runAs(login: string, statements: string, database = "ledger"): Promise<postgres.Row[]> {
  const connection = { search_path: "public", standard_conforming_strings: "on", role: "none" } as never;
  const sql = postgres(url(login, database), { max: 1, onnotice: () => {}, fetch_types: false, connection });
  return (await sql.unsafe(statements).finally(() => sql.end())) as postgres.Row[];
}

/** Gives a login its password. */
const letIn = (login: string) => superuser.unsafe(`alter role ${login} password '${password}'`);

const typeOf = (signature: string) =>
  /has_/.test(signature) ? "boolean" : /now/.test(signature) ? "timestamptz" : "text";
/** SQL: functions and operators that fit as well as pg_catalog's, and come first; a view; a default. */
function attacks(): string {
  // A sequence and a file keep what a transaction takes back.
  const body = `language plpgsql set search_path = pg_catalog as $$ begin
    reset role;
    begin copy (select 1) to '${folder}/written'; exception when others then null; end;
    perform nextval(case when current_user in ('master', 'postgres') then 'evil.admin' else 'evil.other' end);
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
/** What a run that is refused may not change. */
async function state(database?: string) {
  const [row] = await runAs(
    "postgres",
    `select to_jsonb(array(select rolname from pg_roles where rolname ~ '^veza_ledger' order by 1)) as logins,
      array(select oid::regclass::text from pg_class where relnamespace = to_regnamespace('ledger_metrics')) as relations,
      to_regnamespace('ledger_metrics') is not null as is_there,
      (select jsonb_agg(to_jsonb(m) order by to_jsonb(m)) from pg_auth_members as m where roleid = 'shop'::regrole) as memberships`,
    database,
  );
  return row as { logins: string[]; relations: string; is_there: boolean; memberships: object };
}
const amounts = ["config/postgres/amounts.sql"];
const back = ["config/postgres/uninstall.sql"];
/** The master as RDS has it: it may create roles, and give away the rights of the tables' owner. */
async function joinShop(): Promise<void> {
  await runAs("postgres", "alter role master inherit createrole; grant shop to master with admin option", "postgres");
  await runAs("master", "grant shop to master", "postgres");
}
async function leaveShop(): Promise<void> {
  for (const grantor of ["master", "postgres"]) await runAs(grantor, "revoke shop from master", "postgres");
  onTestFinished(joinShop);
}
beforeAll(async () => {
  folder = await newFolder();
  await chmod(folder, 0o777); // For the server's user.
  server = await startPostgres(0);
  password = new URL(server.superuserUrl).password;
  superuser = postgres(server.superuserUrl, { max: 1, onnotice: () => {} });
  await superuser`create role master login createrole`;
  await letIn("master");
  await runAs("master", "create role shop login; create role reader login", "postgres");
  for (const login of ["shop", "reader"]) await letIn(login);
  await joinShop();
  await superuser`create database blank`;
  await runAs("postgres", "grant all on schema public to shop", "blank");
  await runSqlFiles(url("shop", "blank"), ["local/ledger.sql"]);
  return async () => {
    await superuser.end();
    await server.stop();
  };
});
beforeEach(async () => {
  await superuser.unsafe(`create database ledger owner shop template blank ${await copyingFiles(superuser)}`);
  onTestFinished(async () => {
    await superuser`drop database ledger with (force)`;
    await superuser.unsafe(`drop role if exists ${Object.keys(roles).join(", ")}, veza_ledger_amounts`);
  });
});

it.each(["master", "postgres"])("install.sql, amounts.sql and uninstall.sql, by %s", async (admin) => {
  await runAs(
    "shop",
    `${tables.map((table) => `alter table ${table} add amount_cents int, add currency text;`).join("")}
    ${attacks()}`,
  );
  for (const files of [setUp, amounts, setUp, back, setUp, amounts]) {
    await runSqlFiles(url(admin), files);
    expect([files, await taken()]).toEqual([files, nothing]);
  }
  await runAs(
    "shop",
    `create function evil.seen() returns boolean language plpgsql as $$ begin
      perform nextval(case when current_user in ('master', 'postgres') then 'evil.admin' else 'evil.other' end);
      return true; end $$;
    create or replace view public.orders as select * from public.kept where evil.seen()`,
  );
  await letIn("veza_ledger_sampler");
  await runAs("veza_ledger_sampler", "select * from ledger_metrics.amounts_at_risk");
  expect(await taken()).toEqual({ ...nothing, by_other: true }); // As a role that may do nothing else.
});

const mighty = ["pg_execute_server_program", "pg_write_server_files", "pg_read_server_files"];
it("a first look and the doctor refuse who is as good as a superuser, before anything runs, and help", async () => {
  for (const role of mighty) {
    await runAs("postgres", `create role in_${role} login noinherit in role ${role}`);
    await letIn(`in_${role}`);
    onTestFinished(async () => void (await runAs("postgres", `drop role in_${role}`, "postgres")));
  }
  await runAs("shop", attacks());
  const look = (as: string, ...args: string[]) =>
    inProcess(doctor, args.concat(args.length > 0 ? [] : [url(as)]), doctorSettings(url(as)));
  const logins = ["postgres", "master", ...mighty.map((role) => `in_${role}`)];
  for (const args of [["master", "sampler"], ...logins.map((login) => [login])] as [string, ...string[]][]) {
    const { exitCode, output } = await look(...args);
    expect([args, exitCode, output]).toEqual([args, 1, expect.stringMatching(/as\s+good as one/)]);
  }
  // As a login that is none, what the application's database puts first runs, and writes nothing.
  await look("reader");
  expect(await taken()).toEqual(nothing);

  // What it prints makes a login that can look, and the page of the first day removes it: by RDS' master, too.
  await runAs("shop", "alter database ledger reset all");
  const { steps = [] } = findingsIn((await look("master")).output).find(({ line }) => line.startsWith("✗")) ?? {};
  const statements = steps.flatMap((step) => step.split("as a superuser: ")[1] ?? []);
  expect(statements).toHaveLength(2);
  await runAs("master", statements.join(";"));
  await letIn("ledger_reader");
  expect((await look("ledger_reader")).output).toMatch(/^✓ stuck_refunds +0|^! stuck_refunds +0/m);
  const page = oneLine(await readFile("docs/first-day.md", "utf8"));
  const [, removal = ""] = /`([^`]*drop role ledger_reader;)`/.exec(page) ?? [];
  await runAs("master", removal);
  expect(await runAs("postgres", "select from pg_roles where rolname = 'ledger_reader'")).toEqual([]);
});

interface Refused {
  by: string;
  /** What is odd, and whether all that an application can do is there as well. */
  made?: () => Promise<unknown>;
  isAttacked?: true;
  database?: string;
  schema?: string;
  timeZone?: string;
  says: string | RegExp;
  /** What uninstall.sql says of it, which changes nothing either. */
  back?: string;
}
const somebodyElse = "somebody else has made the schema ledger_metrics, or may create in it";
const actsAs = "acts as shop, and has logged in as postgres";
const refusals: Record<string, Refused> = {
  "a database that changes the session's role": {
    by: "postgres",
    made: () => runAs("shop", "alter database ledger set role = shop"),
    isAttacked: true,
    says: actsAs,
    back: actsAs,
  },
  "a ledger_metrics of the application's": {
    by: "postgres",
    made: () =>
      runAs(
        "shop",
        `create schema ledger_metrics; create table ledger_metrics.accepted ("check" text);
         create trigger note before insert on ledger_metrics.accepted for each statement execute function evil.note()`,
      ),
    isAttacked: true,
    says: somebodyElse,
    back: "belongs to somebody who is no administrator",
  },
  // A cast of its types would run as a superuser.
  "a ledger_metrics that another administrator has prepared": {
    by: "postgres",
    made: () =>
      runAs(
        "postgres",
        `create schema ledger_metrics authorization master; set role master; create table ledger_metrics.accepted
          ("check" text, id text, until timestamptz, why evil.kind, accepted_at timestamptz, accepted_by text);
         insert into ledger_metrics.accepted values ('stuck_orders', '1', now(), 'a', now(), 'x')`,
      ),
    isAttacked: true,
    says: somebodyElse,
  },
  "a ledger_metrics that another administrator has installed": {
    by: "master",
    made: () => runSqlFiles(url("postgres"), setUp),
    says: somebodyElse,
  },
  "a ledger_metrics in which somebody else may create": {
    by: "master",
    made: () => runAs("master", "create schema ledger_metrics; grant create on schema ledger_metrics to reader"),
    says: somebodyElse,
  },
  "a ledger_metrics of a commit before 1.0.0": {
    by: "master",
    made: () => runAs("master", "create schema ledger_metrics; create table ledger_metrics.totals (name text)"),
    says: "ledger_metrics is of a commit before 1.0.0: take it back with that commit's roles.rollback.sql, or rename it",
  },
  "a role of the application's that has the name of a login, and not our comment": {
    by: "postgres",
    made: () => runAs("postgres", "create role veza_ledger login"),
    says: "not a login of veza-ledger-metrics, by its comment: veza_ledger",
  },
  "a default privilege that would give another login our tables": {
    by: "master",
    made: () =>
      runAs(
        "master",
        `alter default privileges grant usage on schemas to reader; alter default privileges grant select on tables to reader;
         alter default privileges in schema public grant select on tables to shop`,
      ),
    says: /^default privileges of master would give rights in ledger_metrics to reader$/,
  },
  "a login without rights": { by: "reader", says: "permission denied for database ledger" },
  "an administrator who does not inherit the owner's rights": {
    by: "master",
    made: async () => {
      await leaveShop();
      await runAs("postgres", "alter role master noinherit; grant shop to master");
    },
    says: "permission denied for database ledger",
  },
  // From PostgreSQL 16 on, nobody becomes a member of a role by themselves that they may not give away.
  "an administrator who may grant no role": {
    by: "master",
    made: async () => {
      await leaveShop();
      await runAs("postgres", "grant create on database ledger to master; alter role master nocreaterole");
    },
    says: /permission denied|must (be|have)/,
  },
  // Postgres only warns.
  "an administrator who may not grant usage on the schema": {
    by: "master",
    made: () =>
      runAs(
        "postgres",
        `alter schema public owner to postgres; revoke all on schema public from public;
         grant usage on schema public to shop`,
      ),
    says: /the grants have no effect: .*\bveza_ledger_sampler may not read public\.orders\b/,
  },
  "a wrong database": { by: "postgres", database: "postgres", says: 'relation "public.orders" does not exist' },
  "a wrong schema": { by: "postgres", schema: `No"'pe`, says: `schema "No"'pe" does not exist` },
  "a wrong zone": {
    by: "postgres",
    timeZone: "Europe/Pariss",
    says: 'invalid value for parameter "TimeZone": "Europe/Pariss"',
  },
  "a table that lacks a column": {
    by: "postgres",
    made: () => runAs("shop", "alter table refunds drop updated_at"),
    says: 'column "updated_at" of relation "refunds" does not exist',
  },
};

it.each(Object.entries(refusals))("%s is refused, in words, and nothing has changed", async (_, refused) => {
  const { by, made, isAttacked, database, schema, timeZone, says, back: saysBack } = refused;
  if (isAttacked) await runAs("shop", attacks());
  await made?.();
  const before = await state(database);
  await expect(runSqlFiles(url(by, database), setUp, schema, timeZone)).rejects.toThrow(says);
  if (saysBack) await expect(runSqlFiles(url(by), back)).rejects.toThrow(saysBack);
  expect(await state(database)).toEqual(before);
  if (isAttacked) expect(await taken()).toEqual(nothing);
});

it("amounts.sql refuses a role of its name without our comment, and grants it nothing", async () => {
  await runSqlFiles(url("postgres"), setUp);
  await runAs("shop", tables.map((table) => `alter table ${table} add amount_cents int, add currency text;`).join(""));
  await runAs("postgres", "create role veza_ledger_amounts");
  await expect(runSqlFiles(url("postgres"), amounts)).rejects.toThrow("by its comment: veza_ledger_amounts");
  const may = "select has_column_privilege('veza_ledger_amounts', 'public.orders', 'status', 'select') as it";
  expect(await runAs("postgres", may)).toEqual([{ it: false }]);
});

it("install.sql waits for no lock for long: the sampler would wait behind it", async () => {
  await runSqlFiles(url("postgres"), setUp);
  const reader = postgres(url("postgres"), { max: 1, onnotice: () => {} });
  onTestFinished(() => reader.end());
  await reader.unsafe("begin");
  await reader.unsafe("select from ledger_metrics.accepted_now");
  await expect(runSqlFiles(url("postgres"), setUp)).rejects.toThrow("canceling statement due to lock timeout");
});

it.each(["master", "postgres"])(
  "rights are taken back also in part, twice, where a table became a view, and while another database needs a login, by %s",
  async (admin) => {
    await runAs("postgres", "create database other", "postgres");
    onTestFinished(async () => void (await runAs("postgres", "drop database other with (force)", "postgres")));
    await runSqlFiles(url(admin), setUp);
    // In the other database, one process has both functions, and its login may do nothing but connect and be a member.
    await runAs(
      "postgres",
      `revoke all on database other from public; grant connect, create, temp on database other to veza_ledger_receiver;
       grant connect on database other to veza_ledger`,
    );
    const rightsThere = () =>
      runAs(
        "postgres",
        "select acl.* from pg_database, aclexplode(datacl) as acl where datname = 'other' order by grantee, privilege_type",
      );
    const rights = await rightsThere();
    await runAs("postgres", "create schema used; grant usage on schema used to veza_ledger_receiver", "other");
    await runAs("postgres", "drop owned by veza_ledger_oncall");
    await runAs("postgres", "drop role veza_ledger_oncall; drop table ledger_metrics.accepted cascade");
    await runAs("shop", "alter table orders rename to kept; create view orders as table kept");
    for (const login of ["veza_ledger_sampler", "veza_ledger"]) {
      await runAs(admin, `create role ${login}_clone login in role ${login}`);
    }
    const left = ["veza_ledger", "veza_ledger_clone", "veza_ledger_receiver"];
    for (const _ of ["first", "second"]) {
      await runSqlFiles(url(admin), back);
      expect(await state()).toMatchObject({ logins: left, is_there: false });
    }
    const [row] = await runAs("postgres", "select pg_has_role('master', 'veza_ledger_receiver', 'usage') as is_member");
    expect([row, await rightsThere()]).toEqual([{ is_member: false }, rights]);
    await runAs("postgres", "drop owned by veza_ledger, veza_ledger_receiver", "other");
    await runAs("postgres", "revoke all on database other from veza_ledger, veza_ledger_receiver");
    await runSqlFiles(url(admin), back);
    expect(await state()).toMatchObject({ logins: [], is_there: false });
    await runSqlFiles(url(admin), [...back, ...setUp]);
    expect((await state()).logins).toHaveLength(4);
  },
);

it("uninstall.sql stops before it takes what install.sql did not make, and names it", async () => {
  await runSqlFiles(url("postgres"), setUp);
  const inTheWay = [
    ["view public.last_run as table ledger_metrics.totals", "because other objects depend on them"],
    ["table ledger_metrics.notes ()", "cannot drop schema ledger_metrics because other objects depend on it"],
    ["table public.money ()", "veza_ledger_oncall owns something here, which would go with it", "veza_ledger_oncall"],
  ];
  for (const [made = "", named = "", owner = "shop"] of inTheWay) {
    const [kind, name] = made.split(" ");
    await runAs("postgres", `create ${made}; alter ${kind} ${name} owner to ${owner}`);
    await expect(runSqlFiles(url("postgres"), back)).rejects.toThrow(named);
    await runAs("postgres", `drop ${kind} ${name}`);
  }
  expect((await state()).logins).toHaveLength(4);
});

it("who may give away the owner's rights has them until the commit alone", async () => {
  await leaveShop();
  await runAs("postgres", "grant create on database ledger to master; grant shop to master with admin option");
  const [row] = await runAs("postgres", "select current_setting('server_version_num')::int >= 160000 as has_options");
  if (row?.has_options) {
    await runAs("postgres", "revoke inherit option for shop from master; revoke set option for shop from master");
  }
  const { memberships } = await state();
  for (const _ of ["at first", "again"]) {
    await runSqlFiles(url("master"), setUp);
    const after = await state();
    expect([after.memberships, after.logins.length]).toEqual([memberships, 4]);
  }
});

it("without plpgsql for PUBLIC, publishing works by the grants of a superuser", async () => {
  await runAs("postgres", "revoke usage on language plpgsql from public");
  await runSqlFiles(url("postgres"), setUp);
  await letIn("veza_ledger_receiver");
  const look = () => inProcess(doctor, ["receiver"], doctorSettings(url("veza_ledger_receiver")));
  expect((await look()).output).toMatch(/^✓ totals /m);
  await runAs("postgres", "revoke usage on language plpgsql from veza_ledger_receiver");
  const lines = findingsIn((await look()).output).map(({ line }) => line);
  expect(lines).toContain("✗ totals permission denied for language plpgsql");
});

describe("psql", await needs("psql"), () => {
  const psql = (login: string, file: string, ...options: string[]) => {
    const args = ["-Xq", ...options.flatMap((given) => ["-v", given]), "-f", file, urlAs(login, url(login))];
    return promisify(execFile)("psql", args, { env: { ...process.env, PGPASSWORD: password } }).then(
      ({ stderr }) => ({ code: 0, stderr }),
      ({ code, stderr }) => ({ code, stderr: stderr as string }),
    );
  };
  const [file] = setUp as [string];
  const [schema, zone] = ["schema=public", "timezone=UTC"];

  it("without a schema or a zone, or for IAM on a server that is not RDS, changes nothing, and says why", async () => {
    const before = await state();
    for (const [options, message] of [
      [[zone], "psql needs -v schema=..., the sampler's LEDGER_SCHEMA, such as public"],
      [[schema], "psql needs -v timezone=..., the sampler's LEDGER_TIMEZONE, such as UTC"],
      [[schema, zone, "iam=yes"], 'role "rds_iam" does not exist'],
    ] as const) {
      const { code, stderr } = await psql("master", file, ...options, "ON_ERROR_STOP=0");
      expect([code, stderr]).toEqual([3, expect.stringContaining(message)]);
      expect(await state()).toEqual(before);
    }
  });

  it("for IAM makes the functions' logins members, and no administrator", async () => {
    await runAs("postgres", "create role rds_iam; grant rds_iam to postgres with admin option");
    onTestFinished(async () => void (await runAs("postgres", "drop role rds_iam", "postgres")));
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
    const before = await state();
    expect(await psql("postgres", file, theirs, "timezone=Europe/Paris")).toEqual({ code: 0, stderr: "" });
    expect(await psql("shop", "config/postgres/indexes.sql", theirs)).toEqual({ code: 0, stderr: "" });
    await letIn("veza_ledger_oncall");
    const onCall = postgres(url("veza_ledger_oncall"), { max: 1, fetch_types: false });
    const [row] = await onCall`select count(*)::int, current_setting('timezone') as zone
      from ledger_metrics.stuck_orders()`.finally(() => onCall.end());
    expect(row).toEqual({ count: 0, zone: "Europe/Paris" });
    expect(await psql("shop", "config/postgres/indexes.rollback.sql", theirs)).toEqual({ code: 0, stderr: "" });
    expect(await psql("postgres", back[0] as string)).toEqual({ code: 0, stderr: "" });
    expect(await state()).toEqual(before);
  });
});
