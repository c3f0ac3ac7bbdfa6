import net from "node:net";
import postgres from "postgres";
import { orAbort } from "./deadline.ts";

/** Where Postgres is, and how to log in. `tls: "unverified"` encrypts without looking at the certificate. */
export interface DatabaseTarget {
  host: string;
  port: number;
  database: string;
  username: string;
  password: string;
  tls: "verified" | "unverified" | "off";
}

/** One connection. When it is gone it stays gone: connect again for a new one. */
export interface Database {
  sql: postgres.Sql;
  /** Aborts at the moment the connection is gone, and with it every lock that was held through it. */
  lost: AbortSignal;
  /** Ends the connection now. Queries without an answer are rejected. */
  close(): Promise<void>;
}

/**
 * Opens one connection and logs in.
 *
 * `target(fresh)` says where to; when Postgres refuses the password (SQLSTATE 28P01) it is asked once more with
 * `fresh = true`, so that a rotated password costs nothing but that second attempt.
 *
 * Rejects when `deadline` aborts, when the connection or the log-in is refused, and when the server hangs up.
 */
export async function connect(
  target: (fresh: boolean) => Promise<DatabaseTarget>,
  options: ConnectionOptions,
  deadline: AbortSignal,
): Promise<Database> {
  try {
    return await logIn(await target(false), options, deadline);
  } catch (error) {
    if (!(error instanceof postgres.PostgresError && error.code === "28P01")) throw error;
    return await logIn(await target(true), options, deadline);
  }
}

export interface ConnectionOptions {
  /** How the connection shows in pg_stat_activity. */
  applicationName: string;
  /** Without it, the connection stays open until it is closed. */
  idleTimeoutSeconds?: number;
}

/**
 * Keeps one connection for use by later calls: each call yields the one that is open, or connects. Callers at the same
 * time share it.
 */
export function keepConnection(
  target: (fresh: boolean) => Promise<DatabaseTarget>,
  options: ConnectionOptions,
): (deadline: AbortSignal) => Promise<Database> {
  let kept: Promise<Database> | undefined;
  return (deadline) => {
    if (kept) return kept;
    const connecting = connect(target, options, deadline);
    const forget = () => {
      if (kept === connecting) kept = undefined;
    };
    connecting.then(({ lost }) => lost.addEventListener("abort", forget), forget);
    kept = connecting;
    return connecting;
  };
}

async function logIn(target: DatabaseTarget, options: ConnectionOptions, deadline: AbortSignal): Promise<Database> {
  const lost = new AbortController();
  let socket: net.Socket | undefined;
  let closing: Promise<void> | undefined;

  // postgres.js dials again for ever, without a pause, when a server hangs up during start-up. So it may dial once.
  const dialOnce = async () => {
    if (socket) throw new Error("Postgres hung up during start-up");
    socket = net.connect({ host: target.host, port: target.port, noDelay: true });
    const dialling = socket;
    await new Promise<void>((resolve, reject) => {
      dialling.once("connect", resolve);
      dialling.once("error", reject);
      dialling.once("close", () => reject(new Error("the connection to Postgres was closed")));
    });
    // postgres.js takes the name to verify in the certificate from here.
    return Object.assign(dialling, { host: target.host });
  };

  const close = () => {
    closing ??= sql.end({ timeout: 0 }).then(() => {
      socket?.destroySoon();
      lost.abort(new Error("the connection to Postgres was closed"));
    });
    return closing;
  };

  const sql = postgres({
    host: target.host,
    port: target.port,
    database: target.database,
    username: target.username,
    password: target.password,
    ssl: tlsOptions(target),
    max: 1,
    prepare: false, // Poolers in transaction mode lose prepared statements.
    fetch_types: false, // A query of its own after every log-in, for array types that nobody uses here.
    connect_timeout: 3,
    ...(options.idleTimeoutSeconds && { idle_timeout: options.idleTimeoutSeconds }),
    connection: { application_name: options.applicationName },
    onnotice: () => {},
    onclose: () => {
      lost.abort(new Error("the connection to Postgres was lost"));
      void close(); // Rejects what still waits for its turn; postgres.js would let it wait for ever.
    },
    socket: dialOnce,
  } as postgres.Options<Record<string, never>>); // The option `socket` is missing in the package's types.

  try {
    // postgres.js pipelines on an open connection only; its first query makes a round trip of its own in any case.
    await orAbort(sql.unsafe("select 1"), deadline);
    return { sql, lost: lost.signal, close };
  } catch (error) {
    await close();
    socket?.destroy();
    throw error;
  }
}

/**
 * Settles as `work` does, or rejects when `deadline` aborts. Ends the connection when it is late, since nothing may have
 * to wait behind it, and when it has failed, which may be known here before the socket says so.
 */
export async function within<T>(
  database: Database,
  deadline: AbortSignal,
  work: (sql: postgres.Sql) => PromiseLike<T>,
): Promise<T> {
  try {
    return await orAbort(work(database.sql), deadline);
  } catch (error) {
    if (deadline.aborted || isConnectionError(error)) await database.close();
    throw error;
  }
}

/**
 * Runs `work` in a transaction and commits, or rolls back when it rejects. Rejects at once when the connection is lost,
 * or when `deadline` aborts, as `within` does; what `work` started elsewhere is the caller's to stop.
 */
export function transaction<T>(
  database: Database,
  deadline: AbortSignal,
  work: (sql: postgres.TransactionSql) => Promise<T>,
): Promise<T> {
  const guarded = async (sql: postgres.TransactionSql) => {
    try {
      return await work(sql);
    } finally {
      // postgres.js (3.4.9) would send COMMIT or ROLLBACK now, into a socket that is no more, and that throws where
      // nobody can catch it: the process dies. begin() has rejected by itself already, so nobody waits for this.
      if (database.lost.aborted) await new Promise(() => {});
    }
  };
  return within(database, deadline, (sql) => sql.begin(guarded) as Promise<T>);
}

/**
 * Whether it was the connection that failed, and not the statement: another connection may do better. Looks at the code:
 * Node's, postgres.js', or SQLSTATE class 08 and 57P01 to 57P05 (the server ends the session).
 */
export function isConnectionError(error: unknown): boolean {
  return /^(E[A-Z]+|CONNECT\w+|08...|57P0.)$/.test(String((error as { code?: unknown }).code));
}

function tlsOptions({ tls, host }: DatabaseTarget): false | object {
  if (tls === "off") return false;
  return { rejectUnauthorized: tls === "verified", host, ...(net.isIP(host) ? {} : { servername: host }) };
}
