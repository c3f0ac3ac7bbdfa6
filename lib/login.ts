import { log } from "./log.ts";

/** Where Postgres is, and how to log in. `tls: "unverified"` encrypts without looking at the certificate. */
export interface DatabaseTarget {
  host: string;
  port: number;
  database: string;
  username: string;
  /** `undefined`: each connection logs in with an IAM token of its own. */
  password: string | undefined;
  tls: "verified" | "unverified" | "off";
}

/** Finds where to connect; called with `fresh = true` after Postgres has refused the password. */
export type FindDatabase = (fresh: boolean) => Promise<DatabaseTarget>;

/** Connects and works; calls `loggedIn` once the login is known to work. */
type Attempt<T> = (target: DatabaseTarget, loggedIn: () => void) => Promise<T>;

/**
 * Returns how to log in, with a memory of the last good password: a rotation may change the secret before Postgres.
 *
 * Settles as `attempt` does. When Postgres refuses the password (28P01), makes one more attempt: with the password that
 * `findDatabase` gives now or, when that is the same, with the last password that logged in.
 */
export function rememberLogin(findDatabase: FindDatabase): <T>(attempt: Attempt<T>) => Promise<T> {
  let good: (Pick<DatabaseTarget, "username" | "password"> & { atMs: number }) | undefined;
  return async (attempt) => {
    const attemptWith = (target: DatabaseTarget) =>
      attempt(target, () => {
        good = { username: target.username, password: target.password, atMs: Date.now() };
      });
    const refused = await findDatabase(false);
    try {
      return await attemptWith(refused);
    } catch (error) {
      if ((error as { code?: unknown }).code !== "28P01") throw error;
      const fresh = await findDatabase(true);
      if (!good || good.password === refused.password || fresh.password !== refused.password) {
        return await attemptWith(fresh);
      }
      const { atMs, ...login } = good;
      const age_seconds = Math.round((Date.now() - atMs) / 1000);
      log("warn", "Postgres refuses the password in the secret, the last good one stays in use", { age_seconds });
      return await attempt({ ...fresh, ...login }, () => {});
    }
  };
}
