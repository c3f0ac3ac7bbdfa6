import type { Row } from "postgres";
import { type Database, isConnectionLost, withDeadline } from "./database.ts";
import { type Series, series } from "./exposition.ts";
import { errorFields, log } from "./log.ts";

/** Asks the ledger one question, and resolves to its rows. Rejects as `withDeadline` does. */
export type Ask = (question: string) => Promise<Row[]>;

/**
 * Returns how to ask on this connection until `deadline`. Each question has its settings in the same simple-query
 * message, which is one transaction. A pooler in transaction mode hands a session's settings to the next client, so
 * none of them may stay on the session.
 *
 * Row-level security is off in each: it is an error instead of fewer rows, also behind a view, whatever the login's own
 * setting is.
 */
export function askOn(database: Database, deadline: AbortSignal, settings: Record<string, string> = {}): Ask {
  const all = Object.entries({ row_security: "off", ...settings });
  const set = all.map(([name, value]) => `set_config('${name}', '${value.replaceAll("'", "''")}', true)`).join(", ");
  return async (question) => {
    const work = (session: Database["sql"]) => session.unsafe<Row[][]>(`select ${set};\n${question}`);
    return (await withDeadline(database, deadline, work, isConnectionLost)).at(-1) ?? [];
  };
}

/** SQL: `values` of one series, with its name, labels and value. */
export const sqlSeries = (name: string, labels: object, value: string) =>
  `('${name}', '${JSON.stringify(labels)}'::jsonb, ${value}::numeric)`;

/** Asks a question that may fail: resolves to no row then, with a warning in the log. */
export async function read(ask: Ask, question: string): Promise<Row[]> {
  try {
    return await ask(question);
  } catch (error) {
    if (!isConnectionLost(error)) log("warn", "evidence not read", errorFields(error));
    return [];
  }
}

/** Asks for rows of name, labels and value, pipelined. Never rejects: what cannot be measured is absent. */
export async function measure(ask: Ask, questions: string[]): Promise<Series[]> {
  const rows = (await Promise.all(questions.map((question) => read(ask, question)))).flat();
  const known = rows.filter(({ value }) => value !== null);
  return known.map(({ name, labels, value }) => series(name, labels, Number(value)));
}
