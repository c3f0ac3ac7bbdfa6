// The look "status of …": which statuses of a table nobody watches.
import type { Row } from "postgres";
import { checks } from "../../lib/counts/checks.ts";
import { codeOf } from "../../lib/postgres/database.ts";
import { shellWord } from "../quote.ts";
import { doubt, type Finding, well } from "./finding.ts";
import type { LedgerScene } from "./scene.ts";
import { readAView } from "./shared-steps.ts";

/** Words for rows that nobody waits for. */
const settledWords = new Set(
  (
    "paid completed complete succeeded success settled captured processed fulfilled shipped delivered closed " +
    "archived failed declined rejected cancelled canceled voided abandoned refunded partially_refunded " +
    "reversed disputed"
  ).split(" "),
);

/** A release brings new statuses, which older statistics do not know. */
const statisticsSeconds = 3_600;

/**
 * Looks at every status that rows of a table have: exactly where the table can be read in time, else as Postgres'
 * statistics know them. A status that no check watches, and that is not known to be settled, is a doubt: since a
 * release, stuck rows may have it.
 */
export async function lookAtStatus(
  { ask, settled }: Pick<LedgerScene, "ask" | "settled">,
  table: string,
): Promise<Finding> {
  const question = `select status::text as status, count(*)::float8 as rows from ledger.${table} group by 1`;
  let rows: Row[];
  try {
    rows = await ask(`${question} order by 2 desc limit 50`);
  } catch (error) {
    if (/^(42|22)/.test(codeOf(error))) return doubt("they cannot be read", "every status", "see its checks, below");
    rows = await ask(estimates(table));
    if (!(rows[0]?.age <= statisticsSeconds)) {
      const fact = "too many rows to read, and no statistics of the last hour";
      return doubt(fact, "every status", `analyze ${table}, or read them yourself: ${question}`);
    }
  }
  const watched = [...new Set(checks.filter((check) => check.table === table).map(({ status }) => status))];
  const isKnown = (status: string | null) =>
    status !== null && (watched.includes(status) || settledWords.has(status) || settled.includes(status));
  const unknown = rows.filter(({ status }) => !isKnown(status) && !settled.includes(String(status)));
  if (unknown.length === 0) return well(namesOf(rows) || "no row, so no status");
  return doubt(
    `neither watched nor known to be settled: ${namesOf(unknown, "'")}`,
    watched.map((status) => `'${status}'`).join(", "),
    `if nobody waits for such rows: --settled=${shellWord(unknown.map(({ status }) => String(status)).join(","))}`,
    `if a release has renamed a status, ${readAView}`,
  );
}

/** The statuses of rows with their numbers, for people: `paid 690, pending 10`. */
function namesOf(rows: Row[], quote = ""): string {
  const nameOf = (status: string | null) => (status === null ? "null" : quote + status + quote);
  return rows.map(({ status, rows }) => `${nameOf(status)} ${Math.round(rows).toLocaleString("en")}`).join(", ");
}

/** SQL: the statuses as of the last ANALYZE, with estimated rows, and its age in seconds. */
const estimates = (table: string) => `
  select status, frequency * greatest(reltuples, 0)::float8 as rows,
    extract(epoch from now() - greatest(pg_stat_get_last_analyze_time(pg_class.oid),
      pg_stat_get_last_autoanalyze_time(pg_class.oid)))::float8 as age
  from pg_stats join pg_class on relname = tablename and relnamespace::regnamespace::text = schemaname,
    unnest(most_common_vals::text::text[], most_common_freqs) as known (status, frequency)
  where pg_class.oid = to_regclass('ledger.${table}') and attname = 'status'`;
