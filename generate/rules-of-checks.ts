import { readFile } from "node:fs/promises";
import { alertOf, isPage, isRepaired, ranked, told } from "../config/words-of-checks.ts";
import { type Check, checks, nearlyStuckAfter, sweepMinutes } from "../lib/counts/checks.ts";
import { minutesIn } from "../lib/counts/interval.ts";
import { between, partOf } from "./marks.ts";

// What config/alertmanager/ledger.yml says about each check and about the reconciler's period.

/** The rules of ledger.yml are indented by 6, and a line has 120 characters. */
const maxLineLength = 120 - 6;

/** Wraps a line that is too long: of a comment, or of an annotation, in whose text a line break is a space. */
function wrapped(line: string): string {
  const [indent = ""] = /^ *(# )?/.exec(line) ?? [];
  const end = line.lastIndexOf(" ", maxLineLength);
  if (line.length <= maxLineLength || end < indent.length) return line;
  return `${line.slice(0, end)}\n${wrapped(indent + line.slice(end + 1))}`;
}

/** Puts words in for those in capitals. */
const filledIn = (template: string, words: Record<string, string>) =>
  template.replaceAll(/\b[A-Z]+\b/g, (word) => words[word] ?? word).replaceAll(/^.+$/gm, (line) => wrapped(line));

/** The alerts of a check by alerts-of-checks.yml. */
function alertRules(check: Check, template: string): string {
  const { id, table, stuckAfter = "", overdueAfter, waitsForWebhook } = check;
  const { severity, noun, means, lost, hint } = told[id];
  const nobody = isRepaired(check) ? "" : " The reconciler does not repair them.";
  const rules = ["alert of a check"];
  if (waitsForWebhook) rules.push("lost webhooks");
  if (waitsForWebhook && isPage(check)) rules.push("slow loss");
  return filledIn(rules.map((rule) => partOf(template, rule)).join("\n"), {
    ALERT: alertOf(check),
    CHECK: id,
    SEVERITY: severity,
    NOUN: overdueAfter ? `${noun} for over ${overdueAfter}` : noun,
    MEANS: `${means} ${lost}${nobody} List them (\`rows ${id}\`). ${hint}`,
    WAITED: waitsForWebhook ? nearlyStuckAfter(stuckAfter) : "",
    ROWS: table.charAt(0).toUpperCase() + table.slice(1),
    LATE:
      `Over a fifth of an hour's ${table} waited so long: most likely, webhooks are lost. The reconciler may repair ` +
      "them before they are stuck. See whether we answer Hyperswitch's webhooks with errors.",
    SLOW:
      `Over 5 % of a day's ${table} waited so long, and in no hour a fifth: some webhooks are lost, or customers ` +
      "left. See whether we answer Hyperswitch's webhooks with errors.",
  });
}

/** The rules about late rows, for each threshold of checks whose rows wait for a webhook. */
function lateRules(template: string): string {
  const waiting = checks.filter(({ waitsForWebhook }) => waitsForWebhook);
  return [...Map.groupBy(waiting, ({ stuckAfter }) => minutesIn(stuckAfter))]
    .map(([minutes, same]) =>
      filledIn(partOf(template, "late rows"), {
        CHECKS: same.map(({ id }) => id).join("|"),
        AGE: `${minutes}m`,
        FRESH: String(60 * minutes + 180),
        ANHOUR: `${minutes + 55}m`,
        SIXHOURS: `${minutes + 355}m`,
      }),
    )
    .join("\n");
}

/** config/alertmanager/ledger.yml with its parts between marks: from alerts-of-checks.yml, which says what they are. */
export async function rulesFile(text: string): Promise<string> {
  const template = await readFile(new URL("../config/alertmanager/alerts-of-checks.yml", import.meta.url), "utf8");
  const byHand = between(text, "alerts of checks", "");
  const ofChecks = ranked
    .filter((check) => !byHand.includes(`- alert: ${alertOf(check)}\n`))
    .map((check) => alertRules(check, template));
  const pages = checks.filter(isPage).map(({ id }) => id);
  const words = { PAGES: pages.join("|"), PERIOD: String(60 * sweepMinutes) };
  return ["failing checks", "dead reconciler"].reduce(
    (all, part) => between(all, part, filledIn(partOf(template, part), words)),
    between(between(text, "late rows", lateRules(template)), "alerts of checks", ofChecks.join("\n")),
  );
}
