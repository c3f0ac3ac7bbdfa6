import type { Row } from "postgres";
import { type Database, isConnectionLost, withDeadline } from "./database.ts";

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
