import { log } from "../log.ts";
import type { DatabaseTarget, FindDatabase } from "../settings/settings.ts";
import { codeOf } from "./database.ts";

/** Whether the password was refused: SQLSTATE 28P01, and PgBouncer's own 08P01, which has other meanings, too. */
export const isPasswordRefused = (error: unknown): boolean =>
  codeOf(error) === "28P01" || (codeOf(error) === "08P01" && /authentication failed/.test((error as Error).message));

/**
 * Returns how to log in, with a memory of the last good password: a rotation may change the secret first, and the
 * password in Postgres later. Settles as `attempt` on `first` does. When Postgres refuses the password, makes one more
 * attempt, with the password that `findDatabase` gives now. Where that is the same, or cannot be read, it takes the
 * last login that succeeded.
 */
export function rememberLogin() {
  /** What Postgres took last, of what the settings said then. */
  let good: (Pick<DatabaseTarget, "username" | "password"> & { atMs: number }) | undefined;
  return async <T>(
    first: DatabaseTarget,
    findDatabase: FindDatabase,
    attempt: (target: DatabaseTarget) => Promise<T>,
  ): Promise<T> => {
    const logIn = async (target: DatabaseTarget) => {
      const result = await attempt(target);
      good = { username: target.username, password: target.password, atMs: performance.now() };
      return result;
    };
    try {
      return await logIn(first);
    } catch (error) {
      if (!isPasswordRefused(error)) throw error;
    }
    const earlier = good?.password === first.password ? undefined : good; // Postgres now refuses that password.
    const latest = await findDatabase(true).catch((unread) => {
      if (earlier) return first;
      throw unread;
    });
    const isChanged = latest.password !== first.password;
    if (isChanged || !earlier) return await logIn(latest);
    const { username, password, atMs } = earlier;
    const age_seconds = Math.round((performance.now() - atMs) / 1000);
    log("warn", "Postgres refuses the password in the secret, the last good one stays in use", { age_seconds });
    return await attempt({ ...latest, username, password });
  };
}
