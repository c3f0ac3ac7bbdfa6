import { once } from "node:events";
import net from "node:net";
import postgres from "postgres";
import { orAbort, withAnyOf } from "./deadline.ts";

/** Where Postgres is, and how to log in. `tls: "unverified"` encrypts without looking at the certificate. */
export interface DatabaseTarget {
  host: string;
  port: number;
  database: string;
  username: string;
  password: string;
  tls: "verified" | "unverified" | "off";
}

/** Says where to connect to; asked with `fresh = true` when the password it gave has been refused. */
export type FindDatabase = (fresh: boolean) => Promise<DatabaseTarget>;

/** One connection. When it is gone it stays gone: connect again for a new one. */
export interface Database {
  sql: postgres.Sql;
  /** Aborts at the moment the connection is gone, and with it every lock that was held through it. */
  lost: AbortSignal;
  /** Ends the connection now. Queries without an answer are rejected. */
  close(): Promise<void>;
}

/** Connections that are free, for whoever comes next. */
export interface Connections {
  /**
   * Lends one that is free and fresh, or a new one, which logs in with the first query; takes it back when `work` is over.
   * Settles as `work` does, which is called once more when the log-in fails because the password was rotated.
   */
  use<T>(work: (database: Database) => Promise<T>): Promise<T>;
  /** Closes the free ones. */
  close(): Promise<void>;
}

/** Longer than any statement may take; shorter than the idle limit of a NAT or proxy on the way. */
const freshMs = 10_000;

/**
 * Connections under one name. A free one that was last used over 10 s ago is replaced: it may have died unnoticed while its
 * Lambda was frozen. A Lambda has one at a time; a long-lived process as many as it works on requests at once.
 */
export function keepConnections(findDatabase: FindDatabase, name: string): Connections {
  let free: { database: Database; usedAtMs: number }[] = [];
  const close = async (some: typeof free) => {
    free = free.filter((entry) => !some.includes(entry));
    await Promise.allSettled(some.map(({ database }) => database.close()));
  };
  return {
    async use(work) {
      const attempt = async (fresh: boolean) => {
        const target = await findDatabase(fresh);
        void close(free.filter(({ database, usedAtMs }) => database.lost.aborted || Date.now() - usedAtMs > freshMs));
        const database = free.pop()?.database ?? open(target, name);
        try {
          return await work(database);
        } finally {
          free.push({ database, usedAtMs: Date.now() });
        }
      };
      return attempt(false).catch((error) => {
        if (codeOf(error) !== "28P01") throw error;
        return attempt(true);
      });
    },
    close: () => close(free),
  };
}

/** A connection that is dialled with its first query. */
function open(target: DatabaseTarget, name: string): Database {
  const { tls, ...login } = target;
  const lost = new AbortController();
  let socket: net.Socket | undefined;
  let closing: Promise<void> | undefined;

  // postgres.js redials for ever, without a pause, when a server hangs up during start-up. So it may dial once.
  const dialOnce = async () => {
    if (socket) throw closedError("Postgres hung up during start-up");
    socket = net.connect({ host: target.host, port: target.port, noDelay: true });
    await once(socket, "connect");
    return Object.assign(socket, { host: target.host, port: target.port }); // Where postgres.js' errors take them from.
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
    ssl: tls !== "off" && {
      rejectUnauthorized: tls === "verified",
      host: target.host,
      ...(net.isIP(target.host) ? {} : { servername: target.host }),
    },
    max: 1,
    prepare: false, // Poolers in transaction mode lose prepared statements.
    fetch_types: false, // A query of its own after every log-in, for array types that nobody uses here.
    connect_timeout: 3,
    max_lifetime: null, // It would end a connection by its age, also while the lock on it is needed for a push.
    connection: { application_name: name },
    onnotice: () => {},
    // postgres.js may never answer a query when the socket ends with an error.
    onclose: () => lost.abort(closedError("the connection to Postgres was lost")),
    socket: dialOnce,
  } as postgres.Options<Record<string, never>>); // The option `socket` is missing in the package's types.

  return { sql, lost: lost.signal, close };
}

/**
 * Settles as `work` does, or rejects when `deadline` aborts or the connection is lost. Ends the connection when it is late,
 * since nothing may have to wait behind it, and when it has failed: postgres.js would let whatever still waits for its turn
 * wait for ever. `hasFailed` tells that from the error.
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
    if (deadline.aborted || hasFailed(error) || isFatal(error)) await database.close();
    throw error;
  }
}

/**
 * Whether another connection may do better, for what has to write: this one is lost, or its server can only be read
 * (SQLSTATE 25006 and 0A000), since after a failover the primary is elsewhere.
 */
export function isConnectionError(error: unknown): boolean {
  return isConnectionLost(error) || /^(25006|0A000)$/.test(codeOf(error));
}

/**
 * Whether it was the connection that failed, and not the statement. Looks at the code: Node's, postgres.js', or SQLSTATE
 * class 08 and 57P01 to 57P05 (the server ends the session).
 */
export function isConnectionLost(error: unknown): boolean {
  return /^(E[A-Z_]+|CONNECT\w+|08...|57P0.)$/.test(codeOf(error));
}

/** Whether Postgres has ended the session, or refused to begin it. */
function isFatal(error: unknown): boolean {
  return (error as { severity?: unknown }).severity === "FATAL";
}

export function codeOf(error: unknown): string {
  return String((error as { code?: unknown }).code);
}

/** With the code that postgres.js gives to a connection that has ended. */
function closedError(message: string): Error {
  return Object.assign(new Error(message), { code: "CONNECTION_CLOSED" });
}
