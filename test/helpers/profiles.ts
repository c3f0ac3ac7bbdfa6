// The two kinds of server on which the doctor's remedies have to work as they are printed.
import { readFile } from "node:fs/promises";
import { run as runMigrate } from "../../commands/migrate.ts";
import { runSqlFiles } from "../../commands/sql.ts";
import { certificatesIn, trustCertificates } from "../../lib/certificates.ts";
import { startPostgres } from "../../local/postgres.ts";
import { runAt, startAsOnRds } from "./as-on-rds.ts";
import { inProcess } from "./commands.ts";
import { rowsOfEveryKind } from "./doctor.ts";

export interface Profile {
  /** The login that migrates, and that may create roles. */
  admin: string;
  /** Of the tables. */
  owner: string;
  schema: string;
  /** The certificate authority of its server, in PEM. */
  ca?: string;
  /** A connection string of a login, whose password is its name. */
  url(login: string, database: string): string;
  /** As the superuser. */
  run(statements: string, database: string): Promise<object>;
  /** Makes a ledger of its own: migrated, with indexes and rows of every kind. */
  create(database: string): Promise<void>;
  migrate(database: string, ...args: string[]): Promise<void>;
  stop(): Promise<void>;
}

type Server = Pick<Profile, "admin" | "owner" | "schema" | "ca" | "url" | "run" | "stop">;

/** Migrates and fills the database `ledger`, the template, and gives each role its name for a password. */
async function profileOn(server: Server): Promise<Profile> {
  const { admin, owner, schema, ca = "", url, run } = server;
  const trusted = certificatesIn(ca) ?? [];
  const migrate = async (database: string, ...args: string[]) => {
    trustCertificates(trusted); // As NODE_EXTRA_CA_CERTS makes a process do.
    const { exitCode, output } = await inProcess(runMigrate, args, { DATABASE_URL: url(admin, database) });
    if (exitCode !== 0) throw new Error(output);
  };
  // A template hands on neither who may connect nor the roles' settings there.
  const create = async (database: string) => {
    await run(`create database ${database} template ledger owner ${admin}`, "postgres");
    const copied = "from pg_database as made, pg_database as ledger";
    const which = `made.datname = '${database}' and ledger.datname = 'ledger'`;
    await run(
      `update pg_database set datacl = ledger.datacl ${copied} where ${which} and pg_database.oid = made.oid;
        insert into pg_db_role_setting select made.oid, setrole, setconfig ${copied}, pg_db_role_setting
          where ${which} and setdatabase = ledger.oid`,
      "postgres",
    );
  };
  await migrate("ledger", "--schema", schema);
  await run(`set search_path = ${schema}, public; ${rowsOfEveryKind}`, "ledger");
  await runSqlFiles(url(owner, "ledger"), ["config/postgres/indexes.sql"]);
  for (const name of ["sampler", "receiver", "oncall"]) {
    await run(`alter role veza_ledger_${name} connection limit 50 password 'veza_ledger_${name}'`, "ledger");
  }
  return { ...server, migrate, create };
}

/** A server whose superuser does everything, and owns the tables. */
export async function plain(): Promise<Profile> {
  const server = await startPostgres(0);
  const url = (login: string, database: string) => `postgres://${login}:${login}@127.0.0.1:${server.port}/${database}`;
  const run = (statements: string, database: string) => runAt(url("postgres", database), statements);
  await run("create database ledger", "postgres");
  await runSqlFiles(url("postgres", "ledger"), ["local/ledger.sql"]);
  const names = { admin: "postgres", owner: "postgres", schema: "public" };
  return await profileOn({ ...names, url, run, stop: () => server.stop() });
}

/** Where the administrator is no superuser and does not own the tables, and PUBLIC has no rights. */
export async function asOnRds(): Promise<Profile> {
  const { as: url, run: runAs, ca, stop } = await startAsOnRds();
  const run = (statements: string, database: string) => runAs(statements, "postgres", database);
  await runAs("grant veza_app to master; grant create on database ledger to veza_app", "master", "ledger");
  const names = { admin: "master", owner: "veza_app", schema: "veza", ca: await readFile(ca, "utf8") };
  return await profileOn({ ...names, url, run, stop });
}
