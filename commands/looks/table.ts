import type { Row } from "postgres";
import { tableNamed } from "../../config/rights.ts";

import { codeOf } from "../../lib/database.ts";
import { errorFields } from "../../lib/log.ts";
import { doubt, type Finding, type Step, well, wrong } from "../finding.ts";
import { here, isOurs, ownedView, setTo, view } from "../remedies.ts";
import { below } from "../sql.ts";
import type { Session } from "../take-looks.ts";

const kindNames: Record<string, string> = {
  r: "a table",
  p: "a partitioned table",
  v: "a view",
  m: "a materialized view",
  f: "a foreign table",
};

/** The table that a check finds under this name: where and what it is, how large, and whether rows are hidden. */
export async function lookAtTable(session: Session, table: string): Promise<Finding> {
  const [row = {}] = await session.askCatalogue(`
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
      (select row_security_active(found.oid) where has_schema_privilege(pg_namespace.oid, 'usage')) as hides_rows,
      (select string_agg(distinct relkind, '') from pg_class join below using (oid)) as kinds,
      exists (select from pg_subscription_rel join below on srrelid = below.oid) as is_target,
      (select jsonb_agg(distinct schema) from named left join below using (oid) where below.oid is null) as others
    from found left join pg_class using (oid) left join pg_namespace on pg_namespace.oid = relnamespace`);
  const { exists, others, search_path: path, schema } = row;
  if (!exists && !others) return wrong("there is no such table", table, "migrate the ledger, or name its database");
  if (!exists) {
    const fact = `it is in ${others.join(", ")}, where the role does not look: its search_path is ${path}`;
    return wrong(fact, `a search_path with ${others.join(" or ")}`, ...others.flatMap(searchIn(row)));
  }
  if (!row.is_usable) {
    return wrong(`it is in ${schema}, which the role may not use`, `usage on ${schema}`, "see rights, above");
  }
  return row.hides_rows ? await hidden(session, table, row) : await lookAtRows(session, table, row);
}

/** How to look into this schema first, and then where the role looks now. */
const searchIn = (row: Row) => (schema: string) => {
  const others = (row.search_path as string).match(/"(?:[^"]|"")*"|[^", ]+/g) ?? [];
  return setTo(row, `search_path = ${[schema, ...others.filter((other) => other !== schema)].join(", ")}`);
};

/**
 * Who is under row-level security, of those as whom the tables are read: the login, or the owner of a view, unless it
 * asks as its caller. A login of the shop never gets around its policies: the shop relies on them.
 */
async function hidden({ askCatalogue }: Session, table: string, { schema }: Row): Promise<Finding> {
  const rows = await askCatalogue(`
    with recursive read (oid, reader) as (
      select ${tableNamed(`'${table}'`)}, session_user::name
      union
      select refobjid, case when exists (select from pg_options_to_table(reloptions)
        where option_name = 'security_invoker' and option_value::boolean)
        then session_user else pg_get_userbyid(relowner) end
      from read join pg_class using (oid) join pg_rewrite on ev_class = read.oid and ev_type = '1'
        join pg_depend on classid = 'pg_rewrite'::regclass and objid = pg_rewrite.oid
      where relkind = 'v' and refclassid = 'pg_class'::regclass and refobjid <> read.oid
    )
    select reader, string_agg(distinct format('%s.%I', relnamespace::regnamespace, relname), ', ') as tables,
      exists (select from pg_roles where rolname = 'veza_ledger_views') as has_owner,
      (select jsonb_agg(rolname order by rolname) from pg_roles where not rolbypassrls
        and rolname ~ '^veza_ledger(_oncall|_sampler)?(_clone)?$') as logins
    from read join pg_class using (oid) join pg_roles on rolname = reader
    where relrowsecurity and not rolsuper and not rolbypassrls
      and (relforcerowsecurity or not pg_has_role(reader, relowner, 'usage'))
    group by reader`);
  const found = (whose: string) => `row-level security is on in ${schema}, so that its counts are unknown${whose}`;
  const [row] = rows;
  const expected = "no policy for who reads it";
  if (!row) return wrong(found(", for the owner of a function"), expected, ownedView);
  if (rows.every(({ reader }) => isOurs(reader))) {
    const sql = row.logins.map((login: string) => `alter role ${login} bypassrls`);
    return wrong(found(""), expected, { as: "a superuser", sql: sql.join("; ") }, `or ${ownedView}`);
  }
  if (schema !== "veza_ledger_views") return wrong(found(`, for ${row.reader}`), expected, ownedView);
  const sql = [
    `${row.has_owner ? "alter" : "create"} role veza_ledger_views nologin bypassrls`,
    `grant select on ${rows.map(({ tables }) => tables).join(", ")} to veza_ledger_views`,
    `alter view veza_ledger_views.${table} owner to veza_ledger_views`,
  ];
  return wrong(found(`, for ${row.reader}`), expected, { as: "a superuser", sql: sql.join("; ") });
}

async function lookAtRows(session: Session, table: string, row: Row): Promise<Finding> {
  const { ask } = session;
  const manyRows = 1_000;
  let size = "and empty";
  try {
    // The planner takes a table that was never analyzed for one of ten pages.
    const [few] = await ask(`select count(*)::int as rows from (select from ${table} limit ${manyRows}) as few`);
    if (few?.rows > 0) size = `rows: ${few?.rows}`;
    if (few?.rows === manyRows) {
      const [plan] = await ask(`explain (format json) select from ${table}`);
      size = `rows: about ${Number(plan?.["QUERY PLAN"][0].Plan["Plan Rows"]).toLocaleString("en")}`;
    }
  } catch (error) {
    // Behind a view that asks as its caller, or whose owner the policies are forced on. Messages are translated.
    if ((error as { routine?: string }).routine === "check_enable_rls") return await hidden(session, table, row);
    const seeLock = "see who holds the lock: docs/runbook/reasons.md";
    return wrong(
      errorFields(error).reason,
      "its rows",
      codeOf(error) === "55P03" ? seeLock : "see rights, and its checks",
    );
  }
  const { kinds, others, schema } = row;
  const what = `${kindNames[row.kind]} in ${schema}, ${size}`;
  const unless = (why: string, ...rest: [expected: string, ...Step[]]) => doubt(`${what}; ${why}`, ...rest);
  if (row.is_target) {
    const remedy = "name the publisher's database";
    return unless("the target of a subscription: rows count when they arrive", "a table that is written here", remedy);
  }
  if (kinds.includes("f")) {
    const remedy = "name the database that has the table itself";
    return unless("rows are on another server, by its clock", "a table of this database", remedy);
  }
  if (kinds.includes("m")) {
    const remedy = `read the table itself, or ${view}`;
    return unless("a materialized view counts as of its last refresh", "a table, or a view of it", remedy);
  }
  if (others) {
    const both = "if both are, a view of both: docs/what-counts.md";
    const remedy = ["if that is the ledger:", ...others.flatMap(searchIn(row)), both];
    return unless(`there is another one in ${others.join(", ")}`, "one table of this name", ...remedy);
  }
  if (size !== "and empty") return well(what);
  return unless("is the ledger elsewhere?", "rows", "name its database, or set the role's search_path");
}
