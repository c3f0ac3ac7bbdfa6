// What an administrator runs executes nothing of the application's. Here that owns the database, and so chooses what a
// session there begins with. Each attack notes as whom it ran, and takes what it can.
import { existsSync } from "node:fs";
import { chmod } from "node:fs/promises";
import postgres from "postgres";
import { beforeAll, beforeEach, expect, it, onTestFinished } from "vitest";
import { run as doctor } from "../../commands/doctor.ts";
import { roles } from "../../commands/rights.ts";
import { runSqlFiles, setUp } from "../../commands/sql.ts";
import { startPostgres } from "../../local/postgres.ts";
import { inProcess } from "../helpers/commands.ts";
import { doctorSettings, findingsIn } from "../helpers/doctor.ts";
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
    alter table orders rename to kept; alter table kept alter status set default evil.version();
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
  await runAs("master", "grant shop to master");
  await runSqlFiles(url("shop"), ["local/ledger.sql"]);
  onTestFinished(async () => {
    await runAs("postgres", "drop database ledger with (force)", "postgres");
    await runAs("postgres", `drop role if exists ${Object.keys(roles).join(", ")}`, "postgres");
  });
});

it.each(["master", "postgres"])("schema.sql and roles.sql, and what takes them back, by %s", async (admin) => {
  await runAs("shop", attacks());
  for (const files of [setUp, setUp, ["config/postgres/roles.rollback.sql"], setUp]) {
    await runSqlFiles(url(admin), files);
    expect(await taken()).toEqual(nothing);
  }
});

it.each(["postgres", "writer", "master"])(
  "a first look and the doctor, by %s, are refused before anything runs",
  async (login) => {
    await runAs(
      "postgres",
      "drop role if exists writer; create role writer login password 'writer' in role pg_write_server_files",
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
    await runAs("postgres", statements.join(";").replace("'NEW'", "'ledger_reader'"));
    expect((await look("ledger_reader")).output).toMatch(/^✓ stuck_refunds +0|^! stuck_refunds +0/m);
  },
);
