import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import postgres from "postgres";
import { runSqlFiles } from "../../commands/sql.ts";
import { startPostgres } from "../../local/postgres.ts";
import { makeCertificates, tlsFlags } from "./certificates.ts";
import { copyingFiles } from "./template.ts";

type Run = (statements: string, login?: string, database?: string) => Promise<unknown>;

/** Runs statements on a connection of their own. */
async function runAt(url: string, statements: string, options: postgres.Options<Record<string, never>> = {}) {
  const sql = postgres(url, { max: 1, onnotice: () => {}, ...options });
  return await sql.unsafe(statements).finally(() => sql.end());
}

/** Makes the logins, the database and the schema of such a server. */
async function fill(run: Run): Promise<void> {
  await run("create role master login createrole createdb password 'master'", "postgres", "postgres");
  await run("create database ledger owner master", "postgres", "postgres");
  await run("create role veza_app login password 'veza_app'", "master");
  await run(`
    revoke all on database ledger from public;
    revoke all on schema public from public;
    grant connect on database ledger to veza_app;
    create schema veza authorization veza_app;
    alter role veza_app set search_path = veza`);
}

/** For the superuser, or a login whose password is its name. */
function urlFor(superuserUrl: string, login: string, database: string): URL {
  const url = Object.assign(new URL(superuserUrl), { pathname: database });
  return login === "postgres" ? url : Object.assign(url, { username: login, password: login });
}

/** Fills an empty server in the same way, and with the role that stands for IAM there. */
export async function fillWithIam(superuserUrl: string): Promise<void> {
  const urlOf = (login: string, database: string) => urlFor(superuserUrl, login, database).href;
  const run: Run = (statements, login = "postgres", database = "ledger") => runAt(urlOf(login, database), statements);
  await fill(run);
  await run("create role rds_iam", "master"); // Who may grant it, without having what it has.
  await runSqlFiles(urlOf("veza_app", "ledger"), ["local/ledger.sql"]);
}

/**
 * A PostgreSQL that is set up as a careful company has it on RDS. The login `master` may create roles, is no superuser,
 * and does not own the tables. PUBLIC has no right to the database or the schema `public`. The ledger is in the schema
 * `veza` and belongs to `veza_app`. Nobody gets in without TLS, but the superuser: the postgres_fdw from npm has none.
 * Passwords are the logins' names, but for the superuser's.
 *
 * It leaves out what only Amazon has: rds_superuser, its own extensions, and IAM.
 */
export async function startAsOnRds() {
  const certificates = await makeCertificates("IP:127.0.0.1");
  const access = path.join(path.dirname(certificates.ca), "pg_hba.conf");
  await writeFile(access, "host all postgres 127.0.0.1/32 scram-sha-256\nhostssl all all 127.0.0.1/32 scram-sha-256\n");
  const server = await startPostgres(0, [...tlsFlags(certificates), "-c", `hba_file=${access}`]);
  const address = `127.0.0.1:${server.port}`;
  const urlOf = (login: string, database: string, mode: string) =>
    `${urlFor(server.superuserUrl, login, database).href}?sslmode=${mode}`;
  const run = (statements: string, login = "postgres", database = "ledger") =>
    runAt(urlOf(login, database, "require"), statements, { ssl: { rejectUnauthorized: false } });
  await fill(run);
  await runSqlFiles(urlOf("veza_app", "ledger", "require"), ["local/ledger.sql"]);
  const sql = postgres(server.superuserUrl, { max: 1 });
  const copying = await copyingFiles(sql).finally(() => sql.end());
  return {
    /** The option of `create database` with a template. */
    copying,
    /** `host:port`. */
    address,
    /** A connection string, with the certificate verified as the tests' settings for RDS have it. */
    as: (login: string, database = "ledger") => urlOf(login, database, "verify-full"),
    /** The file of its certificate authority. */
    ca: certificates.ca,
    /** The same as a text. */
    certificates: await readFile(certificates.ca, "utf8"),
    /** Runs statements as the superuser, whom RDS keeps to itself, unless told otherwise. */
    run,
    stop: () => server.stop(),
  };
}
