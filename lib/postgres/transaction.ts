import {
  idleInTransactionTimeoutMs,
  readLockTimeoutMs,
  readTimeoutMs,
  writeLockTimeoutMs,
  writeTimeoutMs,
} from "../limits.ts";
import type { Ledger } from "../settings/ledger.ts";

// What each message to Postgres begins with: the settings that it needs, for its own transaction. Nothing is kept on
// the session, which a pooler in transaction mode hands to the next client. Nothing that a count depends on is kept in
// the database either, so that a clone of a login counts the same. roles.sql gives two logins one setting, from
// PostgreSQL 14 on: idle_session_timeout, which no transaction can set. A clone lacks it, and its counts are the same.
//
// A message of several statements is one transaction. A time-out that it sets holds from its next statement on. The
// statement that sets it is itself under the time-out of the role or the database. Measured on a loaded machine: only
// a time-out of under 10 ms cancels a message before its own time-out holds.

/**
 * SQL: a call that switches the transaction_timeout of a database or role off, on PostgreSQL 17 and later. It would end
 * the session, and with it the other counts of a tick, or a publish that waits for the gateway. Each statement, each
 * wait for a lock and each silence has a limit of its own.
 */
const withoutTransactionTimeout =
  "case when pg_catalog.current_setting('transaction_timeout', true) is not null " +
  "then pg_catalog.set_config('transaction_timeout', '0', true) end";

/** SQL: sets these, and has these calls, until the transaction ends. The search_path does not hold yet. */
function setLocal(settings: Record<string, string>, more: string[] = []): string {
  const literal = (value: string) => `'${value.replaceAll("'", "''")}'`;
  const calls = Object.entries(settings).map(
    ([name, value]) => `pg_catalog.set_config('${name}', ${literal(value)}, true)`,
  );
  return `select ${[...calls, withoutTransactionTimeout, ...more].join(", ")};\n`;
}

/**
 * Postgres' own names, and last what anybody may make for a session. So no name leads to the application, whose
 * functions and operators may fit better than Postgres' own: its tables are written with their schema.
 */
export const searchPath = "pg_catalog, pg_temp";

/** SQL: begins a message that reads this ledger. `more` settings win. */
export const beginReading = ({ timeZone }: Ledger, more: Record<string, string> = {}): string =>
  "set transaction isolation level read committed, read only;\n" +
  setLocal({
    search_path: searchPath,
    TimeZone: timeZone,
    row_security: "off", // Hidden rows are an error instead of fewer rows, also behind a view.
    jit: "off", // To compile, as most servers do from a planned cost of 100,000 on, costs 100 to 300 ms of CPU.
    work_mem: "64MB", // Beyond it, accepted ids would not be hashed, but compared with each row.
    statement_timeout: `${readTimeoutMs}ms`,
    lock_timeout: `${readLockTimeoutMs}ms`,
    ...more,
  });

/**
 * SQL: ends such a message. A function behind a view may have opened a cursor `with hold`: the commit would run it to
 * its end, without a time-out and with all locks. (A `rollback` here is a warning in the server's log each time.)
 */
export const endReading = "close all";

/**
 * SQL: a call that has a statement end within half a second after its client has gone, by Ctrl-C or with a laptop, on
 * PostgreSQL 14 and later.
 */
const endsWithItsClient =
  "case when pg_catalog.current_setting('client_connection_check_interval', true) is not null " +
  "then pg_catalog.set_config('client_connection_check_interval', '500ms', true) end";

/** SQL: begins, in a transaction that is open, what people on call ask of this ledger or change. */
export const beginOnCall = ({ timeZone }: Pick<Ledger, "timeZone">, timeouts: Record<string, string>): string =>
  setLocal({ search_path: searchPath, TimeZone: timeZone, row_security: "off", ...timeouts }, [endsWithItsClient]);

const writing = {
  search_path: searchPath,
  synchronous_commit: "on", // An answer means: on the disk.
  statement_timeout: `${writeTimeoutMs}ms`,
  lock_timeout: `${writeLockTimeoutMs}ms`,
};

/** SQL: begins a message that writes to ledger_metrics, and that commits at its end. */
export const beginWriting: string = `set transaction isolation level read committed, read write;\n${setLocal(writing)}`;

/** SQL: takes the publishers' lock, on an empty table, which only publishers may update, and so lock. */
export const lockPublisher = "lock table ledger_metrics.publisher in exclusive mode";

/** SQL: begins a transaction on ledger_metrics for several messages. Postgres ends it when it is silent. */
export const beginPublishing: string =
  "begin isolation level read committed, read write;\n" +
  setLocal({ ...writing, idle_in_transaction_session_timeout: `${idleInTransactionTimeoutMs}ms` });
