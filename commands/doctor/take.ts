// How looks are taken: with a limit, and an error of a look is its finding.

import { orAbort, withAnyOf } from "../../lib/deadline.ts";
import { type Database, isConnectionLost } from "../../lib/postgres/database.ts";
import { type Finding, findingOf, Problem } from "./finding.ts";
import type { Look } from "./looks.ts";
import type { Functions } from "./scene.ts";

/** Hears what a look has found. */
export type Say = (name: string, finding: Finding, about?: Look<never>["about"]) => void;

/** The connection that looks share, and the time that they have together. */
export interface Limit {
  database: Database;
  /** Aborts when `timeoutMs` have passed. */
  signal: AbortSignal;
  timeoutMs: number;
}

/**
 * Takes these looks, one after the other, and says what each finds. With a `limit`, the look that exceeds it or loses
 * the connection is the last. Never throws.
 */
export async function takeAll<Scene extends { functions: Functions }>(
  looks: readonly Look<Scene>[],
  scene: Scene,
  say: Say,
  limit?: Limit,
): Promise<void> {
  const failed = new Set<string>(); // Or left out, since another has failed.
  for (const { name, needs = [], ofSampler, about, find } of looks) {
    if (limit?.signal.aborted || limit?.database.lost.aborted) return;
    if (ofSampler && !scene.functions.sampler) continue;
    if (needs.some((other) => failed.has(other))) {
      failed.add(name);
      continue;
    }
    const finding = await (limit ? within(limit, () => find(scene)) : find(scene)).catch(findingOf);
    if (finding) say(name, finding, about);
    if (finding?.mark === "✗") failed.add(name);
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
