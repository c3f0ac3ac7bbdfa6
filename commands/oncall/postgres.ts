// Postgres, for people on call: short transactions, each on the stage of the file, and read-only unless it says so.
import { execFile } from "node:child_process";
import { readFileSync, statSync } from "node:fs";
import { homedir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import type postgres from "postgres";
import { deadlineFor } from "../../lib/deadline.ts";
import { errorFields } from "../../lib/log.ts";
import { type Database, isConnectionLost, open, withDeadline } from "../../lib/postgres/database.ts";
import { searchPath } from "../../lib/postgres/transaction.ts";
import { passwordIn, type Stage, targetOf } from "./stage.ts";
import { tableOf } from "./table.ts";
import { Refusal, type Terminal } from "./terminal.ts";

export type Sql = postgres.TransactionSql;
/** A question whose answer is a table. */
export type Query = postgres.PendingQuery<postgres.Row[]>;

export interface Ledger {
  /** Runs `work` as people on call, read-only, once it is clear that this is the stage's database. */
  read<T>(work: (sql: Sql) => Promise<T>): Promise<T>;
  /** The same, for what they may write: which rows are accepted. */
  write<T>(work: (sql: Sql) => Promise<T>): Promise<T>;
  /** Runs `work` as the login that counts events, for which it asks; it may change ledger_metrics alone. */
  correct<T>(work: (sql: Sql) => Promise<T>): Promise<T>;
  /** Runs `work` as a login that it is given, in its own database. */
  asLogin<T>(login: string, password: string, work: (sql: Sql) => Promise<T>): Promise<T>;
  /** Prints an answer as a table, without these columns. Resolves to how many rows it has. */
  show(query: Query, title?: string, without?: string[]): Promise<number>;
  /** Ends all sessions, and with them what they have begun. */
  close(): Promise<void>;
}

const onCall = "veza_ledger_oncall";
/** For a command's statements together; each has the login's statement_timeout of 10 s. */
const timeoutMs = 60_000;

export function ledgerOf(stage: Stage, terminal: Terminal): Ledger {
  let password: string | undefined;
  let wasRefused = false;
  let session: Database | undefined;
  const sessions = new Set<Database>();
  const openAs = (login: string, secret: string): Database => {
    const database = open(targetOf(stage, login, secret), "veza-ledger-oncall");
    sessions.add(database);
    return database;
  };

  const run = async <T>(database: Database, mode: string, work: (sql: Sql) => Promise<T>): Promise<T> => {
    try {
      return (await withDeadline(database, deadlineFor("Postgres", timeoutMs), (sql) =>
        sql.begin(mode, async (sql) => {
          const settings = { search_path: searchPath, TimeZone: stage.timeZone };
          for (const [name, value] of Object.entries(settings)) await sql`select set_config(${name}, ${value}, true)`;
          return work(sql);
        }),
      )) as T;
    } catch (error) {
      if (error instanceof Refusal) throw error;
      throw asRefusal(error);
    }
  };
  const asOnCall = async <T>(mode: string, work: (sql: Sql) => Promise<T>): Promise<T> => {
    password ??= wasRefused ? await askPassword(stage, terminal) : await passwordOf(stage, terminal);
    if (session?.lost.aborted) session = undefined;
    session ??= openAs(onCall, password);
    try {
      return await run(session, mode, async (sql) => {
        await isOfStage(sql, stage.name);
        return work(sql);
      });
    } catch (error) {
      if ((error as { code?: string }).code === "28P01") {
        wasRefused = true; // The next command asks a person.
        password = undefined;
      }
      throw error;
    }
  };
  const asLogin: Ledger["asLogin"] = async (login, password, work) => {
    const database = openAs(login, password);
    return run(database, "read write", work).finally(() => database.close());
  };

  return {
    read: (work) => asOnCall("read only", work),
    write: (work) => asOnCall("read write", work),
    asLogin,
    async correct(work) {
      const login = stage.awsRegion ? "veza_ledger_receiver" : "veza_ledger";
      const emptyFor = stage.awsRegion ? ", empty to log in with IAM" : "";
      const typed = await terminal.secret(`Password of ${login}${emptyFor}`);
      return asLogin(login, typed || (stage.awsRegion ? await iamToken(stage, login) : ""), async (sql) => {
        await sql`set local role veza_ledger_receiver`;
        // It may hold the lock of publishers: not for long, whatever becomes of this laptop.
        for (const what of ["lock", "statement", "idle_in_transaction_session"]) {
          await sql`select set_config(${`${what}_timeout`}, '15s', true)`;
        }
        await isOfStage(sql, stage.name);
        return work(sql);
      });
    },
    async show(query, title, without = []) {
      const rows = await query.raw();
      if (title) terminal.print(terminal.strong(title));
      const isShown = (_: unknown, place: number) => !without.includes(rows.columns[place]?.name ?? "");
      const texts = rows.map((row) => row.filter(isShown).map((value) => (value === null ? null : String(value))));
      if (rows.length > 0) terminal.print(...tableOf(rows.columns.filter(isShown), texts, terminal.columns));
      return rows.length;
    },
    async close() {
      await Promise.all([...sessions].map((each) => each.close()));
      sessions.clear();
      session = undefined;
    },
  };
}

/** Refuses a database of another stage: its first receiver has written which it is. */
async function isOfStage(sql: Sql, stage: string): Promise<void> {
  const [row] = await sql`select stage from ledger_metrics.stage`;
  if (!row || row.stage === stage) return;
  throw new Refusal(
    `Nothing is done: this file is of the stage '${stage}', and its database is of the stage '${row.stage}'.`,
    "Use the file of the other stage, or have the platform engineer write this one again.",
  );
}

async function passwordOf(stage: Stage, terminal: Terminal): Promise<string> {
  const given = process.env.LEDGER_PASSWORD || process.env.PGPASSWORD;
  if (given) return given;
  const file = process.env.PGPASSFILE || path.join(homedir(), ".pgpass");
  try {
    const isOwn = (statSync(file).mode & 0o077) === 0;
    if (!isOwn) terminal.say(`${file} is not read: others may read it. chmod 600 helps.`);
    const found = isOwn && passwordIn(readFileSync(file, "utf8"), targetOf({ ...stage, sslRootCert: "" }, onCall, ""));
    if (found) return found;
  } catch {} // There is none.
  return askPassword(stage, terminal);
}

const askPassword = (stage: Stage, terminal: Terminal) =>
  terminal.secret(`Password of ${onCall}${stage.name && `, stage ${stage.name}`}`);

/** A password for one login, by the AWS CLI. */
async function iamToken(stage: Stage, login: string): Promise<string> {
  const { host, port } = targetOf(stage, login, "");
  const where = ["--region", stage.awsRegion, "--hostname", host, "--port", String(port), "--username", login];
  try {
    return (await promisify(execFile)("aws", ["rds", "generate-db-auth-token", ...where])).stdout.trim();
  } catch (error) {
    throw new Refusal(String((error as { stderr?: string }).stderr || error).trim(), "Nothing is done.");
  }
}

/** An error of Postgres in its own words, or who is away. */
function asRefusal(error: unknown): Refusal {
  const { code, severity, message, hint } = error as { [key: string]: string | undefined };
  const isAway = isConnectionLost(error) || severity === undefined || severity === "FATAL";
  const lines =
    code === "28P01"
      ? ["The password is wrong, or nobody has set one."]
      : isAway
        ? [
            "Postgres is away, or does not let you in: the line above says why. Is your VPN down?",
            "If not, call the platform engineer.",
          ]
        : [];
  const said = severity ? `${severity}: ${message}` : errorFields(error).reason;
  return Object.assign(new Refusal(said, ...(hint ? [hint] : []), ...lines), { code });
}
