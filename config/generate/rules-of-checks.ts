import { readFile } from "node:fs/promises";
import { type Check, checks } from "../../lib/checks.ts";
import { alertOf, isPage, isRepaired, maxAgeSeconds, meaningOf, ranked, secondsOf, told } from "../checks.ts";
import { between } from "./marks.ts";

// What config/alertmanager/ledger.yml says about each check.

/** The rules of ledger.yml are indented by 6, and a line has 120 characters. */
const maxLineLength = 120 - 6;

/** How far back a check that may be blind is looked at, in hours, and as PromQL writes it. */
const windows = [1, 3, 6, 12, 24].map((hours) => ({ hours, range: hours === 24 ? "1d" : `${hours}h` }));
/** Answers are recorded every 5 minutes. Two may be missing: a range has one sample less in Prometheus 3. */
const enoughAnswers = (hours: number) => hours * 12 - 2;

const union = (series: string[]) => series.join("or ");

const counted = union(ranked.map(({ id, metric }) => `label_replace(${metric} >= 0, "check", "${id}", "", "")\n`));

const firing = union(
  ranked.map((check) => `label_replace(ALERTS{alertname="${alertOf(check)}"}, "check", "${check.id}", "", "")\n`),
);

/** Tickets become a page after a day, and after 23 hours in which the oldest row counted. */
const dayHours = 24;
const agesOfTickets = union(
  ranked
    .filter((check) => !isPage(check))
    .map((check) => {
      const maxSeconds = Math.max(dayHours, dayHours - 1 + secondsOf(check.staleAfter ?? "0 hours") / 3600) * 3600;
      return `time() - max_over_time(veza_ledger:check_oldest:time{check="${check.id}"}[23h:5m]) > ${maxSeconds}\n`;
    }),
);

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

function ofRule(rule: string): string {
  const unwrapped = rule.replaceAll(/\n *# /g, " ");
  const [, name = ""] = /\bListed: (.*?)\./.exec(unwrapped) ?? [];
  if (!name) return rule;
  const values = lists[name];
  if (!values) throw new Error(`config/generate/rules-of-checks.ts has no list of "${name}"`);
  const listed = rule.replaceAll(/\b((?:check|table)[=!]~)"[^"]*"/g, `$1"${values.join("|")}"`);
  return listed.replaceAll(/^.{121,}$/gm, (line) => wrapped(line, 120));
}

/** Wraps a line that is too long. The text of an annotation is folded, so that a line break is a space. */
function wrapped(line: string, maxLength = maxLineLength): string {
  const [indent = ""] = /^ */.exec(line) ?? [];
  const end = line.lastIndexOf(" ", maxLength);
  if (line.length <= maxLength || end < indent.length) return line;
  return `${line.slice(0, end)}\n${wrapped(indent + line.slice(end + 1), maxLength)}`;
}

/** The alert of a check by alert-of-a-check.yml. */
function alertRule(check: Check, template: string): string {
  const { severity, noun, lost, patience } = told[check.id];
  const words: Record<string, string> = {
    ALERT: alertOf(check),
    METRIC: check.metric,
    CHECK: check.id,
    SEVERITY: severity,
    NOUN: noun,
    MEANS: meaningOf(check),
    LOST: lost,
    PATIENCE: patience,
    SECONDS: String(maxAgeSeconds(check)),
  };
  const left = isRepaired(check) ? "if" : "unless";
  return template
    .replaceAll(/^ *# (if|unless) PHASE\n([\s\S]*?)^ *# end\n/gm, (_, word, text) => (word === left ? text : ""))
    .replaceAll(/\b[A-Z]+\b/g, (word) => words[word] ?? word)
    .replaceAll(/^.+$/gm, (line) => wrapped(line));
}

/** The alerts of the checks that have none outside of the marks. */
async function alertsOfChecks(rules: string): Promise<string> {
  const template = await readFile(new URL("../alertmanager/alert-of-a-check.yml", import.meta.url), "utf8");
  const byHand = between(rules, "alerts of checks", "");
  const generated = ranked.filter((check) => !byHand.includes(`- alert: ${alertOf(check)}\n`));
  return generated.map((check) => alertRule(check, template.slice(template.indexOf("- alert:")))).join("\n");
}

/** config/alertmanager/ledger.yml with what it says about each check. */
export async function rulesFile(text: string): Promise<string> {
  let rules = between(text, "alerts of checks", await alertsOfChecks(text));
  for (const name of ["counts", "counts without a time"]) rules = between(rules, name, counted);
  rules = between(rules, "alerts that fire", firing);
  rules = between(rules, "ages of tickets", agesOfTickets);
  rules = between(rules, "inserts", inserts);
  rules = between(rules, "windows seen", seen);
  rules = between(rules, "windows expected", expected);
  return rules.split("\n\n").map(ofRule).join("\n\n");
}
