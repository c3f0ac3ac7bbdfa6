import type { Row } from "postgres";
import type { CheckId } from "../../lib/checks.ts";
import { type Database, isConnectionLost } from "../../lib/database.ts";
import { orAbort, withAnyOf } from "../../lib/deadline.ts";
import type { Settings } from "../../lib/settings.ts";
import { type Finding, findingOf, Problem } from "../finding.ts";

/** A session on Postgres, as the functions open it. */
export interface Session {
  database: Database;
  /** Who has logged in there. */
  login: string;
  /** The server's version. */
  version: string;
  /** Asks in a read-only transaction that waits 0.5 s for a lock. It has so many seconds, or the sampler's 1.5. */
  ask(question: string, seconds?: number): Promise<Row[]>;
}

/** What looks are told before they look. */
export interface Scene {
  functions: { sampler: boolean; receiver: boolean };
  /** Statuses for which nobody waits. */
  settled: string[];
  settings: Settings;
}

/** A look finds out one thing about the ledger, a session or the gateway. looks.ts lists them all. */
export interface Look<On = Scene & Session> {
  name: string;
  /** Names of looks that have to pass first, if they are taken at all. Otherwise this look is skipped. */
  behind?: string[];
  /** The function that this look is for; without it, both. */
  for?: "sampler" | "receiver";
  /** It needs no role of this service, so that the first look takes it too. */
  isFirst?: true;
  /** The table that it looks at, and the check. */
  table?: string;
  check?: CheckId;
  /** Resolves to undefined where there is nothing to look at. */
  look(scene: On): Promise<Finding | undefined>;
}

/** The limit of all looks on Postgres together. */
export const postgresTimeoutMs = 20_000;

/**
 * Takes the looks one after the other. Yields each with what it has found; a skipped look yields nothing. On Postgres, the look
 * that is late by `limit`, or that loses the connection, is the last.
 */
export async function* takeLooks<On extends Pick<Scene, "functions">>(
  looks: Look<On>[],
  scene: On & { database?: Database },
  limit?: AbortSignal,
): AsyncGenerator<[Look<On>, Finding]> {
  const notPassed = new Set(looks.map(({ name }) => name));
  const { database } = scene;
  for (const taken of looks) {
    const { name, behind = [], for: whose, look } = taken;
    if (limit?.aborted || database?.lost.aborted) return;
    if ((whose && !scene.functions[whose]) || behind.some((other) => notPassed.has(other))) continue;
    const work = database && limit ? inTime(database, limit, () => look(scene)) : look(scene);
    const finding = await work.catch(findingOf);
    if (finding?.mark !== "✗") notPassed.delete(name);
    if (finding) yield [taken, finding];
  }
}

async function inTime<T>(database: Database, limit: AbortSignal, work: () => Promise<T>): Promise<T> {
  try {
    return await withAnyOf([limit, database.lost], (signal) => orAbort(work(), signal));
  } catch (error) {
    if (limit.aborted) {
      throw new Problem(
        `Postgres has not answered within ${postgresTimeoutMs / 1000} s`,
        "look for locks and for load there, and whether the network drops idle connections",
        "run it again",
      );
    }
    if (!isConnectionLost(error)) throw error;
    await database.close();
    throw new Error("the connection to Postgres was lost");
  }
}
