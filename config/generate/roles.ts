import { checks } from "../../lib/checks.ts";
import { sampleTimeoutMs } from "../../lib/limits.ts";
import { lackingOf, ledgerRights, ourRights, type Right, schemasOn, tables } from "../rights.ts";
import { between } from "./marks.ts";

// What config/postgres/roles.sql grants, and for how long each check may run.

/** Longest time for one statement, of all counts one after the other, in steps of 100 ms; 1.5 s at most. */
const statementTimeoutMs = Math.min(1_500, Math.floor(sampleTimeoutMs / checks.length / 100) * 100);
const timeout = `('{veza_ledger_sampler, veza_ledger}', 'statement_timeout', '${statementTimeoutMs}ms'),\n`;

const rights = `rights jsonb := '[\n${ledgerRights.map((right) => `  ${JSON.stringify(right)}`).join(",\n")}\n]';`;

const nameOf = ({ privilege, columns }: Right) =>
  privilege +
  (columns.length > 0 ? ` (${columns.map((column) => (column === "check" ? '"check"' : column)).join(", ")})` : "");
const grants = Object.values(Object.groupBy(ourRights, ({ table, role }) => `${table} ${role}`)).map((group = []) => {
  const { table, role } = group[0] as Right;
  return `grant ${group.map(nameOf).join(", ")} on ${table} to ${role};\n`;
});

/** config/postgres/schema.sql, where rows are accepted for these checks and no others. */
export const schemaFile = (text: string): string =>
  between(text, "names of the checks", `names text[] := '{${checks.map(({ id }) => id).join(", ")}}';`);

/** config/postgres/roles.sql with the rights of config/rights.ts, and the time-outs of the checks. */
export function rolesFile(text: string): string {
  const parts = {
    "rights to the ledger": rights,
    "schemas of the search_path": schemasOn("current_setting('search_path')", "current_user"),
    "rights that are lacking": `${lackingOf("rights").replaceAll(/^ {2}/gm, "").trim()},`,
    "tables of the checks": `tables text[] := '{${tables.join(", ")}}';`,
    "time of a count": timeout,
    "rights to ledger_metrics": grants.join(""),
  };
  return Object.entries(parts).reduce((roles, [name, lines]) => between(roles, name, lines), text);
}
