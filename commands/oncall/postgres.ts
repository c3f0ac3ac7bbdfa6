// Postgres, for people on call: short transactions, each on the stage of the file, and read-only unless it says so.
import { execFile } from "node:child_process";
import { readFileSync, statSync } from "node:fs";
import { homedir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import type postgres from "postgres";
import { deadlineFor, withAnyOf } from "../../lib/deadline.ts";
import { errorFields } from "../../lib/log.ts";
import { type Database, isConnectionLost, open, withDeadline } from "../../lib/postgres/database.ts";
import { AnsweredByReplica, ownAnswer } from "../../lib/postgres/own-answer.ts";
import { beginOnCall } from "../../lib/postgres/transaction.ts";
import type { Secrets } from "./command.ts";
import { isUnverified, trustAdvice } from "./network.ts";
import { passwordIn, type Stage, targetOf } from "./stage.ts";
import { tableOf } from "./table.ts";
import { Refusal, type Terminal } from "./terminal.ts";

export type Sql = postgres.TransactionSql;
/** A question whose answer is a table. */
export type Query = postgres.PendingQuery<postgres.Row[]>;

export interface Ledger {
  /** Runs `work` as people on call, read-only, once the primary has answered and is the stage's. */
  read<T>(work: (sql: Sql) => Promise<T>): Promise<T>;
  /** The same, for what they may write: which rows are accepted. */
  write<T>(work: (sql: Sql) => Promise<T>): Promise<T>;
  /** Runs `work` as the login that counts events, for which it asks; it may change ledger_metrics alone. */
  correct<T>(work: (sql: Sql) => Promise<T>): Promise<T>;
  /** Runs `work` as another login, whose password it asks for: of the same database or, by a URL, of another. */
  asLogin<T>(login: string, work: (sql: Sql) => Promise<T>): Promise<T>;
  /** Prints an answer as a table, without these columns, or none below a title. Resolves to how many rows it has. */
  show(query: Query, title?: string, without?: string[]): Promise<number>;
  /** Ends all sessions, and with them what they have begun. */
  close(): Promise<void>;
}

export const onCallLogin = "veza_ledger_oncall";
/** For a command's statements together; each has a time-out of its own. */
const timeoutMs = 60_000;
/** How often a person may try a password. */
const tries = 3;

/** For each statement of people on call, who can wait, as a function cannot. */
const timeouts = { statement_timeout: "10s", lock_timeout: "2s", idle_in_transaction_session_timeout: "60s" };
/** It may hold the publishers' lock: not for long, whatever becomes of this laptop. */
const correcting = { statement_timeout: "15s", lock_timeout: "15s", idle_in_transaction_session_timeout: "15s" };

interface Transaction {
  mode: "read only" | "read write";
  /** SQL: what its first message begins with. */
  begin: string;
  /** SQL: its first question. */
  question: string;
}

/** Its sessions end at once where `signal` aborts, and so do their questions, from PostgreSQL 14 on. */
export function ledgerOf(stage: Stage, terminal: Terminal, secrets: Secrets, signal: AbortSignal): Ledger {
  const settings = (more: Record<string, string>) => beginOnCall(stage, more);
  const question = "select stage from ledger_metrics.stage";
  const reading: Transaction = { mode: "read only", begin: settings(timeouts), question };
  const sessions: Database[] = [];
  const session = (login: string, password: string): Database => {
    const database = open(targetOf(stage, login, password), "veza-ledger-oncall");
    sessions.push(database);
    return database;
  };
  let own: Database | undefined;
  const run = async <T>(database: Database, { mode, begin, question }: Transaction, work: (sql: Sql) => Promise<T>) => {
    try {
      return (await withAnyOf([signal, deadlineFor("Postgres", timeoutMs)], (ended) =>
        withDeadline(database, ended, (sql) =>
          sql.begin(`isolation level read committed ${mode}`, async (sql) => {
            const [row] = await ownAnswer(sql, begin, question);
            if (row?.stage !== undefined) refuseOther(stage.name, row.stage);
            return work(sql);
          }),
        ),
      )) as T;
    } catch (error) {
      throw error instanceof Refusal ? error : asRefusal(error, stage);
    }
  };

  /** Logs in with a password that `ask` has, and asks again for one that is wrong. */
  const logIn = async <T>(ask: (isAgain: boolean) => Promise<string>, use: (password: string) => Promise<T>) => {
    for (let tried = 1; ; tried += 1) {
      try {
        return await use(await ask(tried > 1));
      } catch (error) {
        if ((error as { code?: unknown }).code !== "28P01" || !terminal.isInteractive || tried === tries) throw error;
        terminal.say(wrongPassword);
      }
    }
  };
  const asOnCall = <T>(transaction: Transaction, work: (sql: Sql) => Promise<T>) =>
    logIn(
      async (isAgain) => {
        if (isAgain) delete secrets.ledger;
        secrets.ledger ??= isAgain ? await askPassword(stage, terminal) : await passwordOf(stage, terminal);
        return secrets.ledger;
      },
      (password) => {
        if (!own || own.lost.aborted) own = session(onCallLogin, password);
        return run(own, transaction, work);
      },
    );

  return {
    read: (work) => asOnCall(reading, work),
    write: (work) => asOnCall({ ...reading, mode: "read write" }, work),
    asLogin: (login, work) =>
      logIn(
        () => terminal.secret("Its password"),
        (password) =>
          run(session(login, password), { mode: "read write", begin: settings(timeouts), question: "select" }, work),
      ),
    correct(work) {
      const login = stage.awsRegion ? "veza_ledger_receiver" : "veza_ledger";
      const emptyFor = stage.awsRegion ? ", empty to log in with IAM" : "";
      const begin = `set local role veza_ledger_receiver;\n${settings(correcting)}`;
      return logIn(
        async () => {
          const typed = await terminal.secret(`Password of ${login}${emptyFor}`);
          return typed || (stage.awsRegion ? await iamToken(stage, login) : "");
        },
        (password) => run(session(login, password), { mode: "read write", begin, question }, work),
      );
    },
    async show(query, title, without = []) {
      const rows = await query.raw();
      if (title) terminal.print(terminal.strong(title));
      const isShown = (_: unknown, place: number) => !without.includes(rows.columns[place]?.name ?? "");
      const texts = rows.map((row) => row.filter(isShown).map((value) => (value === null ? null : String(value))));
      if (rows.length > 0) terminal.printAsIs(...tableOf(rows.columns.filter(isShown), texts, terminal.columns));
      else if (title) terminal.print("  none");
      return rows.length;
    },
    async close() {
      await Promise.all(sessions.map((each) => each.close()));
    },
  };
}

/** Refuses a database of another stage: its first receiver has written which it is. */
function refuseOther(stage: string, found: string): void {
  if (found === stage) return;
  throw new Refusal(
    `Nothing is done: this file is of the stage '${stage}', and its database is of the stage '${found}'.`,
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
    const found =
      isOwn && passwordIn(readFileSync(file, "utf8"), targetOf({ ...stage, sslRootCert: "" }, onCallLogin, ""));
    if (found) return found;
  } catch {} // There is none.
  return askPassword(stage, terminal);
}

const askPassword = (stage: Stage, terminal: Terminal) =>
  terminal.secret(`Password of ${onCallLogin}${stage.name && `, stage ${stage.name}`}`);

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

const wrongPassword = "The password is wrong, or nobody has set one.";

/** What an error of Postgres means to a person, with its SQLSTATE. */
function asRefusal(error: unknown, stage: Stage): Refusal {
  if (error instanceof AnsweredByReplica) {
    return new Refusal(
      "Nothing is known: a replica has answered, whose rows may be old. Call the platform engineer, to have the " +
        "primary named in this file.",
    );
  }
  const { code, severity, message, hint } = error as { [key: string]: string | undefined };
  const isAway = isConnectionLost(error) || severity === undefined || severity === "FATAL";
  const said = severity ? `${severity}: ${message}` : errorFields(error).reason;
  const lines = [...(hint ? [hint] : [])];
  if (code === "28P01") lines.push(wrongPassword);
  else if (isUnverified(error) && stage.sslRootCert) {
    lines.push(`${stage.sslRootCert} does not have the authority of its certificate. Call the platform engineer.`);
  } else if (isUnverified(error)) lines.push(...trustAdvice);
  else if (isAway) {
    lines.push(
      "Postgres is away, or does not let you in: the line above says why. Is your VPN down?",
      "If not, call the platform engineer.",
    );
  }
  return Object.assign(new Refusal(said, ...lines), { code });
}
