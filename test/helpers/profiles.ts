// The two kinds of server on which the doctor's remedies have to work as they are printed.
import { readFile } from "node:fs/promises";
import { run as runMigrate } from "../../commands/migrate.ts";
import { runSqlFiles } from "../../commands/sql.ts";
import { trustCertificates } from "../../lib/certificates.ts";
import { startPostgres } from "../../local/postgres.ts";
import { runAt, startAsOnRds } from "./as-on-rds.ts";
import { inProcess } from "./commands.ts";

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
  /** Makes a ledger of its own: empty tables, migrated. */
  create(database: string): Promise<void>;
  migrate(database: string, ...args: string[]): Promise<void>;
  stop(): Promise<void>;
}

type Server = Pick<Profile, "admin" | "owner" | "schema" | "ca" | "url" | "run" | "stop">;

/** Migrates the database `ledger`, and gives each role its name for a password. */
async function profileOn(server: Server, permit: (database: string) => Promise<unknown>): Promise<Profile> {
  const { admin, schema, ca, url, run } = server;
  const migrate = async (database: string, ...args: string[]) => {
    trustCertificates(ca ? [ca] : []); // As NODE_EXTRA_CA_CERTS makes a process do.
    const { exitCode, output } = await inProcess(runMigrate, args, { DATABASE_URL: url(admin, database) });
    if (exitCode !== 0) throw new Error(output);
  };
  const create = async (database: string) => {
    await run(`create database ${database} template ledger owner ${admin}`, "postgres");
    await permit(database);
    await migrate(database, "--schema", schema);
  };
  await migrate("ledger", "--schema", schema);
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
  return await profileOn({ ...names, url, run, stop: () => server.stop() }, async () => {});
}

/** Where the administrator is no superuser and does not own the tables, and PUBLIC has no rights. */
export async function asOnRds(): Promise<Profile> {
  const { as: url, run: runAs, ca, stop } = await startAsOnRds();
  const run = (statements: string, database: string) => runAs(statements, "postgres", database);
  await runAs("grant veza_app to master", "master", "ledger");
  const names = { admin: "master", owner: "veza_app", schema: "veza", ca: await readFile(ca, "utf8") };
  const permit = (database: string) =>
    run(
      `revoke all on database ${database} from public; grant connect, create on database ${database} to veza_app`,
      database,
    );
  return await profileOn({ ...names, url, run, stop }, permit);
}
