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
import { checks } from "../lib/counts/checks.ts";
import { between } from "./marks.ts";
import { rowFunctions } from "./row-functions.ts";

// The parts of schema.sql and roles.sql that come from the checks and from commands/declared-rights.ts.

/** config/postgres/schema.sql */
export function schemaFile(text: string): string {
  const listed = checks.map(({ id }) => `'${id}'`).join(", ");
  return between(between(text, "first day", listed), "checks", listed);
}

/** config/postgres/roles.sql */
export function rolesFile(text: string): string {
  const parts = {
    logins: Object.entries(roles).map(creation).join("\n"),
    ledger: grants(ledgerRights),
    owned: tables.map((table) => `'${table}'`).join(", "),
    names: tables.map((table) => `'${table}'`).join(", "),
    found: tables.map((table) => `to_regclass('${table}'::text)`).join(",\n"),
    tables: tables.map((table) => `'${table}'::regclass`).join(",\n"),
    outbox: grants(outboxRights),
    ledger_metrics: `${grants(ourRights)}\n${executeAmounts}`,
    functions: rowFunctions(),
    "counted tables": tables.map((table) => `'${table}'::regclass`).join(",\n"),
    "counted columns": [...new Set(ledgerRights.flatMap(({ columns }) => columns))]
      .map((name) => `'${name}'`)
      .join(", "),
  };
  return Object.entries(parts).reduce((all, [name, lines]) => between(all, name, lines), text);
}

/** clients/go/outbox.sql */
export const outboxFile = (text: string): string => between(text, "outbox", grants(outboxRights));

function creation([role, limit]: [string, number]): string {
  const member = role === "veza_ledger" ? " in role veza_ledger_sampler, veza_ledger_receiver" : "";
  const create = `create role ${role} login connection limit ${limit}${member}`;
  return `if to_regrole('${role}') is null then\n  ${create};\nend if;`;
}

const executeAmounts = `grant execute on function ledger_metrics.amounts() to ${executors.amounts.join(", ")};`;

/** A statement for all rights that the same roles have to a table. */
function grants(rights: readonly Right[]): string {
  const what = ({ privilege, columns }: Right) =>
    privilege + (columns.length > 0 ? ` (${columns.map(sqlName).join(", ")})` : "");
  const sameRight = [...Map.groupBy(rights, (right) => `${what(right)} on ${right.table}`).values()];
  const to = (same: Right[]) => `on ${same[0]?.table} to ${same.map(({ role }) => role).join(", ")}`;
  return [...Map.groupBy(sameRight, to)]
    .map(([target, all]) => `grant ${all.map(([right]) => right && what(right)).join(", ")}\n  ${target};`)
    .map((statement) => (statement.length < 118 ? statement.replace("\n ", "") : statement))
    .join("\n");
}
