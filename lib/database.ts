import net from "node:net";
import postgres from "postgres";
import { deadline, orAbort, withAnyOf } from "./deadline.ts";

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

const keptConnectTimeoutMs = 5_000;
/** Longer than any statement may take; shorter than the idle limit of a NAT or proxy on the way. */
const keptIdleMs = 10_000;

/**
 * Opens one connection and logs in; `name` shows in pg_stat_activity. When Postgres refuses the password (SQLSTATE
 * 28P01), asks where to connect to once more and tries again, so that a rotated password costs nothing but that.
 *
 * Rejects when `deadline` aborts, when the connection or the log-in is refused, and when the server hangs up.
 */
export async function connect(findDatabase: FindDatabase, name: string, deadline: AbortSignal): Promise<Database> {
  try {
    return await logIn(await findDatabase(false), name, deadline);
  } catch (error) {
    if (codeOf(error) !== "28P01") throw error;
    return await logIn(await findDatabase(true), name, deadline);
  }
}

/**
 * Keeps one connection for later calls: each call yields the one that is open, or connects. Callers at the same time
 * share it. One that was not used for 10 s is replaced: it may have died unnoticed while its Lambda was frozen.
 */
export function keepConnection(
  findDatabase: FindDatabase,
  name: string,
): (callersDeadline: AbortSignal) => Promise<Database> {
  let kept: Promise<Database> | undefined;
  let usedAtMs = 0;
  return (callersDeadline) => {
    const idleMs = Date.now() - usedAtMs;
    usedAtMs = Date.now();
    if (kept && idleMs > keptIdleMs) {
      kept.then(({ close }) => close()).catch(() => {});
      kept = undefined;
    }
    if (!kept) {
      const connecting = connect(findDatabase, name, deadline("Postgres", keptConnectTimeoutMs));
      const forget = () => {
        if (kept === connecting) kept = undefined;
      };
      connecting.then(({ lost }) => lost.addEventListener("abort", forget), forget);
      kept = connecting;
    }
    return orAbort(kept, callersDeadline);
  };
}

/** A socket that tells when it is gone. Listens only once it ends: postgres.js removes all listeners when it starts TLS. */
class Dialling extends net.Socket {
  readonly #whenGone: () => void;
  constructor(whenGone: () => void) {
    super();
    this.#whenGone = whenGone;
  }
  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.prependOnceListener("close", this.#whenGone);
    super._destroy(error, callback);
  }
}

async function logIn(target: DatabaseTarget, name: string, deadline: AbortSignal): Promise<Database> {
  const { tls, ...login } = target;
  const lost = new AbortController();
  let socket: Dialling | undefined;
  let closing: Promise<void> | undefined;

  // postgres.js dials again for ever, without a pause, when a server hangs up during start-up. So it may dial once.
  const dialOnce = async () => {
    if (socket) throw closedError("Postgres hung up during start-up");
    // postgres.js may leave a query without an answer for good when the socket ends with an error.
    const dialling = new Dialling(() => lost.abort(closedError("the connection to Postgres was lost")));
    socket = dialling;
    dialling.setNoDelay(true).connect({ host: target.host, port: target.port });
    await new Promise<void>((resolve, reject) => {
      dialling.once("connect", resolve);
      dialling.once("error", reject);
      dialling.once("close", () => reject(lost.signal.reason));
    });
    return Object.assign(dialling, { host: target.host, port: target.port }); // Where postgres.js' errors take them from.
  };

  const close = () => {
    closing ??= sql.end({ timeout: 0 }).then(() => {
      socket?.destroySoon();
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
    if (deadline.aborted || hasFailed(error)) await database.close();
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

export function codeOf(error: unknown): string {
  return String((error as { code?: unknown }).code);
}

/** With the code that postgres.js gives to a connection that has ended. */
function closedError(message: string): Error {
  return Object.assign(new Error(message), { code: "CONNECTION_CLOSED" });
}
