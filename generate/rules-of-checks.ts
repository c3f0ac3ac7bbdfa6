import { readFile } from "node:fs/promises";
import { alertOf, isPage, isRepaired, meaningOf, ranked, sweepSeconds, told } from "../config/words-of-checks.ts";
import { type Check, checks } from "../lib/counts/checks.ts";
import { between } from "./marks.ts";

// What config/alertmanager/ledger.yml says about each check.

/** The rules of ledger.yml are indented by 6, and a line has 120 characters. */
const maxLineLength = 120 - 6;

/** Wraps a line that is too long. The text of an annotation is folded, so that a line break is a space. */
function wrapped(line: string): string {
  const [indent = ""] = /^ */.exec(line) ?? [];
  const end = line.lastIndexOf(" ", maxLineLength);
  if (line.length <= maxLineLength || end < indent.length) return line;
  return `${line.slice(0, end)}\n${wrapped(indent + line.slice(end + 1))}`;
}

/** The alerts of a check by alert-of-a-check.yml. */
function alertRules(check: Check, template: string): string {
  const { id, table, staleAfter = "", overdueAfter } = check;
  const { severity, noun, lost } = told[id];
  const nobody = isRepaired(check) ? "" : " The reconciler does not repair them.";
  const words: Record<string, string> = {
    ALERT: alertOf(check),
    CHECK: id,
    SEVERITY: severity,
    NOUN: overdueAfter ? `${noun} for over ${overdueAfter}` : noun,
    MEANS: `${meaningOf(check)} ${lost}${nobody}`,
    TABLE: table,
    LATE: `Over a fifth of the ${table} of an hour waited ${staleAfter} for the reconciler: webhooks do not arrive.`,
  };
  const [overdue = "", late = ""] = template.split(/\n(?=- alert:)/);
  return (isRepaired(check) ? `${overdue}\n${late}` : overdue)
    .replaceAll(/\b[A-Z]+\b/g, (word) => words[word] ?? word)
    .replaceAll(/^.+$/gm, (line) => wrapped(line));
}

/** The alerts of the checks that have none outside of the marks. */
async function alertsOfChecks(rules: string): Promise<string> {
  const template = await readFile(new URL("../config/alertmanager/alert-of-a-check.yml", import.meta.url), "utf8");
  const byHand = between(rules, "alerts of checks", "");
  const generated = ranked.filter((check) => !byHand.includes(`- alert: ${alertOf(check)}\n`));
  return generated.map((check) => alertRules(check, template.slice(template.indexOf("- alert:")))).join("\n");
}

/**
 * config/alertmanager/ledger.yml with its alerts of the checks, with the checks that page in each matcher `check=~` and
 * `check!~`, and with the reconciler's interval in the rule that compares with twice of it.
 */
export async function rulesFile(text: string): Promise<string> {
  const pages = checks.filter(isPage).map(({ id }) => id);
  return between(text, "alerts of checks", await alertsOfChecks(text))
    .replaceAll(/\bcheck(=~|!~)"[^"]*"/g, `check$1"${pages.join("|")}"`)
    .replaceAll(/(?<=> 2 \* )\d+$/gm, String(sweepSeconds));
}
