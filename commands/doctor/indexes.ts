import type { Row } from "postgres";
import { indexed } from "../../config/checks.ts";
import { type Check, checks, questionOf } from "../../lib/checks.ts";
import type { Ask } from "../../lib/question.ts";
import { type Finding, type Step, well, wrong } from "../finding.ts";
import { sqlName, sqlText } from "../quote.ts";
import { ownerName } from "../sql.ts";
import type { Session } from "./look.ts";

/** The planner's cost of about 100,000 rows without an index, which are read in milliseconds. */
const smallCost = 2_500;

type Table = [schema: string, name: string];

/** Whether an index spares each check that can be asked from reading a whole large table, by the planner's estimate. */
export async function lookAtIndexes({ ask }: Session): Promise<Finding> {
  const unserved: Check[] = [];
  const remedies: Step[] = [];
  for (const check of checks) {
    const tables = await readWhole(ask, check);
    if (tables.length === 0) continue;
    unserved.push(check);
    remedies.push(...(await remedyFor(ask, check, tables)));
  }
  if (unserved.length === 0) return well("no check reads the whole of a large table");
  const ids = unserved.map(({ id }) => id).join(", ");
  return wrong(`none serves ${ids}: the whole table is read every minute`, "an index with its condition", ...remedies);
}

/**
 * The tables that a check's question reads as a whole, where these are large together. None where the question
 * fails: its own look says why.
 */
async function readWhole(ask: Ask, check: Check): Promise<Table[]> {
  const explain = "set local max_parallel_workers_per_gather = 0; explain (format json, verbose)";
  const [row] = await ask(`${explain} ${questionOf(check, { withOldest: true })}`).catch(() => []);
  const tables: Table[] = [];
  let cost = 0;
  JSON.stringify(row, (_, node) => {
    if (node?.["Node Type"] === "Seq Scan") {
      cost += node["Total Cost"];
      tables.push([node.Schema, node["Relation Name"]]);
    }
    return node;
  });
  return cost > smallCost ? tables : [];
}

/** The index of indexes.sql, where the check reads a table itself. What is below a view, or inherits, has its own. */
async function remedyFor(ask: Ask, check: Check, tables: Table[]): Promise<Step[]> {
  const index = `veza_ledger_${check.id}`;
  const rows = await ask(`
    select distinct root.oid, root.oid = to_regclass('${check.table}') and root.relkind <> 'f' as is_itself,
      root.relkind = 'p' as is_partitioned, ${ownerName("root.relowner")} as owner,
      home.nspname as schema, root.relname as name,
      (select indisvalid from pg_index join pg_class as made on made.oid = indexrelid
        where indrelid = root.oid and made.relname = '${index}') as is_valid
    from jsonb_array_elements(${sqlText(JSON.stringify(tables))}::jsonb) as read
      join pg_namespace on pg_namespace.nspname = read ->> 0
      join pg_class on pg_class.relnamespace = pg_namespace.oid and pg_class.relname = read ->> 1
      join pg_class as root on root.oid = coalesce(pg_partition_root(pg_class.oid)::oid, pg_class.oid)
      join pg_namespace as home on home.oid = root.relnamespace
    order by root.oid`);
  const nameOf = (row: Row, name = row.name) => `${sqlName(row.schema)}.${sqlName(name)}`;
  const steps: Step[] = [];
  for (const row of rows.filter(({ is_itself }) => is_itself)) {
    const as = row.owner;
    if (row.is_valid === false) steps.push({ as, sql: `drop index ${nameOf(row, index)}` });
    if (row.is_partitioned) steps.push("while it builds the next index, writes to this partitioned table wait:");
    const how = row.is_partitioned ? "" : "concurrently ";
    if (!row.is_valid) steps.push({ as, sql: `create index ${how}${index} on ${nameOf(row)} ${indexed(check)}` });
  }
  const others = rows.filter(({ is_itself }) => !is_itself).map((row) => nameOf(row));
  if (others.length > 0) {
    steps.push(`for ${check.id}, index ${others.slice(0, 3).join(", ")} in its own columns: docs/settings.md`);
  }
  return steps.length > 0 ? steps : [`${index} is there, and spares little: analyze ${check.table}, or drop the index`];
}
