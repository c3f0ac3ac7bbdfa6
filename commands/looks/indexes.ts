import { type Check, checks, questionOf } from "../../lib/checks.ts";
import type { DatabaseTarget } from "../../lib/database.ts";
import type { Ask } from "../../lib/question.ts";
import { doubt, type Finding, rowsIn, type Scene, well, wrong } from "../look.ts";
import { below, ownerName } from "../sql.ts";

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
    // On a small table the planner would read all of it, whatever index there is.
    const explain = `set local enable_seqscan = off; explain (format json) ${questionOf(check, { withOldest: true })}`;
    const plan = JSON.stringify(await ask(explain).catch(() => [])); // Its check says why.
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

/**
 * What makes an index for a check, on the table of its name. Behind a view, a table of another name and a computed
 * column need one of their own. indexes.sql skips an index by its name, also an invalid one.
 */
async function remedyForIndex(ask: Ask, { id, table }: Check, target: DatabaseTarget): Promise<string> {
  const [row] = await ask(`
    with recursive ${below(`select to_regclass('${table}')::oid`)}
    select ${ownerName("relowner")} as owner, indisvalid as has_index,
      format('drop index %s.%I', relnamespace::regnamespace, 'veza_ledger_${id}') as drop
    from below join pg_class using (oid)
      left join pg_index on indrelid = pg_class.oid and indexrelid::regclass::text ~ '\\mveza_ledger_${id}$'
    where relname = '${table}' and relkind in ('r', 'p', 'm') and not relispartition limit 1`);
  if (!row || row.has_index) return "an index on what the view computes, on the table behind it: docs/what-counts.md";
  const { port, database } = target;
  const host = target.host.includes(":") ? `[${target.host}]` : target.host;
  const psql = `psql "postgres://${encodeURIComponent(row.owner)}@${host}:${port}/${encodeURIComponent(database)}"`;
  return `${psql}${row.has_index === false ? ` -c '${row.drop}'` : ""} -f config/postgres/indexes.sql`;
}
