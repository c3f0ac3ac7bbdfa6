import { below } from "../../lib/blindness.ts";
import { type Check, checks, questionOf, stateOf } from "../../lib/checks.ts";
import type { DatabaseTarget } from "../../lib/database.ts";
import type { Ask } from "../../lib/question.ts";
import { doubt, type Finding, rowsIn, type Scene, well, wrong } from "../look.ts";
import { ownerName } from "../rights.ts";

/** A table of fewer rows is read in milliseconds, index or not. */
const smallTableRows = 100_000;

/**
 * Whether an index serves each check that can be asked. It is a doubt while the tables are small.
 */
export async function lookAtIndexes({ ask, settings }: Scene): Promise<Finding> {
  const unserved: Check[] = [];
  let isSmall = true;
  const remedies = new Set<string>();
  for (const check of checks) {
    const planOf = (withOldest: boolean) =>
      // On a small table the planner would read all of it, whatever index there is.
      ask(`set local enable_seqscan = off; explain (format json) ${questionOf(check, { withOldest })}`);
    const plan = JSON.stringify(
      await planOf(true)
        .catch(() => planOf(false))
        .catch(() => ""),
    ); // Its check says why.
    // Through an index that does not know the status come rows of every status, which a filter sorts out.
    if (!/Seq Scan|"Filter":"[^"]*\bstatus\b/.test(plan)) continue;
    unserved.push(check);
    remedies.add(await remedyForIndex(ask, check, settings.database));
    const [size] = await ask(`explain (format json) select from ${check.table}`);
    isSmall &&= rowsIn(size) < smallTableRows;
  }
  if (unserved.length === 0) return well("one serves each check");
  const ids = unserved.map(({ id }) => id).join(", ");
  const found = isSmall ? doubt : wrong;
  return found(`none serves ${ids}: the whole table is read every minute`, [...remedies].join("; "));
}

/** What makes an index for a check. indexes.sql skips an index by its name, also an invalid one. */
async function remedyForIndex(ask: Ask, check: Check, target: DatabaseTarget): Promise<string> {
  const { id, table, time } = check;
  const [row] = await ask(`
    with recursive ${below(`select to_regclass('${table}')::oid`)},
    root as (
      select pg_class.*, format('%I.%I', nspname, relname) as name from below join pg_class using (oid)
        join pg_namespace on pg_namespace.oid = relnamespace where relkind in ('r', 'p', 'm') and not relispartition
    )
    select name, relname = '${table}' as is_named, ${ownerName("relowner")} as owner,
      exists (select from pg_attribute
        where attrelid = root.oid and attname = '${time}' and not attisdropped) as has_time,
      (select count(*) from root) as roots, (select relkind from pg_class where oid = to_regclass('${table}')) as kind,
      (select format('drop index %I.%I', nspname, relname) from pg_index join pg_class on pg_class.oid = indexrelid
        join pg_namespace on pg_namespace.oid = relnamespace
        where indrelid = root.oid and relname = 'veza_ledger_${id}' and not indisvalid) as drop,
      exists (select from pg_index join pg_class on oid = indexrelid
        where indrelid = root.oid and relname = 'veza_ledger_${id}' and indisvalid) as has_index
    from root limit 1`);
  if (row && Number(row.roots) === 1 && !(row.kind === "v" && row.has_index)) {
    const { host, port, database } = target;
    const psql = `psql "postgres://${encodeURIComponent(row.owner)}@${host}:${port}/${encodeURIComponent(database)}"`;
    if (row.is_named && row.has_time) {
      return `${psql}${row.drop ? ` -c '${row.drop}'` : ""} -f config/postgres/indexes.sql`;
    }
    const column = row.has_time ? time : "status";
    const [fits] = await ask(`explain select from ${row.name} where ${stateOf(check)}`).catch(() => []);
    if (fits) return `as ${row.owner}: create index concurrently on ${row.name} (${column}) where ${stateOf(check)}`;
  }
  return "an index on what the view computes, on the table behind it: docs/what-counts.md";
}
