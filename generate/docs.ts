import { amountsView } from "../config/amounts.ts";
import { alertOf, isPage, isRepaired, ranked, told } from "../config/checks.ts";
import { stateOf } from "../lib/checks.ts";
import { phases, reconcilerFamilies, zeros } from "../lib/events.ts";
import { between } from "./marks.ts";

// What the pages of docs say about each check. The first mark of a table is in its header, the second in the first row
// by hand: a line of its own would end the table.

/** Rows of Markdown, behind the line below a header. */
const rows = (cells: string[][]) =>
  [Array(cells[0]?.length).fill("---"), ...cells].map((row) => `| ${row.join(" | ")} |\n`).join("");

const phaseNames = new Intl.ListFormat("en-GB", { type: "disjunction" }).format(phases.map((phase) => `\`${phase}\``));

/** README.md with a row for the metric and a row for the alert of each check, and for the reconciler's metrics. */
export function readmePage(text: string): string {
  const counts = ranked.map(({ metric, help }) => [`\`${metric}\``, `${help}.`]);
  const alerts = ranked.map((check) => {
    const { severity } = told[check.id];
    const waits = check.overdueAfter ? `is over ${check.overdueAfter} old` : "counts";
    const orLate = check.id === "orphan_refunds" ? ", or over 2 are failed in an hour" : ", or many are repaired late";
    return [`\`${alertOf(check)}\``, `a row of \`${check.id}\` ${waits}${isRepaired(check) ? orLate : ""}`, severity];
  });
  const reconciler = reconcilerFamilies.map(({ name, help }) => {
    const hasPhase = zeros.some((zero) => zero.name === name && "phase" in zero.labels);
    const [labels, phasesIfAny] = hasPhase ? ["{phase}", `: ${phaseNames}.`] : ["", "."];
    return `| \`${name}${labels}\` | ${help.replace(/\.$/, phasesIfAny)} |\n`;
  });
  const parts = { counts: rows(counts), alerts: rows(alerts), reconciler: reconciler.join("") };
  return Object.entries(parts).reduce((page, [name, lines]) => between(page, name, lines), text);
}

/** docs/events.md with the phases. */
export function eventsPage(text: string): string {
  const when = `a row was repaired; \`phase\` is ${phaseNames}`;
  return between(text, "phases", rows([["`reconciler.action`", when, "`veza_reconciler_actions_total{phase}`"]]));
}

/** docs/runbook/README.md with a row for each check. */
export function runbookIndex(text: string): string {
  const pages = ranked.map((check) => [told[check.id].noun, `[${alertOf(check)}](${alertOf(check)}.md)`]);
  return between(text, "checks", rows(pages));
}

/** docs/runbook/VezaLedgerRowsTooOld.md with the old rows of each check that makes tickets. */
export function rowsTooOldPage(text: string): string {
  const selects = ranked
    .filter((check) => !isPage(check))
    .map((check) => {
      const { id, table, time } = check;
      return `select '${id}' as "check", id, ${time} as since from ${table}
where ${stateOf(check)} and ${time} < now() - interval '24 hours'\n`;
    });
  return between(text, "tickets", selects.join("union all\n"));
}

/** docs/amounts.md with the owner's view of the money at risk. */
export const amountsPage = (text: string): string => between(text, "view", `\n\`\`\`sql\n${amountsView()}\n\`\`\`\n`);
