import { codeOf } from "../../lib/database.ts";
import { errorFields } from "../../lib/log.ts";
import { doubt, type Finding, ownedView, type Step, view, well, wrong } from "../finding.ts";
import { readFacts, sessionPath } from "../plan/facts.ts";
import { foundOn, migrateTo, placesOf } from "../plan/place.ts";
import { isOurs } from "../plan/rights.ts";
import { sqlName } from "../quote.ts";
import type { Session } from "./look.ts";

const kindNames: Record<string, string> = {
  r: "a table",
  p: "a partitioned table",
  v: "a view",
  m: "a materialized view",
  f: "a foreign table",
};

/** The table that a check finds by this name: where and what it is, whether it is empty, whether rows are hidden. */
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
  const { kind } = relation;
  const schema = sqlName(relation.schema);
  let isEmpty: boolean;
  try {
    const [row] = await ask(`select not exists (select from ${table}) as is_empty`);
    isEmpty = row?.is_empty;
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
  const what = `${kindNames[kind]} in ${schema}${isEmpty ? ", and empty" : ""}`;
  const unless = (why: string, ...rest: [expected: string, ...Step[]]) => doubt(`${what}; ${why}`, ...rest);
  if (kind === "m" || kind === "f") {
    return unless("its rows may be old, or by another clock", "a table, or a view of one", `read that, or ${view}`);
  }
  // A view reads a table of its name elsewhere.
  const others = kind === "v" ? [] : places.filter((place) => place !== relation.schema);
  if (others.length > 0) {
    const steps = others.map((other) => `if that is the ledger: ${searchIn(other)}`);
    const both = "if both are, a view of both: docs/what-counts.md";
    return unless(`there is another one in ${list(others)}`, "one table of this name", ...steps, both);
  }
  if (!isEmpty) return well(what);
  return unless("is the ledger elsewhere?", "rows", "name its database, or its schema: npm run migrate -- --schema …");
}
