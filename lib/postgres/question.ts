import type { Row } from "postgres";
import { type Series, series } from "../gateway/exposition.ts";
import { errorFields, log } from "../log.ts";
import type { Ledger } from "../settings/ledger.ts";
import { type Database, isConnectionLost, withDeadline } from "./database.ts";
import { ownAnswer } from "./own-answer.ts";
import { beginReading, endReading } from "./transaction.ts";

/**
 * Asks one question, in which the tables of the ledger are written as `ledger.orders`. Resolves to its rows. Rejects as
 * `withDeadline` does.
 */
export type Ask = (question: string) => Promise<Row[]>;

/**
 * Returns how to ask on this connection until `deadline`. Each question has its settings in the same simple-query
 * message, which is one transaction.
 *
 * So no question is the only statement of its message. When a statement fails after some of its rows have come,
 * postgres.js 3.4.9 keeps their number: the next statement's array begins with as many empty places. Here that next
 * statement is one of the settings, whose end sets the number back to 0.
 */
export function askOn(database: Database, deadline: AbortSignal, settings: Record<string, string> = {}): Ask {
  const begin = beginReading(database.ledger, settings);
  return (question) => {
    const filled = `${inSchema(question, database.ledger)};\n${endReading}`;
    return withDeadline(database, deadline, (sql) => ownAnswer(sql, begin, filled), isConnectionLost);
  };
}

/** SQL in which the tables of the ledger are written as `ledger.orders`: with the ledger's schema in its place. */
export const inSchema = (sql: string, { schema }: Ledger): string =>
  sql.replaceAll(/\bledger\.(?=[\w'])/g, () => `"${schema.replaceAll('"', '""')}".`);

/** A series, if its value is neither null nor undefined, which mean unknown. */
export type Measured = [name: string, labels: Series["labels"], value: unknown];

/** What a tick asks besides its counts. */
export interface Evidence {
  /** What it is about, in the log: a check's id, or a name. */
  of: string;
  question: string;
  /** What a row of the answer says. */
  seriesIn(row: Row): Measured[];
}

/** Asks a question that may fail: resolves to undefined then, with a warning in the log. */
export async function read(ask: Ask, of: string, question: string): Promise<Row[] | undefined> {
  try {
    return await ask(question);
  } catch (error) {
    logUnread(of, error);
    return undefined;
  }
}

/** Warns that evidence was not read. The counts say that a connection was lost. */
export function logUnread(of: string, error: unknown): void {
  if (!isConnectionLost(error)) log("warn", "evidence not read", { of, ...errorFields(error) });
}

/** Asks for evidence, pipelined. Never rejects: what cannot be measured is absent, and what it is about is `unread`. */
export async function measure(ask: Ask, all: Evidence[]): Promise<{ evidence: Series[]; unread: string[] }> {
  const unread: string[] = [];
  const measured = async ({ of, question, seriesIn }: Evidence) => {
    const rows = await read(ask, of, question);
    if (!rows) {
      unread.push(of);
      return [];
    }
    return rows.flatMap(seriesIn);
  };
  const answers = await Promise.all(all.map(measured));
  const known = answers.flat().filter(([, , value]) => value !== null && value !== undefined);
  return { evidence: known.map(([name, labels, value]) => series(name, labels, Number(value))), unread };
}
