import { readFile } from "node:fs/promises";
import { alertOf, isPage, isRepaired, meaningOf, ranked, sweepSeconds, told } from "../config/checks.ts";
import { type Check, checks } from "../lib/checks.ts";
import { between } from "./marks.ts";

// What config/alertmanager/ledger.yml says about each check.

/** The rules of ledger.yml are indented by 6, and a line has 120 characters. */
const maxLineLength = 120 - 6;

const pages = checks.filter(isPage).map(({ id }) => id);

/** A rule whose comment says `Listed: the checks that page` selects these, or all others, in each of its matchers. */
function ofRule(rule: string): string {
  if (!rule.replaceAll(/\n *# /g, " ").includes("Listed: the checks that page.")) return rule;
  const listed = rule.replaceAll(/\b(check[=!]~)"[^"]*"/g, `$1"${pages.join("|")}"`);
  return listed.replaceAll(/^.{121,}$/gm, (line) => wrapped(line, 120));
}

/** Wraps a line that is too long. The text of an annotation is folded, so that a line break is a space. */
function wrapped(line: string, maxLength = maxLineLength): string {
  const [indent = ""] = /^ */.exec(line) ?? [];
  const end = line.lastIndexOf(" ", maxLength);
  if (line.length <= maxLength || end < indent.length) return line;
  return `${line.slice(0, end)}\n${wrapped(indent + line.slice(end + 1), maxLength)}`;
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

/** config/alertmanager/ledger.yml with what it says about each check. */
export async function rulesFile(text: string): Promise<string> {
  const rules = between(text, "alerts of checks", await alertsOfChecks(text));
  return rules
    .split("\n\n")
    .map(ofRule)
    .join("\n\n")
    .replaceAll(/(?<=last_run_timestamp.* > 2 \* )\d+/g, String(sweepSeconds));
}
