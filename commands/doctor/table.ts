// The look "table …": where and what the table of a check is, and whether its rows can be seen.

import { errorFields } from "../../lib/log.ts";
import { codeOf } from "../../lib/postgres/database.ts";
import { isOurs } from "../declared-rights.ts";
import { shellWord, sqlName } from "../quote.ts";
import { doubt, type Finding, well, wrong } from "./finding.ts";
import type { LedgerScene } from "./scene.ts";
import { haveAnOwnedView, installAgain, readAView, schemaOption } from "./shared-steps.ts";

/** By relkind in pg_class. */
const kindNames: Record<string, string> = {
  r: "a table",
  p: "a partitioned table",
  v: "a view",
  m: "a materialized view",
  f: "a foreign table",
};

const listOf = (schemas: readonly string[]) => schemas.map(sqlName).join(", ");

/** The table that a check finds by this name: where and what it is, whether it is empty, whether rows are hidden. */
export async function lookAtTable({ ask, login, database }: LedgerScene, table: string): Promise<Finding> {
  const { schema: expected } = database.ledger;
  const relations = await ask(`
    select nspname as schema, relkind as kind, has_schema_privilege(relnamespace, 'usage') as may_use
    from pg_class join pg_namespace on pg_namespace.oid = relnamespace
    where relname = '${table}' and relkind in ('r', 'p', 'v', 'm', 'f') and nspname !~ '^(pg_|information_schema$)'
    order by schema`);
  const places = relations.map(({ schema }): string => schema);
  if (places.length === 0) return wrong("there is no such table", table, "migrate the ledger, or name its database");
  const relation = relations.find(({ schema }) => schema === expected);
  if (!relation) {
    const fact = `it is in ${listOf(places)}, and LEDGER_SCHEMA is ${sqlName(expected)}`;
    return wrong(fact, "the ledger's schema", ...places.map((other) => readIn(other, login)));
  }
  const schema = sqlName(relation.schema);
  if (!relation.may_use) {
    const finding = wrong(`it is in ${schema}, which the role may not use`, "that it may", installAgain);
    return { ...finding, isRefused: true };
  }
  let isEmpty: boolean;
  try {
    const [row] = await ask(`select not exists (select from ledger.${table}) as is_empty`);
    isEmpty = row?.is_empty;
  } catch (error) {
    return unreadable(error, schema);
  }
  const { kind } = relation;
  const what = `${kindNames[kind]} in ${schema}${isEmpty ? ", and empty" : ""}`;
  if (kind === "m" || kind === "f") {
    return doubt(
      `${what}; its rows may be old, or by another clock`,
      "a table, or a view of one",
      `read that, or ${readAView}`,
    );
  }
  // A view reads a table of its name elsewhere.
  const others = kind === "v" ? [] : places.filter((other) => other !== relation.schema);
  if (others.length > 0) {
    return doubt(
      `${what}; there is another one in ${listOf(others)}`,
      "one table of this name",
      ...others.map((other) => `if that is the ledger: ${readIn(other, login)}`),
      "if both are, a view of both: docs/what-counts.md",
    );
  }
  if (!isEmpty) return well(what);
  return doubt(
    `${what}; is the ledger elsewhere?`,
    "rows",
    "name its database, or its schema by LEDGER_SCHEMA: docs/settings.md",
  );
}

/** How to have this schema read: for a login of ours in the settings, else by an option. */
const readIn = (schema: string, login: string): string =>
  isOurs(login)
    ? `set LEDGER_SCHEMA=${shellWord(schema)}, and run install.sql with ${schemaOption(schema)}`
    : `--schema ${shellWord(schema)}`;

/** Why the rows of a table in this schema cannot be read. */
function unreadable(error: unknown, schema: string): Finding {
  // By the name of Postgres' own function: its messages come in the server's language.
  if ((error as { routine?: string }).routine === "check_enable_rls") {
    const fact = `row-level security is on in ${schema}, so that its counts are unknown`;
    return wrong(fact, "no policy for who reads it", haveAnOwnedView);
  }
  const isLocked = codeOf(error) === "55P03";
  return wrong(
    errorFields(error).reason,
    "its rows",
    isLocked ? "see who holds the lock: docs/runbook/reasons.md" : installAgain,
  );
}
