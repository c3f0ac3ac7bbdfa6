import { type Check, checks } from "../../lib/checks.ts";
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

/** The columns that the checks of a table read, each once. */
function columnsOf(table: string): string[] {
  const own = checks.filter((check) => check.table === table);
  const columns = (read: (check: Check) => string[]) => own.flatMap(read);
  return [
    ...new Set([
      "status",
      ...columns(({ condition }) => columnsIn(condition)),
      ...columns(({ time }) => [time]).sort(),
    ]),
  ];
}

const grant = (columns: string[], table: string, role: string) =>
  `grant select (${columns.join(", ")}) on ${table} to ${role};\n`;

const counted = tables.map((table) => grant(columnsOf(table), table, "veza_ledger_sampler")).join("");

/** For people on call, all that the runbook's queries read. */
const read = (table: string) => [
  ...new Set(["id", ...columnsOf(table).filter((name) => !/_at$/.test(name)), "created_at", "updated_at"]),
];

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
