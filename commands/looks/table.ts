import type { Row } from "postgres";
import { codeOf } from "../../lib/database.ts";
import { errorFields } from "../../lib/log.ts";
import type { Ask } from "../../lib/question.ts";
import { doubt, type Finding, here, rowsIn, type Scene, setTo, view, well, wrong } from "../look.ts";
import { below, tableNamed } from "../sql.ts";

const kindNames: Record<string, string> = {
  r: "a table",
  p: "a partitioned table",
  v: "a view",
  m: "a materialized view",
  f: "a foreign table",
};

/** The table that a check finds under this name: where and what it is, how large, and whether rows are hidden. */
export async function lookAtTable({ ask }: Scene, table: string): Promise<Finding> {
  const [row = {}] = await ask(`
    with recursive found as (select ${tableNamed(`'${table}'`)} as oid),
    ${below("select oid from found")},
    named as (
      select pg_class.oid, relnamespace::regnamespace::text as schema from pg_class
      where relname = '${table}' and relkind in ('r', 'p', 'v', 'm', 'f')
        and relnamespace::regnamespace::text !~ '^(pg_|information_schema)'
    )
    select ${here}, current_setting('search_path') as search_path, found.oid is not null as exists,
      quote_ident(nspname) as schema, relkind as kind,
      has_schema_privilege(pg_namespace.oid, 'usage') as is_usable,
      (select relowner::regrole::text where relkind = 'v' and not exists (select from pg_options_to_table(reloptions)
        where option_name = 'security_invoker' and option_value::boolean)) as asker,
      (select row_security_active(found.oid) where has_schema_privilege(pg_namespace.oid, 'usage')) as hides_rows,
      (select string_agg(distinct relkind, '') from pg_class join below using (oid)) as kinds,
      exists (select from pg_subscription_rel join below on srrelid = below.oid) as is_target,
      (select string_agg(distinct schema, ', ') from named where oid not in (select oid from below)) as others,
      (select string_agg(distinct schema, ', ') from named) as anywhere
    from found left join pg_class using (oid) left join pg_namespace on pg_namespace.oid = relnamespace`);
  return lookAtPlace(row) ?? (await lookAtRows(ask, table, row));
}

const searchIn = (row: Row, schema: string) => setTo(row, `search_path = ${schema}, ${row.search_path}`);
/** A view asks with its owner's rights, unless it says otherwise. */
const hidden = ({ schema, asker, login }: Row) =>
  wrong(
    `row-level security is on in ${schema}, so that its counts are unknown`,
    `as a superuser: alter role ${asker ?? login} bypassrls; or ${view}`,
  );

/** What is wrong with where it is. */
function lookAtPlace(row: Row): Finding | undefined {
  const { exists, anywhere, search_path: path } = row;
  if (!exists && !anywhere) return wrong("there is no such table", "migrate the ledger, or name its database");
  if (!exists) {
    const fact = `it is in ${anywhere}, where the role does not look: its search_path is ${path}`;
    return wrong(fact, searchIn(row, anywhere));
  }
  if (!row.is_usable) return wrong(`it is in ${row.schema}, which the role may not use`, "see rights, above");
  return row.hides_rows ? hidden(row) : undefined;
}

async function lookAtRows(ask: Ask, table: string, row: Row): Promise<Finding> {
  let size = "and empty";
  try {
    const [plan] = await ask(`explain (format json) select from ${table}`);
    const [some] = await ask(`select exists (select from ${table}) as exist`);
    // The planner takes an empty table for one of ten pages.
    if (some?.exist) size = `rows: about ${Number(rowsIn(plan)).toLocaleString("en")}`;
  } catch (error) {
    // Behind a view that asks as its caller, or whose owner the policies are forced on. Messages are translated.
    if ((error as { routine?: string }).routine === "check_enable_rls") return hidden(row);
    const seeLock = "see who holds the lock: docs/runbook/reasons.md";
    return wrong(errorFields(error).reason, codeOf(error) === "55P03" ? seeLock : "see rights, above");
  }
  const { kinds, others } = row;
  const toOthers = `if that is the ledger: ${searchIn(row, others)}. If both are, a view of both: docs/what-counts.md`;
  const doubts: [unknown, string, string][] = [
    [row.is_target, "the target of a subscription: rows count when they arrive", "name the publisher's database"],
    [kinds.includes("f"), "rows are on another server, by its clock", "name the database that has the table itself"],
    [kinds.includes("m"), "a materialized view counts as of its last refresh", `read the table itself, or ${view}`],
    [others, `there is another one in ${others}`, toOthers],
    [size === "and empty", "is the ledger elsewhere?", "name its database, or set the role's search_path"],
  ];
  const found = doubts.find(([isSo]) => isSo);
  const what = `${kindNames[row.kind]} in ${row.schema}, ${size}`;
  return found ? doubt(`${what}; ${found[1]}`, found[2]) : well(what);
}
