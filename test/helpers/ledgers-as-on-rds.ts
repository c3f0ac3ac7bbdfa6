// Ledgers on a server on which the doctor's remedies have to work as they are printed.
import { readFile } from "node:fs/promises";
import { runSqlFiles, setUp } from "../../commands/sql.ts";
import { certificatesIn, trustCertificates } from "../../lib/settings/certificates.ts";
import { startAsOnRds } from "./as-on-rds.ts";
import { rowsOfEveryKind } from "./doctor.ts";

export interface Ledgers {
  /** The certificate authority of their server, in PEM. */
  ca: string;
  /** A connection string of a login, whose password is its name. */
  url(login: string, database: string): string;
  /** As the superuser. */
  run(statements: string, database: string): Promise<object>;
  /** Makes a ledger of its own: migrated, with indexes and rows of every kind. */
  create(database: string): Promise<void>;
  /** Runs install.sql as the administrator. */
  setUp(database: string, schema?: string): Promise<void>;
  stop(): Promise<void>;
}

/**
 * A server whose administrator is no superuser and does not own the tables, and where PUBLIC has no rights. Its
 * database `ledger` is migrated, and the template of the others.
 */
export async function ledgersAsOnRds(): Promise<Ledgers> {
  const { as: url, run: runAs, ca: file, stop } = await startAsOnRds();
  const run = (statements: string, database: string) => runAs(statements, "postgres", database);
  const ca = await readFile(file, "utf8");
  trustCertificates(certificatesIn(ca) ?? []); // As NODE_EXTRA_CA_CERTS makes a process do.
  const setUpAll = (database: string, schema = "veza") => runSqlFiles(url("master", database), setUp, schema);
  // A template hands on neither who may connect nor the roles' settings there.
  const create = async (database: string) => {
    await run(`create database ${database} template ledger owner master`, "postgres");
    const copied = "from pg_database as made, pg_database as ledger";
    const which = `made.datname = '${database}' and ledger.datname = 'ledger'`;
    await run(
      `update pg_database set datacl = ledger.datacl ${copied} where ${which} and pg_database.oid = made.oid;
        insert into pg_db_role_setting select made.oid, setrole, setconfig ${copied}, pg_db_role_setting
          where ${which} and setdatabase = ledger.oid`,
      "postgres",
    );
  };
  await runAs("grant veza_app to master; grant create on database ledger to veza_app", "master", "ledger");
  await setUpAll("ledger");
  await run("update ledger_metrics.first_day set until = now()", "ledger"); // Of the first day.
  await run(`set search_path = veza, public; ${rowsOfEveryKind}`, "ledger");
  await runSqlFiles(url("veza_app", "ledger"), ["config/postgres/indexes.sql"], "veza");
  for (const name of ["sampler", "receiver", "oncall"]) {
    await run(`alter role veza_ledger_${name} connection limit 50 password 'veza_ledger_${name}'`, "ledger");
  }
  return { ca, url, run, create, setUp: setUpAll, stop };
}
