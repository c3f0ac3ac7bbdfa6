import { once } from "node:events";
import net from "node:net";
import { connect as secure } from "node:tls";
import postgres from "postgres";
import { orAbort, withAnyOf } from "../deadline.ts";
import { dialTimeoutMs } from "../limits.ts";
import type { Ledger } from "../settings/ledger.ts";
import type { DatabaseTarget } from "../settings/settings.ts";

/** Where to connect. With `certificates`, in PEM, those authorities alone are trusted. */
export type Target = DatabaseTarget & { certificates?: string };

/** One connection. Once lost, it stays lost. */
export interface Database {
  sql: postgres.Sql;
  /** Where its questions look. */
  ledger: Ledger;
  /** Aborts at the moment when the connection is lost, and its locks with it. */
  lost: AbortSignal;
  /** When it was last given back, on the monotonic clock, unless it is new. */
  usedAtMs?: number;
  /**
   * Ends the connection now: waits for no answer of Postgres. Queries without an answer are rejected, with `reason` if
   * there is one.
   */
  close(reason?: Error): Promise<void>;
}

/**
 * Returns a connection, which is dialled with its first query; `name` shows in pg_stat_activity.
 *
 * It is lost when Postgres warns that a commit's wait for a synchronous standby was cancelled: there is no other sign
 * that the commit may be lost. Other warnings say nothing of that: near wraparound, each commit gives one.
 */
export function open(target: Target, name: string): Database {
  const { tls, ledger, certificates: ca, ...login } = target;
  const lost = new AbortController();
  let socket: net.Socket | undefined;

  // postgres.js redials for ever, without a pause, when a server hangs up during start-up. So it may dial once. Nor may
  // it speak TLS itself: a close of the socket below its own ends the process with an error that nobody can catch.
  const dialOnce = async () => {
    if (socket) throw hungUp();
    socket = net.connect({ host: target.host, port: target.port, noDelay: true });
    await waitFor("connect", socket);
    if (tls !== "off") {
      socket.write(Buffer.from([0, 0, 0, 8, 4, 210, 22, 47])); // SSLRequest of Postgres' protocol.
      // Exactly one byte, "S": what came behind it would not be encrypted, and anybody on the way could have put it
      // there, as an answer of Postgres (as in CVE-2021-23222).
      const answer = await waitFor("data", socket);
      if (String(answer) !== "S") throw Object.assign(new Error("Postgres takes no TLS"), { code: "ERR_SSL_REFUSED" });
      const servername = net.isIP(target.host) ? "" : target.host; // SNI names no address.
      socket = secure({
        socket,
        host: target.host,
        servername,
        rejectUnauthorized: tls === "verified",
        ...(ca && { ca }),
      });
      await waitFor("secureConnect", socket);
    }
    return Object.assign(socket, { host: target.host, port: target.port }); // For postgres.js' errors.
  };

  const close = async (reason?: Error) => {
    if (reason) lost.abort(reason);
    await sql.end({ timeout: 0 }); // Writes that the session ends.
    socket?.destroy(); // postgres.js waits for a server that is mute.
    lost.abort(closedError("the connection to Postgres was closed"));
  };

  const sql = postgres({
    ...login,
    ssl: false,
    max: 1,
    prepare: false, // Poolers in transaction mode lose prepared statements; PgBouncer keeps them since 1.21.
    fetch_types: false, // Would cost a query after every log-in, for array types.
    connect_timeout: dialTimeoutMs / 1000,
    max_lifetime: null, // Would end a connection by its age, also in the middle of a push.
    connection: { application_name: name },
    onnotice: ({ routine, message }) => {
      if (routine === "SyncRepWaitForLSN") lost.abort(closedError(`Postgres warned: ${message}`));
    },
    // postgres.js may never answer a query when the socket ends with an error, and does not close what it never had.
    onclose: () => lost.abort(closedError("the connection to Postgres was lost")),
    socket: () =>
      dialOnce().catch((error) => {
        lost.abort(error);
        throw error;
      }),
  } as postgres.Options<Record<string, never>>); // The option `socket` is missing in the package's types.

  return { sql, ledger, lost: lost.signal, close };
}

/**
 * Resolves to what comes with an event of the start-up. Ends a socket that hangs up instead, or is mute for 3 s. Then
 * it switches this time-out off: a socket in use is silent for as long as a statement takes.
 */
async function waitFor(event: string, socket: net.Socket): Promise<unknown> {
  const hangUp = () => socket.destroy(hungUp());
  const giveUp = () => socket.destroy(closedError(`Postgres: no answer within ${dialTimeoutMs} ms`));
  socket.once("end", hangUp).setTimeout(dialTimeoutMs, giveUp);
  const [data] = await once(socket, event);
  socket.off("end", hangUp).setTimeout(0, giveUp);
  return data;
}

/**
 * Settles as `work` does, or rejects when `deadline` aborts or the connection is lost. Ends a late connection, so that
 * nothing waits behind it. Ends a connection that has failed, as `hasFailed` tells from the error: postgres.js may
 * never settle its other queries.
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

const hungUp = () => closedError("Postgres hung up during start-up");

/** With the code that postgres.js gives to a connection that has ended. */
export const closedError = (message: string) => Object.assign(new Error(message), { code: "CONNECTION_CLOSED" });
