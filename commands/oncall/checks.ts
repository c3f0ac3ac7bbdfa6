// The checks of lib/counts/checks.ts, as people on call name them.
import { type Check, checks } from "../../lib/counts/checks.ts";
import type { Sql } from "./postgres.ts";
import { Refusal } from "./terminal.ts";

export const checkNames: string[] = checks.map(({ id }) => id).sort();

/** A check by its name. Refuses any other, and says what is not done. */
export function checkOf(name?: string, refused = "Nothing is done"): Check {
  const check = checks.find(({ id }) => id === name);
  if (check) return check;
  const wrong = name === undefined ? "say of which check" : `there is no check '${name}'`;
  throw new Refusal(`${refused}: ${wrong}. The checks are: ${checkNames.join(" ")}`);
}

/** SQL: a call of the function that lists the rows of a check. */
export const rowsOf = (sql: Sql, id: string) => sql`${sql(`ledger_metrics.${id}`)}()`;
