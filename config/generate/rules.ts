import { readFile } from "node:fs/promises";
import { checks } from "../../lib/checks.ts";
import { alertOf, isPage, ranked, told } from "../checks.ts";
import { between } from "./marks.ts";

// What config/alertmanager/ledger.yml says about each check.

const maxLineLength = 120;

/** How far back a check that may be blind is looked at, in hours, and as PromQL writes it. */
const windows = [1, 3, 6, 12, 24].map((hours) => ({ hours, range: hours === 24 ? "1d" : `${hours}h` }));
/** Answers are recorded every 5 minutes. Two may be missing: a range has one sample less in Prometheus 3. */
const enoughAnswers = (hours: number) => hours * 12 - 2;

const union = (series: string[]) => series.join("or\n");

const openRows = union(ranked.map(({ id, metric }) => `label_replace(${metric} >= 0, "check", "${id}", "", "")\n`));

/** The checks into whose states rows come by inserts. */
const byInserts = checks.filter(({ time }) => time === "created_at");
const inserts = union(
  byInserts.map(
    ({ id, table }) => `\
label_replace(clamp_min(max by (job, stage) (
  last_over_time(veza_ledger_table_inserts_total{table="${table}"}[10m])
    - last_over_time(veza_ledger_table_inserts_total{table="${table}"}[10m] offset 5m)
), 0), "check", "${id}", "", "")
`,
  ),
);

const seen = union(
  windows.map(
    ({ hours, range }) => `\
label_replace(changes(veza_ledger:check_newest:max[${range}])
  and count_over_time(veza_ledger:check_answered[${range}]) >= ${enoughAnswers(hours)}, "window", "${range}", "", "")
`,
  ),
);
const expected = union(
  windows.map(
    ({ range }) =>
      `label_replace(sum_over_time(veza_ledger:check_inserts:rise[${range}]), "window", "${range}", "", "")\n`,
  ),
);

/** A rule whose comment says `Listed: <name>` selects these values, or all others, in each of its matchers. */
const lists: Record<string, string[]> = {
  "the checks that page": checks.filter(isPage).map(({ id }) => id),
  "the checks of rows of any age": checks.filter(({ staleAfter }) => !staleAfter).map(({ id }) => id),
  "the tables of checks by inserts": [...new Set(byInserts.map(({ table }) => table))],
};

const ofRule = (rule: string) =>
  Object.entries(lists).reduce(
    (text, [name, values]) =>
      text.includes(`Listed: ${name}.`)
        ? text.replaceAll(/\b((?:check|table)[=!]~)"[^"]*"/g, `$1"${values.join("|")}"`)
        : text,
    rule,
  );

/** Wraps a line that is too long. The text of an annotation is folded, so that a line break is a space. */
function wrapped(line: string): string {
  const { length } = /^ */.exec(line)?.[0] ?? "";
  if (line.length <= maxLineLength) return line;
  const end = line.lastIndexOf(" ", maxLineLength);
  return `${line.slice(0, end)}\n${wrapped(" ".repeat(length) + line.slice(end + 1))}`;
}

/** The alerts of the checks that have none by hand, from alert-of-a-check.yml. */
function alertsOfChecks(template: string, byHand: string, indent: number): string {
  const [, rule = ""] = /^(- alert: [\s\S]*)/m.exec(template) ?? [];
  const alerts = ranked.flatMap((check) => {
    const { severity, noun, means, lost, repairedBy } = told[check.id];
    if (byHand.includes(`- alert: ${alertOf(check)}\n`)) return [];
    const ifPhase = (word: string, text: string) => ((word === "if") === Boolean(repairedBy) ? text : "");
    const words = {
      ALERT: alertOf(check),
      METRIC: check.metric,
      CHECK: check.id,
      SEVERITY: severity,
      NOUN: noun,
      MEANS: means,
      LOST: lost,
      PHASE: repairedBy ?? "",
    };
    return rule
      .replaceAll(/^ *# (if|unless) PHASE\n([\s\S]*?)^ *# end\n/gm, (_, word: string, text: string) =>
        ifPhase(word, text),
      )
      .replaceAll(/\b[A-Z]{4,}\b/g, (word) => words[word as keyof typeof words] ?? word)
      .replaceAll(/^.*$/gm, (line) =>
        wrapped(" ".repeat(indent) + line).replaceAll(new RegExp(`^ {${indent}}`, "gm"), ""),
      );
  });
  return alerts.join("\n");
}

/** config/alertmanager/ledger.yml with what it says about each check. */
export async function rulesFile(text: string): Promise<string> {
  const template = await readFile(new URL("../alertmanager/alert-of-a-check.yml", import.meta.url), "utf8");
  const byHand = between(text, "alerts of checks", "");
  let rules = between(text, "alerts of checks", alertsOfChecks(template, byHand, 6));
  rules = between(rules, "counts", openRows);
  rules = between(rules, "inserts", inserts);
  rules = between(rules, "windows seen", seen);
  rules = between(rules, "windows expected", expected);
  return rules.split("\n\n").map(ofRule).join("\n\n");
}
