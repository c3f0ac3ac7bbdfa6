import * as common from "@grafana/grafana-foundation-sdk/common";
import type { PanelBuilder as Stat } from "@grafana/grafana-foundation-sdk/stat";
import { acceptedMetric } from "../../../lib/counts/accepted.ts";
import { amountMetric } from "../../../lib/counts/amounts.ts";
import type { Check } from "../../../lib/counts/checks.ts";
import { helpOf, overdueMetric } from "../../../lib/counts/counting.ts";
import { alertOf, isPage, ranked, told } from "../../words-of-checks.ts";
import { documentOf, entryOf, ofStage, silentAfterSeconds } from "../dashboard.ts";
import {
  type AnyPanel,
  colored,
  colorLines,
  colorsOfChecks,
  link,
  runbook,
  stat,
  textFor,
  thresholds,
  timeSeries,
  unknown,
} from "../panels.ts";
import {
  calmCount,
  failedOrphans,
  freshCount,
  instant,
  orUnknown,
  range,
  usualShare,
  waitedLong,
  whileTicking,
} from "../queries.ts";

const titleOf = (id: string) => id.charAt(0).toUpperCase() + id.slice(1).replaceAll("_", " ");
const whatUnknownIs = `**unknown** is never 0. The check failed (the sampler's log says why: "check failed"), or the
  sampler's last tick is over ${silentAfterSeconds / 60} minutes old, or there is none.`;

/** A share that is usual has the colour of its check. */
const colorsOfUsual = Object.fromEntries(Object.entries(colorsOfChecks).map(([id, color]) => [`usual ${id}`, color]));

/** At most five tiles in a line. Columns that are left over make the last tiles wider. */
function tileWidth(index: number): number {
  const perLine = Math.ceil(ranked.length / Math.ceil(ranked.length / 5));
  const wider = index % perLine >= perLine - (24 % perLine);
  return Math.floor(24 / perLine) + (wider ? 1 : 0);
}

/**
 * A count is blue while none of its rows is overdue: green says that there are none, and red that people have to act.
 * Stages and amounts next to each other where there is room: below each other, six of them would be too small to read.
 * An amount has no colour: the thresholds are for the count. Orphans that were marked as failed page, too: where there
 * are some, there is no green 0.
 */
function checkPanel(check: Check, index: number): Stat {
  const { hint } = told[check.id];
  const isOfOrphans = check.id === "orphan_refunds";
  const calm = calmCount(check);
  const shownBeside = isOfOrphans ? `${calm} or ${failedOrphans} and on (stage) (${freshCount(check)}) == 0` : calm;
  const whatFailedIs = isOfOrphans
    ? `**failed**: how many the reconciler marked as failed in an hour. No count has them any more, and nobody
      has paid these customers. Over 2 page.\n\n`
    : "";
  return stat({
    title: titleOf(check.id),
    description: `${helpOf(check)} ${hint}\n\n**blue**: rows count, and none is overdue. Somebody has accepted them, or
      they have not waited for long enough yet.\n\n${whatFailedIs}${whatUnknownIs}\n\n**accepted**: how many of the
      rows somebody has accepted. The alerts leave these out.\n\n**EUR** or another currency: the money in all rows
      that count, also in accepted ones. ${documentOf("amounts.md")} says how to set this up.\n\nThe runbook has the
      query that lists the rows.`,
    unit: "none",
    size: [tileWidth(index), 7],
    links: runbook(alertOf(check), ...(check.id === "stuck_refunds" ? ["VezaLedgerRowsTooOld"] : [])),
    targets: [
      instant(
        `${orUnknown(freshCount(check), `${check.metric}{${ofStage}}`)} unless on (stage) (${shownBeside})`,
        "{{stage}}",
      ),
      instant(calm, "{{stage}}"),
      instant(
        whileTicking(`max by (stage, currency) (${amountMetric}{check="${check.id}", ${ofStage}})`),
        "{{currency}} {{stage}}",
      ),
      instant(
        whileTicking(`max by (stage) (${acceptedMetric}{check="${check.id}", ${ofStage}}) > 0`),
        "accepted {{stage}}",
      ),
      ...(isOfOrphans ? [instant(failedOrphans, "failed {{stage}}")] : []),
    ],
  })
    .orientation(common.VizOrientation.Auto)
    .overrideByQuery("B", colored("blue"))
    .overrideByQuery("C", [{ id: "decimals", value: 2 }, ...colored("transparent")])
    .overrideByQuery("D", colored("transparent"))
    .mappings([textFor({ "-1": unknown })])
    .thresholds(thresholds(isPage(check) ? { 1: "red" } : { 1: "orange", 10: "red" }));
}

/** The panels of the row "Is money stuck?": a tile for each check, then the money, and what the alerts compare. */
export const countPanels = (): AnyPanel[] => [
  ...ranked.map(checkPanel),
  timeSeries({
    title: "Money at risk",
    description: `The money in the rows that count, of all checks together, by currency. Empty while no row counts or
      the sampler is silent, and where nobody has set up the amounts: ${documentOf("amounts.md")} says how.`,
    unit: "none",
    size: [8, 10],
    links: runbook("VezaLedgerRowsTooOld"),
    targets: [range(whileTicking(`sum by (stage, currency) (${amountMetric}{${ofStage}})`), "{{currency}} {{stage}}")],
  })
    .noValue("no amount is known")
    .min(0),
  colorLines(
    timeSeries({
      title: "Overdue rows",
      description: `The rows that make the alerts fire: they have waited for longer than the alert of their check
        allows, and nobody has accepted them. **accepted**: how many rows somebody has accepted, in all checks together.
        The runbook says how to accept a row; \`npm run doctor -- sampler\` lists who did it and why.`,
      unit: "none",
      size: [8, 10],
      links: [link("Runbook: accept a row that is known", entryOf("README")), ...runbook("VezaLedgerAcceptanceEnds")],
      targets: [
        range(whileTicking(`max by (check, stage) (${overdueMetric}{${ofStage}})`), "{{check}} {{stage}}"),
        range(whileTicking(`sum by (stage) (${acceptedMetric}{${ofStage}})`), "accepted {{stage}}"),
      ],
    }),
    { ...colorsOfChecks, accepted: "text" },
  ).min(0),
  colorLines(
    timeSeries({
      title: "Share of nearly stuck rows",
      description: `The share of an hour's orders and refunds that waited until 5 minutes before they are stuck, and the
        share that is **usual** here: customers who leave while paying. Far more than usual: webhooks are lost. Without
        a line for **usual**, it is not known yet.`,
      unit: "percent",
      size: [8, 10],
      links: runbook("VezaLedgerStuckOrders", "VezaLedgerStuckRefunds"),
      targets: [range(waitedLong, "{{check}} {{stage}}"), range(usualShare, "usual {{check}} {{stage}}")],
    }),
    { ...colorsOfChecks, ...colorsOfUsual },
  )
    .noValue("unknown: the rules do not record it")
    .overrideByQuery("B", [
      {
        id: "custom.lineStyle",
        value: { fill: "dot", dash: [0, 10] },
      },
    ])
    .min(0),
];
