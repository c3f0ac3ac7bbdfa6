import { once } from "node:events";
import net from "node:net";
import postgres from "postgres";
import { orAbort, withAnyOf } from "./deadline.ts";
import { dialTimeoutMs } from "./limits.ts";

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

/** One connection. Once lost, it stays lost. */
export interface Database {
  sql: postgres.Sql;
  /** Aborts at the moment when the connection is lost, and its locks with it. */
  lost: AbortSignal;
  /** When it was last given back, unless it is new. */
  usedAtMs?: number;
  /** Ends the connection now. Queries without an answer are rejected. */
  close(): Promise<void>;
}

/**
 * Returns a connection, which is dialled with its first query; `name` shows in pg_stat_activity.
 *
 * With `isStrict`, a warning from Postgres ends the connection, and nothing under way is confirmed. A commit whose
 * wait for a synchronous standby was cancelled gives no other sign.
 */
export function open(target: DatabaseTarget, name: string, isStrict: boolean): Database {
  const { tls, ...login } = target;
  const lost = new AbortController();
  let isLoggedIn = false;
  let socket: net.Socket | undefined;
  let closing: Promise<void> | undefined;

  // postgres.js redials for ever, without a pause, when a server hangs up during start-up. So it may dial once.
  const dialOnce = async () => {
    if (socket) throw closedError("Postgres hung up during start-up");
    socket = net.connect({ host: target.host, port: target.port, noDelay: true });
    await once(socket, "connect");
    return Object.assign(socket, { host: target.host, port: target.port }); // For SNI and postgres.js' errors.
  };

  const close = () => {
    closing ??= sql.end({ timeout: 0 }).then(() => {
      if (socket?.connecting) socket.destroy();
      else socket?.destroySoon();
      lost.abort(closedError("the connection to Postgres was closed"));
    });
    return closing;
  };

  const sql = postgres({
    ...login,
    ssl: tls !== "off" && { rejectUnauthorized: tls === "verified", host: target.host },
    max: 1,
    prepare: false, // Poolers in transaction mode lose prepared statements; PgBouncer keeps them since 1.21.
    fetch_types: false, // Would cost a query after every log-in, for array types.
    connect_timeout: dialTimeoutMs / 1000,
    max_lifetime: null, // Would end a connection by its age, also in the middle of a push.
    connection: { application_name: name },
    onparameter: () => {
      isLoggedIn = true; // Parameters end the log-in. A warning before that is about no commit.
    },
    onnotice: ({ severity, message }) => {
      if (isStrict && isLoggedIn && severity === "WARNING") lost.abort(closedError(`Postgres warned: ${message}`));
    },
    // postgres.js may never answer a query when the socket ends with an error.
    onclose: () => lost.abort(closedError("the connection to Postgres was lost")),
    socket: dialOnce,
  } as postgres.Options<Record<string, never>>); // The option `socket` is missing in the package's types.

  return { sql, lost: lost.signal, close };
}

/**
 * Settles as `work` does, or rejects when `deadline` aborts or the connection is lost. Ends a late connection, so that
 * nothing waits behind it. Ends a connection that has failed, by `hasFailed` of the error, since postgres.js may never
 * settle its other queries.
 */
export async function withDeadline<T>(
  database: Database,
  deadline: AbortSignal,
  work: (sql: postgres.Sql) => PromiseLike<T>,
  hasFailed = isConnectionError,
): Promise<T> {
  try {
    return await withAnyOf([deadline, database.lost], (signal) => orAbort(work(database.sql), signal));
  } catch (error) {
    const isFatal = (error as { severity?: unknown }).severity === "FATAL"; // It ended or refused the session.
    if (deadline.aborted || hasFailed(error) || isFatal) await database.close();
    throw error;
  }
}

/**
 * Whether a write may succeed on another connection: this connection is lost, or its server is read-only (SQLSTATE
 * 25006 and 0A000), as after a failover.
 */
export const isConnectionError = (error: unknown): boolean =>
  isConnectionLost(error) || /^(25006|0A000)$/.test(codeOf(error));

/**
 * Whether the connection failed, and not the statement, by the code: Node's, postgres.js', or SQLSTATE class 08 and
 * 57P01 to 57P05 (the server ends the session).
 */
export const isConnectionLost = (error: unknown): boolean => /^(E[A-Z_]+|CONNECT\w+|08...|57P0.)$/.test(codeOf(error));

export const codeOf = (error: unknown): string => String((error as { code?: unknown }).code);

/** With the code that postgres.js gives to a connection that has ended. */
const closedError = (message: string) => Object.assign(new Error(message), { code: "CONNECTION_CLOSED" });
