import { randomBytes } from "node:crypto";
import postgres from "postgres";
import { afterAll, beforeEach, inject, onTestFinished } from "vitest";
import { connect } from "../../commands/connect.ts";
import { deadlineFor } from "../../lib/deadline.ts";
import type { Connections } from "../../lib/postgres/connections.ts";
import { codeOf, type Database } from "../../lib/postgres/database.ts";
import { inSchema } from "../../lib/postgres/question.ts";
import { type DatabaseTarget, parseDatabaseUrl } from "../../lib/settings/settings.ts";
import { startPostgres } from "../../local/postgres.ts";
import { copyingFiles, createTemplate } from "./template.ts";

export interface TestDatabase {
  /** As the superuser. */
  admin: postgres.Sql;
  adminUrl: string;
  samplerUrl: string;
  receiverUrl: string;
  /** As the login that both functions share without AWS. */
  bothUrl: string;
  /** Ends the superuser's sessions, and everybody else's, and takes the database away. */
  remove(): Promise<void>;
}

/** The URL of the same database for another login, which is given with its password: `shop:shop`. */
export const urlAs = (login: string, url: string): string => url.replace(/\/\/.*@/, `//${login}@`);

const sessions = new Map<string, postgres.Sql>();
/** The superuser's session on this server; it ends when it has had nothing to do for a second. */
function sessionOn(serverUrl: string): postgres.Sql {
  const session = sessions.get(serverUrl) ?? postgres(serverUrl, { max: 1, fetch_types: false, idle_timeout: 1 });
  sessions.set(serverUrl, session);
  return session;
}

/** The URL of a server for the calling file, whose tests change roles: these belong to all databases of a server. */
export async function serverForFile(): Promise<string> {
  const server = await startPostgres(0);
  afterAll(() => server.stop());
  await createTemplate(server.superuserUrl);
  return server.superuserUrl;
}

/** A new database: the ledger's tables, the totals' schema and both roles, all as shipped. */
export async function createDatabase(serverUrl = inject("adminUrl")): Promise<TestDatabase> {
  const name = `ledger_${randomBytes(6).toString("hex")}`;
  const server = sessionOn(serverUrl);
  await server.unsafe(`create database ${name} template ledger ${await copyingFiles(server)}`);
  const adminUrl = serverUrl.replace(/\w+$/, name);
  const as = (login: string) => urlAs(login, adminUrl);
  const admin = postgres(adminUrl, { max: 4, onnotice: () => {} });
  // A template does not hand on the roles' settings there.
  await server.unsafe(`insert into pg_db_role_setting select made.oid, setrole, setconfig
    from pg_database as made, pg_database as ledger, pg_db_role_setting
    where made.datname = '${name}' and ledger.datname = 'ledger' and setdatabase = ledger.oid`);
  return {
    admin,
    adminUrl,
    samplerUrl: as("veza_ledger_sampler:sampler"),
    receiverUrl: as("veza_ledger_receiver:receiver"),
    bothUrl: as("veza_ledger:both"),
    // At once: hundreds of databases together take a minute to delete.
    remove: async () => {
      await admin.end();
      await server.unsafe(`drop database ${name} with (force)`);
    },
  };
}

/** The same, removed when the tests of the calling file are finished. */
export async function databaseForFile(): Promise<TestDatabase> {
  const database = await createDatabase();
  afterAll(() => database.remove());
  return database;
}

/** The same, removed when the calling test is finished. */
export async function databaseForTest(): Promise<TestDatabase> {
  const database = await createDatabase();
  onTestFinished(() => database.remove());
  return database;
}

/**
 * A database for each test of the calling file, and how to run statements on it as the superuser. It is one object,
 * whose fields change with the test.
 */
export function databasePerTest() {
  const database = {} as TestDatabase;
  beforeEach(async () => void Object.assign(database, await databaseForTest()));
  const run = async (statements: string): Promise<void> => void (await database.admin.unsafe(statements));
  return { database, run };
}

/** The parsed form of a connection string. */
export const targetOf = parseDatabaseUrl;

/** A session of people on call, with what roles.sql sets for them; it ends with the test. */
export function onCall({ adminUrl }: TestDatabase): postgres.Sql {
  const sql = postgres(urlAs("veza_ledger_oncall:oncall", adminUrl), { max: 1 });
  onTestFinished(() => sql.end());
  return sql;
}

/** Locks a table in a session of its own until the test is finished, or until the returned function is called. */
export async function lockTable(database: TestDatabase, table: string): Promise<() => Promise<void>> {
  const session = await database.admin.reserve();
  await session.unsafe(`begin; lock table ${table} in access exclusive mode`);
  let unlocked: Promise<void> | undefined;
  const unlock = () => {
    unlocked ??= session.unsafe("rollback").then(() => session.release());
    return unlocked;
  };
  onTestFinished(unlock);
  return unlock;
}

/**
 * The locks of this database, with their mode, that are granted or waited for: all, or those on the publishers' table.
 * Other tests' databases are copies, so that their tables have the same oids: a lock's relation alone is not enough.
 */
export const locks = ({ admin }: TestDatabase, of: "granted" | "awaited", on = "any") => admin<{ mode: string }[]>`
  select mode from pg_locks join pg_stat_activity using (pid)
  where datname = current_database() and pid <> pg_backend_pid() and granted = ${of === "granted"}
    and (${on} = 'any' or relation = to_regclass(${on}))`;

/** The sessions that wait for the publishers' lock. */
export const waitingPublishers = (database: TestDatabase) => locks(database, "awaited", "ledger_metrics.publisher");

/** One connection, closed when the test is finished. */
export const openConnection = (url: string): Promise<Database> => openFor(targetOf(url));

/** The same, by settings. A busy machine may exceed the limit to dial, which no test means that only wants to begin. */
export async function openFor(target: DatabaseTarget): Promise<Database> {
  for (const until = Date.now() + 120_000; ; ) {
    try {
      const connection = await connect(async () => target, "test", deadlineFor("test", 60_000));
      onTestFinished(() => connection.close());
      return connection;
    } catch (error) {
      if (codeOf(error) !== "CONNECT_TIMEOUT" || Date.now() > until) throw error;
    }
  }
}

/** Lends this connection until it is lost, and what `open` opens from then on. */
export function lend(first: Database, open: () => Promise<Database>): Connections {
  return { use: async (work) => work(first.lost.aborted ? await open() : first), closeFree: () => first.close() };
}

/** SQL of a check or its evidence, about the tables of `public`. */
export const inPublic = (sql: string): string => inSchema(sql, { schema: "public", timeZone: "UTC" });
