import type { Row } from "postgres";
import { type Check, checks, questionOf, stateOf } from "../../lib/checks.ts";
import type { DatabaseTarget } from "../../lib/database.ts";
import type { Ask } from "../../lib/question.ts";
import { doubt, type Finding, type Step, well, wrong } from "../finding.ts";
import { literal, ownerName } from "../sql.ts";
import type { Scene, Session } from "../take-looks.ts";

/** A table of fewer rows is read in milliseconds, index or not. */
const smallTableRows = 100_000;

/** What PostgreSQL plans for reading a table, or a part of one. */
interface Scan {
  "Relation Name": string;
  Schema: string;
  Alias: string;
  Filter?: string;
  Output?: string[];
}

/**
 * Whether an index serves each check that can be asked. It is a doubt while the tables are small.
 */
export async function lookAtIndexes({ ask, settings }: Scene & Session): Promise<Finding> {
  const unserved: Check[] = [];
  let isSmall = true;
  const remedies = new Map<string, Step>();
  for (const check of checks) {
    // On a small table the planner would read all of it, whatever index there is.
    const explain = `set local enable_seqscan = off; explain (format json) ${questionOf(check, { withOldest: true })}`;
    const plan = JSON.stringify(await ask(explain).catch(() => [])); // Its check says why.
    // Through an index that does not know the status come rows of every status, which a filter sorts out.
    if (!/Seq Scan|"Filter":"[^"]*\bstatus\b/.test(plan)) continue;
    unserved.push(check);
    for (const step of await remedyFor(ask, check, settings.database)) remedies.set(JSON.stringify(step), step);
    const [size] = await ask(`explain (format json) select from ${check.table}`);
    isSmall &&= size?.["QUERY PLAN"][0].Plan["Plan Rows"] < smallTableRows;
  }
  if (unserved.length === 0) return well("one serves each check");
  const ids = unserved.map(({ id }) => id).join(", ");
  const found = isSmall ? doubt : wrong;
  const rest = [...remedies.values()];
  return found(`none serves ${ids}: the whole table is read every minute`, "an index with its condition", ...rest);
}

/**
 * What makes an index for a check. indexes.sql does, on the table of its name, where a view shows the columns as they
 * are. Otherwise the planner tells the condition in the columns of the table behind the view.
 */
async function remedyFor(ask: Ask, check: Check, target: DatabaseTarget): Promise<Step[]> {
  const scans = await scansOf(ask, check, check.table);
  const steps: Step[] = [];
  for (const scan of scans) {
    const [row] = await ask(tableOf(scan, check));
    if (!row) continue;
    const [plain] = row.name === check.table ? await scansOf(ask, check, row.table).catch(() => []) : [];
    if (plain && !row.has_virtual && conditionOf(plain) === conditionOf(scan)) return [indexingFile(row, target)];
    const condition = conditionOf(scan);
    if (row.enums?.some((column: string) => condition.includes(`(${column})::text`))) {
      return ["the text of an enum has no index: write `case` in the view instead: docs/what-counts.md"];
    }
    const [time = ""] = scan.Output ?? [];
    const key = row.columns.includes(withoutAlias(time, scan)) ? withoutAlias(time, scan) : row.columns[0];
    if (row.drop) steps.push({ as: row.owner, sql: row.drop });
    if (row.is_partitioned) steps.push("while it builds the next index, writes to this partitioned table wait:");
    const how = row.is_partitioned ? "" : "concurrently ";
    steps.push({ as: row.owner, sql: `create index ${how}${row.index} on ${row.table} (${key}) where ${condition}` });
  }
  return steps.length > 0 ? steps : ["an index on what the view computes, on the table behind it"];
}

/** How the planner reads the rows in the state of a check, without any index. */
async function scansOf(ask: Ask, check: Check, table: string): Promise<Scan[]> {
  const off = ["indexscan", "indexonlyscan", "bitmapscan"].map((way) => `set local enable_${way} = off;`).join(" ");
  const [plan] = await ask(
    `${off} explain (format json, verbose) select ${check.time} from ${table} where ${stateOf(check)}`,
  );
  const scans: Scan[] = [];
  JSON.stringify(plan?.["QUERY PLAN"], (_, node) => {
    if (node?.["Node Type"] === "Seq Scan") scans.push(node);
    return node;
  });
  return scans;
}

const withoutAlias = (text: string, { Alias }: Scan) => text.replaceAll(`${Alias}.`, "").replaceAll(`"${Alias}".`, "");
const conditionOf = (scan: Scan) => withoutAlias(scan.Filter ?? "true", scan);

/** SQL: the table of a scan, or the partitioned table above it. */
const tableOf = (scan: Scan, { id }: Check) => `
  select ${ownerName("root.relowner")} as owner, root.relname as name, root.relkind = 'p' as is_partitioned,
    format('%s.%I', root.relnamespace::regnamespace, root.relname) as table, index,
    (select format('drop index %s.%I', relnamespace::regnamespace, relname) from pg_class
      where relname = index and relnamespace = root.relnamespace) as drop,
    (select format('drop index %s.%I', relnamespace::regnamespace, relname)
      from pg_class join pg_index on indexrelid = pg_class.oid
      where indrelid = root.oid and relname = 'veza_ledger_${id}' and not indisvalid) as drop_invalid,
    exists (select from pg_attribute where attrelid = root.oid and attgenerated = 'v') as has_virtual,
    (select jsonb_agg(quote_ident(attname) order by attnum) from pg_attribute
      where attrelid = root.oid and attnum > 0 and not attisdropped) as columns,
    (select jsonb_agg(quote_ident(attname)) from pg_attribute join pg_type on pg_type.oid = atttypid
      where attrelid = root.oid and typtype = 'e') as enums
  from pg_class join pg_namespace on pg_namespace.oid = relnamespace,
    lateral (select coalesce(pg_partition_root(pg_class.oid)::oid, pg_class.oid) as oid) as top
    join pg_class as root on root.oid = top.oid,
    lateral (select 'veza_ledger_${id}_' || root.oid as index) as called
  where pg_class.relname = ${literal(scan["Relation Name"])} and nspname = ${literal(scan.Schema)}
    and pg_class.relkind = 'r'`;

/** indexes.sql skips an index by its name, also an invalid index. */
function indexingFile({ owner, drop_invalid: drop }: Row, target: DatabaseTarget): string {
  const { port, database } = target;
  const host = target.host.includes(":") ? `[${target.host}]` : target.host;
  const psql = `psql "postgres://${encodeURIComponent(owner)}@${host}:${port}/${encodeURIComponent(database)}"`;
  return `${psql}${drop ? ` -c '${drop}'` : ""} -f config/postgres/indexes.sql`;
}
