import type { Row } from "postgres";
import { codeOf } from "../../lib/database.ts";
import type { Ask } from "../../lib/question.ts";
import { checksOf, doubt, type Finding, Problem, type Scene, view, well } from "../look.ts";
import { ownerName } from "../rights.ts";

/** Words for rows that nobody waits for. */
const settledWords = new Set(
  (
    "paid completed complete succeeded success settled captured processed fulfilled shipped delivered closed " +
    "archived failed declined rejected cancelled canceled voided abandoned refunded partially_refunded " +
    "reversed disputed"
  ).split(" "),
);

/**
 * Looks at every status that rows of a table have: exactly where the table can be read in time, else as Postgres'
 * statistics know them. A status that no check watches, and that is not known to be settled, is a doubt: since a
 * release, stuck rows may have it.
 */
export async function lookAtStatuses({ ask, settled }: Scene, table: string): Promise<Finding> {
  const rows = await statusesOf(ask, table).catch(({ message, remedy }: Problem) => doubt(message, remedy));
  if ("mark" in rows) return rows;
  const watched = checksOf(table).map(({ status }) => status);
  const isKnown = (status: string | null) =>
    status !== null && (watched.includes(status) || settledWords.has(status) || settled.includes(status));
  const unknown = rows.filter(({ status }) => !isKnown(status) && !settled.includes(String(status)));
  if (unknown.length === 0) return well(namesOf(rows) || "no row, so no status");
  return doubt(
    `neither watched nor known to be settled: ${namesOf(unknown, "'")}`,
    `if nobody waits for such rows: --settled '${unknown.map(({ status }) => String(status)).join(",")}'; ` +
      `if a release has renamed a status, ${view}`,
  );
}

/** The statuses of rows with their numbers, for people: `paid 690, pending 10`. */
export function namesOf(rows: Row[], quote = ""): string {
  const nameOf = (status: string | null) => (status === null ? "null" : quote + status + quote);
  return rows.map(({ status, rows }) => `${nameOf(status)} ${Math.round(rows).toLocaleString("en")}`).join(", ");
}

/** Every status of a table's rows, with their number. Throws a Problem where no rows and no statistics are readable. */
export async function statusesOf(ask: Ask, table: string): Promise<Row[]> {
  try {
    return await ask(`
      select status::text as status, count(*)::float8 as rows from ${table} group by 1 order by 2 desc limit 50`);
  } catch (error) {
    if (/^(42|22)/.test(codeOf(error))) throw new Problem("they cannot be read", "see its checks, below");
    return await estimatedStatuses(ask, table);
  }
}

/**
 * The statuses as of the last ANALYZE, with estimated rows. Throws a Problem when much has changed since. Autovacuum
 * analyzes partitions, and never the partitioned table.
 */
async function estimatedStatuses(ask: Ask, table: string): Promise<Row[]> {
  const [row] = await ask(`
    with recursive parts as (
      select to_regclass('${table}')::oid as part
      union
      select inhrelid from parts join pg_inherits on inhparent = part
    )
    select relkind = 'v' as is_view,
      -- Before PostgreSQL 14, a partitioned table has no estimate and no time of an ANALYZE of its own.
      (select coalesce(sum(greatest(leaf.reltuples, 0)), 0)::float8
        from parts join pg_class as leaf on leaf.oid = part where leaf.relkind <> 'p') as rows,
      ${ownerName("relowner")} as owner,
      (select format('%I.%I', nspname, relname) from pg_namespace where oid = relnamespace) as name,
      (select coalesce(sum(pg_stat_get_mod_since_analyze(part)), 0)::float8 from parts) as changes,
      exists (select from parts where pg_stat_get_last_autoanalyze_time(part)
        > coalesce(pg_stat_get_last_analyze_time(oid), pg_stat_get_last_analyze_time(part))) as is_behind,
      exists (select from pg_stats where tablename = relname and schemaname = relnamespace::regnamespace::text
        and attname = 'status' and most_common_vals is not null) as has_list
    from pg_class where oid = to_regclass('${table}')`);
  const read = row?.is_view ? `select status, count(*) from ${row.name} group by 1` : `analyze ${row?.name}`;
  const analyze = `as ${row?.owner}: ${read}`;
  if (!row?.has_list) throw new Problem("too many rows to read, and no statistics", analyze);
  if (row.changes > row.rows / 10) {
    throw new Problem(`the statistics are ${row.changes.toLocaleString("en")} changes old`, analyze);
  }
  if (row.is_behind) throw new Problem("the statistics are older than a partition's", analyze);
  return await ask(`
    select status, frequency * ${row.rows}::float8 as rows
    from pg_stats join pg_class on relname = tablename and relnamespace::regnamespace::text = schemaname,
      unnest(most_common_vals::text::text[], most_common_freqs) as known (status, frequency)
    where pg_class.oid = to_regclass('${table}') and attname = 'status'`);
}
