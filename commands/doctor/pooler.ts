// Whether a pooler is between here and Postgres, and which.
import type { Row, RowList, Sql } from "postgres";
import { type Database, open, withDeadline } from "../../lib/postgres/database.ts";
import { ownAnswer } from "../../lib/postgres/own-answer.ts";
import type { DatabaseTarget } from "../../lib/settings/settings.ts";

/**
 * Resolves to words for the pooler that a session goes through, or to undefined without one. A pooler gives its clients
 * process ids of its own. PgBouncer tells its version to a login that its `stats_users` names.
 */
export async function poolerOf(
  database: Database,
  target: DatabaseTarget,
  limit: AbortSignal,
): Promise<string | undefined> {
  const asked = (sql: Sql) => ownAnswer(sql, "", "select pg_catalog.pg_backend_pid() as pid");
  const rows = (await withDeadline(database, limit, asked)) as RowList<Row[]>;
  if (rows[0]?.pid === rows.state.pid) return undefined;
  const ofPooler = open({ ...target, database: "pgbouncer" }, "veza-ledger-doctor");
  const shown = await withDeadline(ofPooler, limit, (sql) => sql.unsafe("show version")).catch(() => []);
  await ofPooler.close();
  return shown[0]?.version ?? "a pooler";
}
