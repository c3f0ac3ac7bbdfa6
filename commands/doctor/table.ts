import { codeOf } from "../../lib/database.ts";
import { errorFields } from "../../lib/log.ts";
import { doubt, type Finding, type Step, well, wrong } from "../finding.ts";
import { alone, readFacts, sessionPath } from "../plan/facts.ts";
import { foundOn, migrateTo, placesOf } from "../plan/place.ts";
import { sqlName } from "../quote.ts";
import { isOurs, ownedView, view } from "../remedies.ts";
import type { Session } from "./look.ts";

const kindNames: Record<string, string> = {
  r: "a table",
  p: "a partitioned table",
  v: "a view",
  m: "a materialized view",
  f: "a foreign table",
};

/** The table that a check finds under this name: where and what it is, how large, and whether rows are hidden. */
export async function lookAtTable({ ask, login }: Session, table: string): Promise<Finding> {
  const path = await sessionPath(ask);
  const facts = await readFacts((question) => ask(question, 10));
  const relation = foundOn(facts, path, table);
  const places = placesOf(facts, table);
  const list = (schemas: string[], between = ", ") => schemas.map(sqlName).join(between);
  const searchIn = (schema: string) =>
    isOurs(login) ? migrateTo(facts, [schema, ...path]) : `set the search_path of ${login} to it`;
  if (places.length === 0) return wrong("there is no such table", table, "migrate the ledger, or name its database");
  if (!relation) {
    const fact = `it is in ${list(places)}, where the role does not look: its search_path is ${list(path)}`;
    return wrong(fact, `a search_path with ${list(places, " or ")}`, ...places.map(searchIn));
  }
  const { kind, oid } = relation;
  const schema = sqlName(relation.schema);
  let size = "and empty";
  try {
    size = (await sizeOf(ask, table)) ?? size;
  } catch (error) {
    // By the name of Postgres' own function: its messages come in the server's language.
    if ((error as { routine?: string }).routine === "check_enable_rls") {
      const fact = `row-level security is on in ${schema}, so that its counts are unknown`;
      return wrong(fact, "no policy for who reads it", ownedView);
    }
    if (codeOf(error) === "42P01") {
      return wrong(`it is in ${schema}, which the role may not use`, `usage on ${schema}`, "see migration, above");
    }
    const remedy =
      codeOf(error) === "55P03" ? "see who holds the lock: docs/runbook/reasons.md" : "see migration, above";
    return wrong(errorFields(error).reason, "its rows", remedy);
  }
  const what = `${kindNames[kind]} in ${schema}, ${size}`;
  const unless = (why: string, ...rest: [expected: string, ...Step[]]) => doubt(`${what}; ${why}`, ...rest);
  const [below] = await ask(kindsBelow(oid), 10);
  if (below?.is_target) {
    const remedy = "name the publisher's database";
    return unless("the target of a subscription: rows count when they arrive", "a table that is written here", remedy);
  }
  if (below?.kinds.includes("f")) {
    const remedy = "name the database that has the table itself";
    return unless("rows are on another server, by its clock", "a table of this database", remedy);
  }
  if (below?.kinds.includes("m")) {
    const remedy = `read the table itself, or ${view}`;
    return unless("a materialized view counts as of its last refresh", "a table, or a view of it", remedy);
  }
  const isBelow = (other: string) => below?.oids.includes(foundOn(facts, [other], table)?.oid);
  const others = places.filter((place) => place !== relation.schema && !isBelow(place));
  if (others.length > 0) {
    const steps = others.map((other) => `if that is the ledger: ${searchIn(other)}`);
    const both = "if both are, a view of both: docs/what-counts.md";
    return unless(`there is another one in ${list(others)}`, "one table of this name", ...steps, both);
  }
  if (size !== "and empty") return well(what);
  return unless("is the ledger elsewhere?", "rows", "name its database, or its schema: npm run migrate -- --schema …");
}

/** How many rows a table has, or undefined for none. The planner takes a table never analyzed for one of ten pages. */
async function sizeOf(ask: Session["ask"], table: string): Promise<string | undefined> {
  const manyRows = 1_000;
  const [few] = await ask(`select count(*)::int as rows from (select from ${table} limit ${manyRows}) as few`);
  if (few?.rows < manyRows) return few?.rows > 0 ? `rows: ${few?.rows}` : undefined;
  const [plan] = await ask(`explain (format json) select from ${table}`);
  return `rows: about ${Number(plan?.["QUERY PLAN"][0].Plan["Plan Rows"]).toLocaleString("en")}`;
}

/** SQL: what is below this relation, a view or a partitioned table, and whether a subscription writes any of it. */
const kindsBelow = (oid: string) => `${alone}
  with recursive below (oid) as (
    select ${Number(oid)}::oid
    union
    select next.oid from below, lateral (
      select refobjid from pg_rewrite join pg_depend on classid = 'pg_rewrite'::regclass and objid = pg_rewrite.oid
      where ev_class = below.oid and ev_type = '1' and refclassid = 'pg_class'::regclass
      union all
      select inhrelid from pg_inherits where inhparent = below.oid
    ) as next (oid)
  )
  select string_agg(distinct relkind, '') as kinds, jsonb_agg(oid::text) as oids,
    bool_or(oid in (select srrelid from pg_subscription_rel)) as is_target
  from pg_class join below using (oid)`;
