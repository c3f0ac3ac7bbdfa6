import pLimit from "p-limit";
import { connectionFreshMs, maxConnections } from "../limits.ts";
import type { DatabaseTarget, FindDatabase } from "../settings/settings.ts";
import { type Database, open } from "./database.ts";
import { iamToken } from "./iam-token.ts";
import { rememberLogin } from "./last-good-login.ts";

/** A connection, and where it leads. */
type Kept = Database & { place: string };

/** How an invocation connects. */
export interface Connections {
  /**
   * Lends a free, fresh connection to the database that the settings name now, else a new one, which logs in with
   * its first query. Waits while five are lent; who has waited longest is next. Settles as `work` does. When Postgres
   * refuses the password, calls `work` once more on another login: see last-good-login.ts.
   */
  use<T>(work: (database: Database) => Promise<T>): Promise<T>;
  /** Closes the connections that are not lent. Needs no deadline: it waits for no answer of Postgres. */
  closeFree(): Promise<void>;
}

/**
 * Makes a pool; `name` shows in pg_stat_activity. Returns how an invocation uses it. A connection that was last used
 * over 10 s ago is replaced: it may have died unnoticed while Lambda had frozen the process. A Lambda uses one at a
 * time.
 */
export function keepConnections(name: string): (find: FindDatabase) => Connections {
  let free: Kept[] = [];
  const inTurn = pLimit(maxConnections);
  const logIn = rememberLogin();
  const close = async (some: Database[]) => {
    free = free.filter((database) => !some.includes(database));
    await Promise.allSettled(some.map((database) => database.close()));
  };
  const takeFresh = (place: string): Kept | undefined => {
    const isStale = (database: Kept) =>
      database.lost.aborted ||
      database.place !== place ||
      performance.now() - (database.usedAtMs ?? 0) > connectionFreshMs;
    void close(free.filter(isStale)); // They are not free from here on; nobody waits for their end.
    return free.pop();
  };
  const openNew = async (target: DatabaseTarget): Promise<Kept> => {
    const password = target.password ?? (await iamToken(target));
    return Object.assign(open({ ...target, password }, name), { place: placeOf(target) });
  };
  const lend = async <T>(database: Kept, work: (database: Database) => Promise<T>) => {
    try {
      return await work(database);
    } finally {
      database.usedAtMs = performance.now();
      free.push(database);
      if (database.lost.aborted) void close(free); // What has ended it may have ended the others.
    }
  };
  return (find) => ({
    use: (work) =>
      inTurn(async () => {
        const target = await find(false);
        const kept = takeFresh(placeOf(target));
        if (kept) return await lend(kept, work);
        return await logIn(target, find, async (login) => lend(await openNew(login), work));
      }),
    closeFree: () => close(free),
  });
}

/** Where a connection leads, and as whom, in a text. The password is not in it: a new one ends no session. */
const placeOf = ({ password, ...place }: DatabaseTarget): string => JSON.stringify(place);
