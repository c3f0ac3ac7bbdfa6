// A look, and how looks are taken one after the other.

import { orAbort, withAnyOf } from "../../lib/deadline.ts";
import { type Database, isConnectionLost } from "../../lib/postgres/database.ts";
import { type Finding, findingOf, Problem } from "./finding.ts";
import type { Functions } from "./scene.ts";

/** One question of the doctor. looks.ts declares them all. */
export interface Look<Scene> {
  /** Begins the line that is printed, and is what --known names. */
  name: string;
  /** Looks that have to pass first, as far as they are taken. Otherwise this look is skipped. */
  needs?: readonly Look<never>[];
  /** The function that this look is for; without it, both. */
  for?: keyof Functions;
  /** Resolves to what was found, or to undefined where there is nothing to look at. */
  find(scene: Scene): Promise<Finding | undefined>;
}

/** The connection that looks share, and the time that they have together. */
export interface Limit {
  database: Database;
  /** Aborts when `timeoutMs` have passed. */
  signal: AbortSignal;
  timeoutMs: number;
}

/**
 * Takes the looks in their order. Yields each with its finding; a skipped look yields nothing. Never throws: an error
 * is a finding. With a `limit`, the look that exceeds it or loses the connection is the last.
 */
export async function* takeLooks<Scene extends { functions: Functions }, Taken extends Look<Scene>>(
  looks: readonly Taken[],
  scene: Scene,
  limit?: Limit,
): AsyncGenerator<{ look: Taken; finding: Finding }> {
  const notPassed = new Set<Look<never>>(looks);
  for (const look of looks) {
    if (limit?.signal.aborted || limit?.database.lost.aborted) return;
    if (look.for && !scene.functions[look.for]) continue;
    if (look.needs?.some((other) => notPassed.has(other))) continue;
    const work = limit ? within(limit, () => look.find(scene)) : look.find(scene);
    const finding = await work.catch(findingOf);
    if (finding?.mark !== "✗") notPassed.delete(look);
    if (finding) yield { look, finding };
  }
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
