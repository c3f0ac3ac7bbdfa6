import { codeOf, type DatabaseTarget } from "./database.ts";
import { log } from "./log.ts";
import { retryOnce } from "./retry.ts";

/** Finds where to connect; called with `fresh = true` after Postgres has refused the password. */
export type FindDatabase = (fresh: boolean) => Promise<DatabaseTarget>;

/** Whether the password was refused: SQLSTATE 28P01, and PgBouncer's own 08P01, which has other meanings, too. */
export const isPasswordRefused = (error: unknown): boolean =>
  codeOf(error) === "28P01" || (codeOf(error) === "08P01" && /authentication failed/.test((error as Error).message));

/**
 * Returns how to log in, with a memory of the last good password: a rotation may change the secret before Postgres.
 * Settles as `attempt` does. When Postgres refuses the password, makes one more attempt, with the password that
 * `findDatabase` gives now. Where that is the same, or cannot be read, it takes the last password that logged in.
 */
export function rememberLogin() {
  let good: (Pick<DatabaseTarget, "username" | "password"> & { atMs: number }) | undefined;
  return async <T>(findDatabase: FindDatabase, attempt: (target: DatabaseTarget) => Promise<T>): Promise<T> => {
    let target = await findDatabase(false);
    let isFromMemory = false;
    const logIn = async () => {
      const result = await attempt(target);
      if (!isFromMemory) good = { username: target.username, password: target.password, atMs: Date.now() };
      return result;
    };
    const findAnother = async (error: unknown) => {
      if (!isPasswordRefused(error)) return false;
      const refused = target;
      const hasOther = Boolean(good && good.password !== refused.password);
      target = await findDatabase(true).catch((unread) => {
        if (hasOther) return refused;
        throw unread;
      });
      isFromMemory = hasOther && target.password === refused.password;
      if (good && isFromMemory) {
        const { atMs, ...login } = good;
        target = { ...target, ...login };
        const age_seconds = Math.round((Date.now() - atMs) / 1000);
        log("warn", "Postgres refuses the password in the secret, the last good one stays in use", { age_seconds });
      }
      return true;
    };
    return await retryOnce(logIn, findAnother);
  };
}
