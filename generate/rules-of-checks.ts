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

/**
 * The sentence "41 of about 60 orders waited so long; 9 % is usual." of an alert about lost webhooks, for its hour or
 * day: with these numbers, people see at once whether it is a loss. A text can have them by a query alone. An hour's
 * inserts are those of 55 minutes.
 */
function waitedSoLong({ id, table }: Check, window: "1h" | "1d"): string {
  const number = (expr: string) => [
    `{{ with query (printf \`${expr}\` $labels.stage) }}`,
    '{{ . | first | value | printf "%.0f" }}',
  ];
  const labels = `{check="${id}", stage=%q}`;
  const [ifInserts, inserts] = number(
    `${window === "1h" ? "12 / 11 * " : ""}last_over_time(veza_ledger:nearly_stuck:inserts_${window}${labels}[1d:1m])`,
  );
  const [ifShare, share] = number(`100 * last_over_time(veza_ledger:usual:share${labels}[1h])`);
  return (
    `{{ $value }}${ifInserts} of about ${inserts}{{ end }} ${table} waited so long; ` +
    `${ifShare}${share} % is usual{{ else }}what is usual here is not known yet{{ end }}.`
  );
}

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
      `${waitedSoLong(check, "1h")} Most likely, webhooks are lost. The reconciler may repair these rows before they ` +
      "are stuck. See whether we answer Hyperswitch's webhooks with errors.",
    SLOW:
      `${waitedSoLong(check, "1d")} Some webhooks are lost, or more customers left. See whether we answer ` +
      "Hyperswitch's webhooks with errors.",
  });
}

/** The rules about the inserts that late rows are compared with, for each threshold of checks that wait so. */
function insertRules(template: string): string {
  const waiting = checks.filter(({ waitsForWebhook }) => waitsForWebhook);
  return [...Map.groupBy(waiting, ({ stuckAfter }) => minutesIn(stuckAfter))]
    .map(([minutes, same]) =>
      filledIn(partOf(template, "inserts"), {
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
    between(between(text, "inserts", insertRules(template)), "alerts of checks", ofChecks.join("\n")),
  );
}
