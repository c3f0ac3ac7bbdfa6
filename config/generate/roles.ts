import { checks } from "../../lib/checks.ts";
import { sampleTimeoutMs } from "../../lib/limits.ts";
import { between } from "./marks.ts";

// What config/postgres/roles.sql grants for the checks, and for how long each may run.

const keywords = new Set(["and", "false", "in", "is", "like", "not", "null", "or", "true"]);

/** The columns that a condition names. A word that is no column makes a grant that Postgres refuses. */
function columnsIn(condition = ""): string[] {
  const words = condition.replaceAll(/'[^']*'/g, "").match(/[a-z_]\w*/g) ?? [];
  return words.filter((word) => !keywords.has(word));
}

const tables = [...new Set(checks.map(({ table }) => table))];
const checksOf = (table: string) => checks.filter((check) => check.table === table);
const stateOf = (table: string) => ["status", ...checksOf(table).flatMap(({ condition }) => columnsIn(condition))];
const timesOf = (table: string) => checksOf(table).map(({ time }) => time);

const grant = (columns: string[], table: string, role: string) =>
  `grant select (${[...new Set(columns)].join(", ")}) on ${table} to ${role};\n`;

const counted = tables
  .map((table) => grant([...stateOf(table), ...timesOf(table).sort()], table, "veza_ledger_sampler"))
  .join("");

/** What the runbook's queries read. */
const read = (table: string) => ["id", ...stateOf(table), "created_at", "updated_at", ...timesOf(table)];

const optional = tables
  .flatMap((table) => [grant(["id"], table, "veza_ledger_sampler"), grant(read(table), table, "veza_ledger_oncall")])
  .map(
    (statement) => `begin
  ${statement.trim()}
exception
  when undefined_column then raise warning '%: change roles.sql and the runbook, or a view', sqlerrm;
end;
`,
  )
  .join("");

/** Longest time for one statement, of all counts one after the other, in steps of 100 ms; 1.5 s at most. */
const statementTimeoutMs = Math.min(1_500, Math.floor(sampleTimeoutMs / checks.length / 100) * 100);
const timeout = (role: string) => `('${role}', 'statement_timeout', '${statementTimeoutMs}ms'),\n`;

/** config/postgres/roles.sql with the grants and the time-outs of the checks. */
export function rolesFile(text: string): string {
  let roles = between(text, "time of the sampler", timeout("veza_ledger_sampler"));
  roles = between(roles, "time of both functions", timeout("veza_ledger"));
  roles = between(roles, "columns that checks read", counted);
  return between(roles, "columns that people read", optional);
}
