// The look "table …": where the table of a check is, and whether its rows can be seen.

import { errorFields } from "../../lib/log.ts";
import { codeOf } from "../../lib/postgres/database.ts";
import { isOurs } from "../declared-rights.ts";
import { shellWord, sqlName } from "../quote.ts";
import { doubt, type Finding, well, wrong } from "./finding.ts";
import type { LedgerScene } from "./scene.ts";
import { haveAnOwnedView, installAgain } from "./shared-steps.ts";

const listOf = (schemas: readonly string[]) => schemas.map(sqlName).join(", ");

/** The table that a check finds by this name: where it is, whether it is empty, whether rows are hidden. */
export async function lookAtTable({ ask, login, database }: LedgerScene, table: string): Promise<Finding> {
  const { schema } = database.ledger;
  const [row] = await ask(`
    select current_database() as database, coalesce(jsonb_object_agg(nspname, relkind), '{}') as kinds
    from pg_class join pg_namespace on pg_namespace.oid = relnamespace
    where relname = '${table}' and relkind in ('r', 'p', 'v', 'm', 'f') and nspname !~ '^(pg_|information_schema$)'`);
  const kinds: Record<string, string> = row?.kinds;
  const places = Object.keys(kinds).sort();
  if (places.length === 0) {
    const fact = `there is no such table in the database ${sqlName(row?.database)}`;
    return wrong(fact, table, "name the ledger's database in the URL, or migrate it");
  }
  if (!places.includes(schema)) {
    const fact = `it is in ${listOf(places)}, and LEDGER_SCHEMA is ${sqlName(schema)}`;
    return wrong(fact, "the ledger's schema", ...places.map((other) => readIn(other, login)));
  }
  let hasRows: boolean;
  try {
    const [row] = await ask(`select exists (select from ledger.${table}) as has_rows`);
    hasRows = row?.has_rows;
  } catch (error) {
    return unreadable(error, schema);
  }
  const isView = kinds[schema] === "v";
  const what = `a ${isView ? "view" : "table"} in ${sqlName(schema)}${hasRows ? "" : ", and empty"}`;
  // A view reads a table of its name elsewhere.
  const others = isView ? [] : places.filter((place) => place !== schema);
  if (hasRows && others.length === 0) return well(what);
  return doubt(
    others.length > 0 ? `${what}; there is another one in ${listOf(others)}` : `${what}; is the ledger elsewhere?`,
    "one table of this name, with rows",
    ...others.map((other) => `if that is the ledger: ${readIn(other, login)}`),
    ...(hasRows ? [] : ["if the ledger is in another database: name that in the URL"]),
  );
}

/** How to have this schema read: for a login of ours in the settings, else by an option. */
const readIn = (schema: string, login: string): string =>
  isOurs(login)
    ? `set LEDGER_SCHEMA=${shellWord(schema)}, and run install.sql with -v schema=${shellWord(schema)}`
    : `--schema ${shellWord(schema)}`;

/** Why the rows of a table in this schema cannot be read. */
function unreadable(error: unknown, schema: string): Finding {
  // By the name of Postgres' own function: its messages come in the server's language.
  if ((error as { routine?: string }).routine === "check_enable_rls") {
    const fact = `row-level security is on in ${sqlName(schema)}, so that its counts are unknown`;
    return wrong(fact, "no policy for who reads it", haveAnOwnedView);
  }
  const isLocked = codeOf(error) === "55P03";
  return wrong(
    errorFields(error).reason,
    "its rows",
    isLocked ? "see who holds the lock: docs/runbook/reasons.md" : installAgain,
  );
}
