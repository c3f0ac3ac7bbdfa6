import { amountsSql } from "../commands/amounts.ts";
import { alertOf, isPage, isRepaired, ranked, told } from "../config/words-of-checks.ts";
import { isAhead } from "../lib/counts/blindness.ts";
import { type Check, rowsOf, stateOf } from "../lib/counts/checks.ts";
import { readTimeoutMs } from "../lib/limits.ts";
import { own, plain } from "../lib/postgres/own-names.ts";
import { phases, reconcilerFamilies, zeros } from "../lib/totals/events.ts";
import { between } from "./marks.ts";

// What the pages of docs say about each check, in tables between marks.

/** A table of Markdown. */
const table = (header: string[], rows: string[][]) =>
  [header, header.map(() => "---"), ...rows].map((row) => `| ${row.join(" | ")} |\n`).join("");

/** Rows of a table whose header is outside of the marks, with the line below the header. */
const bodyOf = (cells: string[][]) =>
  [Array(cells[0]?.length).fill("---"), ...cells].map((row) => `| ${row.join(" | ")} |\n`).join("");

const phaseNames = new Intl.ListFormat("en-GB", { type: "disjunction" }).format(phases.map((phase) => `\`${phase}\``));

/** Which rows a check counts, as a sentence. */
const countedBy = ({ help }: Check) => `${help}.`;

/** README.md with a row for each check. */
export function readmePage(text: string): string {
  const rows = ranked.map((check) => {
    const { lost, severity } = told[check.id];
    const page = `docs/runbook/${alertOf(check)}.md`;
    return [`\`${check.metric}\``, countedBy(check), lost, `[${severity}](${page})`];
  });
  return between(text, "counts", table(["metric", "what it counts", "what that means", "alert"], rows));
}

/** docs/metrics.md with the metrics of the checks and of the reconciler. */
export function metricsPage(text: string): string {
  const counts = ranked.map((check) => [`\`${check.metric}\``, countedBy(check)]);
  const reconciler = reconcilerFamilies.map(({ name, help }) => {
    const hasPhase = zeros.some((zero) => zero.name === name && "phase" in zero.labels);
    const [labels, phasesIfAny] = hasPhase ? ["{phase}", `: ${phaseNames}.`] : ["", "."];
    return [`\`${name}${labels}\``, help.replace(/\.$/, phasesIfAny)];
  });
  const withCounts = between(text, "counts", table(["metric", "what it counts"], counts));
  return between(withCounts, "reconciler", table(["metric", "what it is"], reconciler));
}

/** docs/alerts.md with the alerts of the checks. */
export function alertsPage(text: string): string {
  const rows = ranked.map((check) => {
    const waits = check.overdueAfter ? `is over ${check.overdueAfter} old` : "counts";
    const alert = `[${alertOf(check)}](runbook/${alertOf(check)}.md)`;
    const when = `a row of \`${check.id}\` ${waits}`;
    const { severity } = told[check.id];
    // Its alert is by hand: ledger.yml says why.
    if (check.id === "orphan_refunds") {
      return [alert, `${when}, or over 2 are failed in an hour; one or two are a ticket`, "page, ticket"];
    }
    return [alert, isRepaired(check) ? `${when}, or many are repaired late` : when, severity];
  });
  return between(text, "alerts", table(["alert", "fires when", "severity"], rows));
}

/** docs/events.md with the phases. */
export function eventsPage(text: string): string {
  const when = `a row was repaired; \`phase\` is ${phaseNames}`;
  return between(text, "phases", bodyOf([["`reconciler.action`", when, "`veza_reconciler_actions_total{phase}`"]]));
}

/** SQL: a condition, in two lines where it is long. */
const folded = (where: string) => (where.length > 112 ? where.replace(/ and (?!.* and )/, "\n  and ") : where);

/** docs/runbook/README.md with a row for the alert of each check, and the statements that count by hand. */
export function runbookIndex(text: string): string {
  const alerts = ranked.map((check) => [`[${alertOf(check)}](${alertOf(check)}.md)`, told[check.id].noun]);
  // One statement each: a check that fails keeps no other from its answer.
  const counts = ranked.map((check) => {
    const [from, where = ""] = plain(rowsOf(check)).split("\n");
    const columns = `'${check.id}' as "check", count(*) as rows, min(${check.time}::timestamptz) as oldest`;
    return `select ${columns} ${from}\n${folded(where)};\n`;
  });
  return between(between(text, "checks", bodyOf(alerts)), "counts", counts.join(""));
}

/** SQL: the rows of these checks, at whatever age, with `more`: each with its check, its id as text, and its time. */
function rowsOfChecks(these: readonly Check[], as: string, more: (time: string) => string): string {
  const selects = these.map((check) => {
    const { id, table, time } = check;
    const where = folded(plain(`where ${stateOf(check)} and ${own(more(time))}`));
    return `select '${id}' as "check", id::text as id, ${time}::timestamptz as ${as} from ${table}\n${where}\n`;
  });
  return selects.join("union all\n");
}

/** docs/runbook/VezaLedgerRowsTooOld.md with the old rows of each check that makes tickets. */
export function rowsTooOldPage(text: string): string {
  const tickets = ranked.filter((check) => !isPage(check));
  const old = (time: string) => `${time} < now() - interval '24 hours'`;
  return between(text, "tickets", rowsOfChecks(tickets, "since", old));
}

/** docs/runbook/VezaLedgerRowsOutside.md with the rows of each check that can never count. */
export function rowsOutsidePage(text: string): string {
  const timed = ranked.filter(({ staleAfter }) => staleAfter);
  const outside = (time: string) => `(${time} is null or ${isAhead(time)})`;
  return between(text, "outside", rowsOfChecks(timed, "time", outside));
}

/** A page that says how long a count may take, with that time. Throws when it does not say so. */
export function pageWithCountTimeout(text: string): string {
  const said = /(?<=\b(?:count|function) takes (?:over|at most) )[\d.]+(?= s\b)/g;
  if (text.search(said) < 0) throw new Error('it does not say "count takes over … s", or "at most"');
  return text.replaceAll(said, String(readTimeoutMs / 1000));
}

/** docs/amounts.md with these statements, and how long the function may take. */
export const amountsPage = (text: string): string =>
  pageWithCountTimeout(between(text, "amounts", `\n\`\`\`sql\n${amountsSql()}\n\`\`\`\n`));
