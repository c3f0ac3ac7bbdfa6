import type { Row } from "postgres";
import { type Check, checks, type Outcome } from "../lib/checks.ts";
import { type Database, isConnectionLost } from "../lib/database.ts";
import { orAbort, withAnyOf } from "../lib/deadline.ts";
import { errorFields } from "../lib/log.ts";
import type { Ask } from "../lib/question.ts";
import type { Settings } from "../lib/settings.ts";

// A look finds out one thing about the ledger, a session or the gateway. looks.ts lists them all.

/** ✓ is well, ! is a doubt that only the reader can settle, ✗ is wrong. */
export interface Finding {
  mark: "✓" | "!" | "✗";
  fact: string;
  remedy?: string;
}
export const well = (fact: string): Finding => ({ mark: "✓", fact });
export const doubt = (fact: string, remedy: string): Finding => ({ mark: "!", fact, remedy });
export const wrong = (fact: string, remedy: string): Finding => ({ mark: "✗", fact, remedy });

/** What is wrong, and how to fix it, where a function has something else to return. */
export class Problem extends Error {
  readonly remedy: string;
  constructor(message: string, remedy: string) {
    super(message);
    this.remedy = remedy;
  }
}

/** Resolves as `work` does, and turns any error of it into a Problem with this remedy. */
export async function orRemedy<T>(work: PromiseLike<T>, remedy: string): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw error instanceof Problem ? error : new Problem(errorFields(error).reason, remedy);
  }
}

/** Prints a line. */
export type Print = (line: string) => void;

/** For all looks on Postgres together. */
export const postgresTimeoutMs = 20_000;

/** What is looked at. Each look finds here what the looks before it have found out. */
export interface Scene {
  functions: { sampler: boolean; receiver: boolean };
  /** Statuses for which nobody waits. */
  settled: string[];
  settings: Settings;
  /** The functions' own session, as they open it. */
  database: Database;
  /** Who has logged in there. */
  login: string;
  /** Asks about the ledger, briefly. */
  ask: Ask;
  /** Asks what the sampler asks, which may take its time. */
  count: Ask;
  /** What the checks have found. */
  outcomes: Outcome[];
  /** Whether Postgres' clock is right enough to tell the future by. */
  isClockRight: boolean;
  /** Aborts when Postgres has had all the time that it gets. */
  limit: AbortSignal;
}

export interface Look {
  name: string;
  /** Names of looks. It is skipped when one of them, where it is taken at all, was skipped or found something wrong. */
  behind?: string[];
  /** Whose; without it, everybody's. */
  for?: "sampler" | "receiver";
  /** It shares Postgres' time with the others, and ends with the connection. */
  on?: "Postgres";
  /** It needs no role of roles.sql, so that the first look takes it too. */
  isFirst?: true;
  /** Resolves to undefined where there is nothing to look at. */
  look(scene: Scene): Promise<Finding | undefined>;
}

/**
 * Takes the looks one after the other. Yields what each has found; a skipped look yields nothing. A look on Postgres
 * that is late, or that loses the connection, is the last on Postgres.
 */
export async function* takeLooks(looks: Look[], scene: Scene): AsyncGenerator<[Look, Finding]> {
  const notPassed = new Set(looks.map(({ name }) => name));
  for (const each of looks) {
    const isOnPostgres = each.on === "Postgres";
    if (each.for && !scene.functions[each.for]) continue;
    if (each.behind?.some((name) => notPassed.has(name))) continue;
    if (isOnPostgres && (scene.limit.aborted || scene.database?.lost.aborted)) continue;
    const finding = await (isOnPostgres ? lookOnPostgres(each, scene) : each.look(scene)).catch(findingOf);
    if (finding?.mark !== "✗") notPassed.delete(each.name);
    if (finding) yield [each, finding];
  }
}

async function lookOnPostgres({ look }: Look, scene: Scene): Promise<Finding | undefined> {
  const { limit, database } = scene;
  try {
    return await withAnyOf(database ? [limit, database.lost] : [limit], (signal) => orAbort(look(scene), signal));
  } catch (error) {
    if (limit.aborted) {
      return wrong(
        `Postgres has not answered within ${postgresTimeoutMs / 1000} s`,
        "look for locks and for load there, and whether the network drops idle connections; then run it again",
      );
    }
    if (!database || !isConnectionLost(error)) throw error;
    await database.close();
    throw new Error("the connection to Postgres was lost");
  }
}

/** What an error says of a look that it ended. */
export function findingOf(error: unknown): Finding & { remedy: string } {
  const { remedy = "run it again" } = error as Partial<Problem>;
  return { mark: "✗", fact: errorFields(error).reason, remedy };
}

/** Settings of a question: it writes nothing, waits for little, and numbers arrive to the last digit. */
export const carefully = { transaction_read_only: "on", extra_float_digits: "1" };
export const briefly = { ...carefully, statement_timeout: "1500ms", lock_timeout: "500ms" };

export const view = "let the role read a view instead: docs/what-counts.md";
export const correct = `correct these rows and what writes them, or ${view}`;

/**
 * Tells how to set one of the settings by which the ledger is read, for all roles of roles.sql at once. In this
 * database alone: a role's settings hold in every database of the server. A login of somebody's own has its own.
 */
export function setTo({ login, database }: Row, setting: string): string {
  const reader = login.replace(/^veza_ledger(_sampler)?(_clone)?$/, "veza_ledger_sampler");
  const isHandedOn = reader !== login || login === "veza_ledger_sampler";
  const alter = `as a login that may create roles: alter role ${reader} in database ${database} set ${setting}`;
  return isHandedOn ? `${alter}; then npm run migrate` : alter;
}
/** SQL: the login and database that setTo() needs. */
export const here = "quote_ident(session_user) as login, quote_ident(current_database()) as database";

/** The tables of the checks, the checks of a table, and their times. */
export const tables = [...new Set(checks.map(({ table }) => table))];
export const checksOf = (table: string): Check[] => checks.filter((check) => check.table === table);
export const timesOf = (table: string): string[] => [...new Set(checksOf(table).map(({ time }) => time))];

/** The planner's estimate of rows. */
export const rowsIn = (plan: Row | undefined): number => plan?.["QUERY PLAN"][0].Plan["Plan Rows"];

/** A duration in words, in its largest whole unit. */
export function ago(seconds: number): string {
  if (seconds >= 2 * 86_400) return `${Math.floor(seconds / 86_400).toLocaleString("en")} days`;
  if (seconds >= 2 * 3_600) return `${Math.floor(seconds / 3_600)} h`;
  if (seconds >= 120) return `${Math.floor(seconds / 60)} min`;
  return `${Math.round(seconds)} s`;
}
