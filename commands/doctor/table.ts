// The look "table …": where and what the table of a check is, and whether its rows can be seen.
import { codeOf } from "../../lib/database.ts";
import { errorFields } from "../../lib/log.ts";
import { shellWord, sqlName } from "../quote.ts";
import { isOurs } from "../rights.ts";
import { doubt, type Finding, type Step, well, wrong } from "./finding.ts";
import { haveAnOwnedView, installAgain, readAView, schemaOption } from "./remedies.ts";
import type { LedgerScene } from "./scene.ts";

const kindNames: Record<string, string> = {
  r: "a table",
  p: "a partitioned table",
  v: "a view",
  m: "a materialized view",
  f: "a foreign table",
};

/** The table that a check finds by this name: where and what it is, whether it is empty, whether rows are hidden. */
export async function lookAtTable({ ask, login, database }: LedgerScene, table: string): Promise<Finding> {
  const found = await ask(`
    select nspname as schema, relkind as kind, has_schema_privilege(relnamespace, 'usage') as may_use
    from pg_class join pg_namespace on pg_namespace.oid = relnamespace
    where relname = '${table}' and relkind in ('r', 'p', 'v', 'm', 'f') and nspname !~ '^(pg_|information_schema$)'
    order by schema`);
  const list = (schemas: readonly string[], between = ", ") => schemas.map(sqlName).join(between);
  const searchIn = (place: string) => {
    const schemas = [...new Set([place, ...database.ledger.schemas])];
    const names = shellWord(schemas.join());
    return isOurs(login)
      ? `set LEDGER_SCHEMA=${names}, and run schema.sql and roles.sql with ${schemaOption(schemas)}`
      : `--schema ${names}`;
  };
  const places = found.map(({ schema }): string => schema);
  const [place] = database.ledger.schemas.filter((schema) => places.includes(schema));
  const relation = found.find(({ schema }) => schema === place);
  if (places.length === 0) return wrong("there is no such table", table, "migrate the ledger, or name its database");
  if (!relation) {
    const fact = `it is in ${list(places)}, and LEDGER_SCHEMA is ${list(database.ledger.schemas)}`;
    return wrong(fact, `LEDGER_SCHEMA with ${list(places, " or ")}`, ...places.map(searchIn));
  }
  if (!relation.may_use) {
    const fact = `it is in ${list([relation.schema])}, which the role may not use`;
    return { ...wrong(fact, "that it may", installAgain), isRefused: true };
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
      return wrong(fact, "no policy for who reads it", haveAnOwnedView);
    }
    const remedy = codeOf(error) === "55P03" ? "see who holds the lock: docs/runbook/reasons.md" : installAgain;
    return wrong(errorFields(error).reason, "its rows", remedy);
  }
  const what = `${kindNames[kind]} in ${schema}${isEmpty ? ", and empty" : ""}`;
  const unless = (why: string, ...rest: [expected: string, ...Step[]]) => doubt(`${what}; ${why}`, ...rest);
  if (kind === "m" || kind === "f") {
    return unless(
      "its rows may be old, or by another clock",
      "a table, or a view of one",
      `read that, or ${readAView}`,
    );
  }
  // A view reads a table of its name elsewhere.
  const others = kind === "v" ? [] : places.filter((place) => place !== relation.schema);
  if (others.length > 0) {
    const steps = others.map((other) => `if that is the ledger: ${searchIn(other)}`);
    const both = "if both are, a view of both: docs/what-counts.md";
    return unless(`there is another one in ${list(others)}`, "one table of this name", ...steps, both);
  }
  if (!isEmpty) return well(what);
  return unless(
    "is the ledger elsewhere?",
    "rows",
    "name its database, or its schema by LEDGER_SCHEMA: docs/settings.md",
  );
}
