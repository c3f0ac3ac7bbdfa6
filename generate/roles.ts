import {
  executors,
  ledgerRights,
  ourRights,
  outboxRights,
  type Right,
  roles,
  tables,
} from "../commands/declared-rights.ts";
import { sqlName } from "../commands/quote.ts";
import { between } from "./marks.ts";
import { madeForPeopleOnCall, rowFunctions } from "./row-functions.ts";

// The parts of roles.sql, rows.sql and outbox.sql that come from the checks and from commands/declared-rights.ts.

/** A table of the ledger is in the schema that psql is given. */
const placed = (table = "") => (table.includes(".") ? table : `:"schema".${table}`);
const tableNames = tables.map((table) => `'${table}'`).join(", ");

/** config/postgres/roles.sql */
export function rolesFile(text: string): string {
  const parts = {
    logins: Object.entries(roles).map(creation).join("\n"),
    tables: tableNames,
    ledger: grants(ledgerRights),
    "tables again": tableNames,
    ledger_metrics: `${grants(ourRights)}\n${executeAmounts}`,
  };
  return Object.entries(parts).reduce((all, [name, lines]) => between(all, name, lines), text);
}

/** config/postgres/uninstall.sql */
export const uninstallFile = (text: string): string =>
  between(text, "functions", rowFunctions.map(({ name }) => `ledger_metrics.${name},`).join("\n"));

/** config/postgres/rows.sql */
export const rowsFile = (text: string): string => between(text, "functions", madeForPeopleOnCall);

/** clients/go/outbox.sql */
export const outboxFile = (text: string): string => between(text, "outbox", grants(outboxRights));

function creation([role, limit]: [string, number]): string {
  const member = role === "veza_ledger" ? " in role veza_ledger_sampler, veza_ledger_receiver" : "";
  const create = `create role ${role} login connection limit ${limit}${member}`;
  const ours = `comment on role ${role} is 'a login of veza-ledger-metrics'`;
  return `if to_regrole('${role}') is null then\n  ${create};\n  ${ours};\nend if;`;
}

const executeAmounts = `grant execute on function ledger_metrics.amounts() to ${executors.amounts.join(", ")};`;

/** A statement for all rights that the same roles have to a table. */
function grants(rights: readonly Right[]): string {
  const what = ({ privilege, columns }: Right) =>
    privilege + (columns.length > 0 ? ` (${columns.map(sqlName).join(", ")})` : "");
  const sameRight = [...Map.groupBy(rights, (right) => `${what(right)} on ${placed(right.table)}`).values()];
  const to = (same: Right[]) => `on ${placed(same[0]?.table)} to ${same.map(({ role }) => role).join(", ")}`;
  return [...Map.groupBy(sameRight, to)]
    .map(([target, all]) => `grant ${all.map(([right]) => right && what(right)).join(", ")}\n  ${target};`)
    .map((statement) => (statement.length < 118 ? statement.replace("\n ", "") : statement))
    .join("\n");
}
