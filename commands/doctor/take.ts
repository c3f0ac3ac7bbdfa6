// How a look is taken: with a limit, and an error of it is its finding.

import { orAbort, withAnyOf } from "../../lib/deadline.ts";
import { type Database, isConnectionLost } from "../../lib/postgres/database.ts";
import { type Finding, findingOf, Problem } from "./finding.ts";
import type { About, LookName, Take } from "./looks.ts";

/** Hears what a look has found. */
export type Say = (name: LookName, finding: Finding, about: About) => void;

/** The connection that looks share, and the time that they have together. */
export interface Limit {
  database: Database;
  /** Aborts when `timeoutMs` have passed. */
  signal: AbortSignal;
  timeoutMs: number;
}

/**
 * Returns how to take looks, which says what each finds. With a `limit`, the look that exceeds it or loses the
 * connection is the last: all others resolve to false, and are not taken.
 */
export function takeAndSay(say: Say, limit?: Limit): Take {
  return async (name, find, about) => {
    if (limit?.signal.aborted || limit?.database.lost.aborted) return false;
    const finding = await (limit ? within(limit, find) : find()).catch(findingOf);
    if (finding) say(name, finding, about);
    return finding?.mark !== "✗";
  };
}

async function within<T>({ database, signal, timeoutMs }: Limit, work: () => Promise<T>): Promise<T> {
  try {
    return await withAnyOf([signal, database.lost], (any) => orAbort(work(), any));
  } catch (error) {
    if (signal.aborted) {
      throw new Problem(
        `Postgres has not answered within ${timeoutMs / 1000} s`,
        "look for locks and for load there, and whether the network drops idle connections",
        "run it again",
      );
    }
    if (!isConnectionLost(error)) throw error;
    await database.close();
    throw new Error("the connection to Postgres was lost");
  }
}
