import type { Builder } from "@grafana/grafana-foundation-sdk/cog";
import * as common from "@grafana/grafana-foundation-sdk/common";
import * as grafana from "@grafana/grafana-foundation-sdk/dashboard";
import {
  PanelBuilder as Heatmap,
  HeatmapColorMode,
  HeatmapColorOptionsBuilder,
  HeatmapColorScale,
  YAxisConfigBuilder,
} from "@grafana/grafana-foundation-sdk/heatmap";
import { DataqueryBuilder, PromQueryFormat } from "@grafana/grafana-foundation-sdk/prometheus";
import { PanelBuilder as Stat } from "@grafana/grafana-foundation-sdk/stat";
import { PanelBuilder as Table } from "@grafana/grafana-foundation-sdk/table";
import { PanelBuilder as TimeSeries } from "@grafana/grafana-foundation-sdk/timeseries";
import { acceptedMetric } from "../../lib/accepted.ts";
import { amountMetric } from "../../lib/amounts.ts";
import { blindnessMetric } from "../../lib/blindness.ts";
import {
  type Check,
  checkSuccessMetric,
  checks,
  oldestItemMetric,
  openAgeMetric,
  overdueMetric,
} from "../../lib/checks.ts";
import { phases, reconcilerMetric } from "../../lib/events.ts";
import { outboxMetric } from "../../lib/outbox.ts";
import { infoMetric, sampleDurationMetric, sampleTimestampMetric } from "../../lib/sample.ts";
import { alertOf, isPage, ranked, told } from "../checks.ts";

/** One page for each alert, named after it, and README.md as the index. */
const runbookUrl = "https://repository.example/docs/runbook";
const pageOf = (alert: string) => `${runbookUrl}/${alert}.md`;
// biome-ignore lint/suspicious/noTemplateCurlyInString: Grafana puts in the data source that the reader has chosen.
const datasource = { type: "prometheus", uid: "${datasource}" };
/** "All" is `.*`, which also selects series without the label: a set-up without STAGE sees its numbers too. */
const ofStage = 'stage=~"$stage"';
/** A gateway keeps the last numbers for ever. From this age on they are unknown, as in VezaLedgerSamplerSilent. */
const staleAfterSeconds = 180;

// PromQL. One series per stage everywhere, so that no stage hides another.

const lastTick = `max by (stage) (last_over_time(${sampleTimestampMetric}{${ofStage}}[1d]))`;
const fresh = `(time() - ${lastTick} <= ${staleAfterSeconds})`;
const lastRun = `max by (stage) (last_over_time(${reconcilerMetric.lastRun}{${ofStage}}[1d]))`;
/**
 * Selects series of our alerts, of the selected stages and of none. `matchers` start with a comma. VezaLedgerAlive, of
 * severity none, says nothing to people.
 */
const alerts = (metric: string, matchers: string) =>
  `${metric}{alertname=~"VezaLedger.+", severity!="none", stage=~"$stage|"${matchers}}`;
const firing = (matchers = "") => alerts("ALERTS", `, alertstate="firing"${matchers}`);
/** The pages that fire, for the marks over the charts. */
const pages = (offset = "") => `max by (alertname, check, stage) (${firing(', severity="page"')}${offset})`;
/**
 * One row for each alert that fires, with the seconds for which its condition has held. The longest comes first. It is
 * -1 where the rule engine does not say, as an older vmalert about a rule without `for:`.
 */
const firingAlerts =
  `sort_desc(max by (severity, alertname, check, reason, stage) (time() - ${alerts("ALERTS_FOR_STATE", "")}` +
  ` and ignoring (alertstate) ${firing()} or ${firing()} * 0 - 1))`;
const ofBothJobs = `job=~"veza_ledger|veza_reconciler", ${ofStage}`;
const successes = `${checkSuccessMetric}{${ofStage}}`;
const knownWithinADay = `count by (stage) (max_over_time(${successes}[1d]))`;
const countedNow = `(sum by (stage) (${successes}) and on (stage) ${fresh})`;
const unknownChecks = `${knownWithinADay} - (${countedNow} or ${knownWithinADay} * 0)`;

/**
 * The values of `known`, and -1 for every other stage that `series` had within a day. Without any stage it is one -1,
 * so that a tile whose series are gone is never grey.
 *
 * The stages keep one order whatever is known. An aggregation returns its groups in the order in which they first
 * appear, so the -1 of all stages comes first. The extra label keeps each -1 apart from the known value, which is
 * higher.
 */
const orUnknown = (known: string, series: string, by = "stage") =>
  `max by (${by}) (label_replace(max_over_time(${series}[1d]) * 0 - 1, "is", "unknown", "", "") or ${known}` +
  ` or -1 * absent_over_time(${series}[1d]))`;
/** Draws a gap while the sampler is silent, and not the gateway's last value. */
const whileTicking = (expr: string) => `(${expr}) and on (stage) ${fresh}`;
/** A check's count while the sampler ticks. */
const freshCount = ({ metric }: Check) => `max by (stage) (${metric}{${ofStage}}) and on (stage) ${fresh}`;
/** Seconds since a Unix time, at least 1: 0 means "never", as in the metrics. */
const ageOf = (time: string) => `clamp_min(time() - (${time} > 0), 1)`;
const hourly = (metric: string, by: string) => `sum by (${by}) (increase(${metric}{${ofStage}}[1h]))`;
/** No value where the total fell: increase(), good for a first hour, counts all that a dropped partition has left. */
const insertedInAnHour = (series: string) =>
  `sum by (table, stage) (${series} - ${series} offset 1h >= 0 or increase(${series}[1h]) unless ${series} offset 1h)`;
const quantile = (q: number) =>
  `histogram_quantile(${q}, sum by (le, stage) (rate(${reconcilerMetric.sweepDuration}_bucket{${ofStage}}[1h])))`;

/** A range query, for panels over time. The legend is a template such as `p50 {{stage}}`. */
const range = (expr: string, legend: string) => new DataqueryBuilder().expr(expr).legendFormat(legend).range();
/** An instant query: the last value of a range query may be hours old when the series has ended. */
const instant = (expr: string, legend: string) => new DataqueryBuilder().expr(expr).legendFormat(legend).instant();

/** What every panel has. `links` are its links to the runbook, which open from the icon next to the title. */
interface Frame {
  title: string;
  description: string;
  unit: "none" | "s";
  size: [width: number, height: number];
  links: Builder<grafana.DashboardLink>[];
  targets: DataqueryBuilder[];
}

/** The methods that the builders of all kinds of panels share. */
interface AnyPanel extends Builder<grafana.Panel> {
  title(title: string): this;
  description(description: string): this;
  unit(unit: string): this;
  decimals(decimals: number): this;
  span(width: number): this;
  height(height: number): this;
  datasource(datasource: common.DataSourceRef): this;
  links(links: Builder<grafana.DashboardLink>[]): this;
  targets(targets: DataqueryBuilder[]): this;
}

function frame<Panel extends AnyPanel>(panel: Panel, frame: Frame): Panel {
  return panel
    .title(frame.title)
    .description(frame.description.replaceAll(/\n +/g, " "))
    .unit(frame.unit)
    .decimals(frame.unit === "s" ? 1 : 0)
    .span(frame.size[0])
    .height(frame.size[1])
    .datasource(datasource)
    .links(frame.links)
    .targets(frame.targets.map((target, index) => target.refId(refId(index)).datasource(datasource)));
}

/** `A` for the first query of a panel. */
const refId = (index: number) => String.fromCharCode(65 + index);

function link(title: string, url: string, targetBlank = true): Builder<grafana.DashboardLink> {
  // The builder always sets `placement`, which would move the dashboard's link out of sight, into a menu.
  const { placement, ...visible } = new grafana.DashboardLinkBuilder(title).url(url).targetBlank(targetBlank).build();
  return { build: () => visible };
}

/** Links to the runbook's pages about these alerts. */
const runbook = (...names: string[]) => names.map((alert) => link(`Runbook: ${alert}`, pageOf(alert)));

/**
 * Big numbers, one per stage and below each other, on a background that says how bad it is. A click selects the stage.
 */
const stat = (about: Frame) =>
  frame(new Stat(), about)
    .reduceOptions(new common.ReduceDataOptionsBuilder().calcs(["lastNotNull"]))
    .graphMode(common.BigValueGraphMode.None)
    .colorMode(common.BigValueColorMode.Background)
    .orientation(common.VizOrientation.Horizontal)
    // Below its name, a value takes the room that it has: large for one stage, and "unknown" still fits at two.
    .wideLayout(false)
    .text(new common.VizTextDisplayOptionsBuilder().titleSize(13))
    .dataLinks([
      link(
        "This stage alone",
        // biome-ignore lint/suspicious/noTemplateCurlyInString: Grafana puts these in.
        "/d/veza-ledger?var-datasource=${datasource}&var-stage=${__field.labels.stage}&${__url_time_range}",
        false,
      ),
    ]);

/** Wide ones have their legend next to them, with one value: the highest where a tile has the current one. */
const timeSeries = (about: Frame, calc: "max" | "lastNotNull" = "max") => {
  const isWide = about.size[0] > 12;
  const legend = new common.VizLegendOptionsBuilder()
    .showLegend(true)
    .displayMode(isWide ? common.LegendDisplayMode.Table : common.LegendDisplayMode.List)
    .placement(isWide ? common.LegendPlacement.Right : common.LegendPlacement.Bottom)
    .calcs(isWide ? [calc] : []);
  const panel = frame(new TimeSeries(), about)
    .lineInterpolation(common.LineInterpolation.StepAfter)
    .lineWidth(2)
    .fillOpacity(0)
    .noValue(noSeries)
    .legend(legend)
    .tooltip(new common.VizTooltipOptionsBuilder().mode(common.TooltipDisplayMode.Multi))
    // Each check has one colour, and so production's lines are solid, and other stages' lines are dashed.
    .overrideByRegexp("/(?<! |prod|production)$/", [{ id: "custom.lineStyle", value: { fill: "dash", dash: [4, 6] } }]);
  // Where all is 0, Grafana would draw an axis up to 100.
  return about.unit === "none" ? panel.axisSoftMax(5) : panel;
};

const textFor = (texts: Record<string, [text: string, color: string]>): grafana.ValueMap => ({
  type: grafana.MappingType.ValueToText,
  options: Object.fromEntries(
    Object.entries(texts).map(([value, [text, color]], index) => [value, { text, color, index }]),
  ),
});

/** Green up to the first step. */
const thresholds = (steps: Record<number, string>) =>
  new grafana.ThresholdsConfigBuilder()
    .mode(grafana.ThresholdsMode.Absolute)
    .steps([
      { value: null, color: "green" },
      ...Object.entries(steps).map(([value, color]) => ({ value: Number(value), color })),
    ]);

const colored = (color: string): grafana.DynamicConfigValue[] => [
  { id: "color", value: { mode: "fixed", fixedColor: color } },
];

/** The colours of lines whose names begin with these words. */
function colorLines<Panel extends TimeSeries>(panel: Panel, colors: Record<string, string>): Panel {
  for (const [name, color] of Object.entries(colors)) panel.overrideByRegexp(`/^${name}\\b/`, colored(color));
  return panel;
}
const colorsOfChecks = Object.fromEntries(ranked.map(({ id }) => [id, told[id].color]));

const noSeries = "unknown: no series";
/** For a cell without a value. Grafana would put the message of the empty table there. */
const blank: grafana.DynamicConfigValue = { id: "noValue", value: "" };
const unknown: [string, string] = ["unknown", "purple"];
const never: [string, string] = ["never", "red"];
const titleOf = (id: string) => id.charAt(0).toUpperCase() + id.slice(1).replaceAll("_", " ");
const whatUnknownIs = `**unknown** is never 0. The check failed (the sampler's log says why: "check failed"), or the
  sampler's last tick is over ${staleAfterSeconds / 60} minutes old, or there is none.`;

/** At most five tiles in a line. Columns that are left over make the last tiles wider. */
function tileWidth(index: number): number {
  const perLine = Math.ceil(ranked.length / Math.ceil(ranked.length / 5));
  const wider = index % perLine >= perLine - (24 % perLine);
  return Math.floor(24 / perLine) + (wider ? 1 : 0);
}

/**
 * Stages and amounts next to each other where there is room: below each other, six of them would be too small to read.
 * An amount has no colour: the thresholds are for the count.
 */
function checkPanel(check: Check, index: number): Stat {
  const { hint } = told[check.id];
  return stat({
    title: titleOf(check.id),
    description: `${check.help} ${hint}\n\n${whatUnknownIs}\n\nThe runbook has the query that lists the rows. Next to
      the count stands their money by currency, where the owner of the ledger shows it (docs/amounts.md), and how many
      of them somebody has **accepted**: the alerts leave these out.`,
    unit: "none",
    size: [tileWidth(index), 7],
    links: runbook(alertOf(check), "VezaLedgerBacklogGrowing", ...(isPage(check) ? [] : ["VezaLedgerRowsTooOld"])),
    targets: [
      instant(orUnknown(freshCount(check), `${check.metric}{${ofStage}}`), "{{stage}}"),
      instant(
        whileTicking(`max by (stage, currency) (${amountMetric}{check="${check.id}", ${ofStage}})`),
        "{{currency}} {{stage}}",
      ),
      instant(
        whileTicking(`max by (stage) (${acceptedMetric}{check="${check.id}", ${ofStage}}) > 0`),
        "accepted {{stage}}",
      ),
    ],
  })
    .orientation(common.VizOrientation.Auto)
    .overrideByQuery("B", [{ id: "decimals", value: 2 }, ...colored("transparent")])
    .overrideByQuery("C", colored("transparent"))
    .mappings([textFor({ "-1": unknown })])
    .thresholds(thresholds(isPage(check) ? { 1: "red" } : { 1: "orange", 10: "red" }));
}

/** Nine rows fit at this height: 36 pixels for a row, 34 for the header. More than nine scroll. */
const firingPanel = (): AnyPanel =>
  frame(new Table(), {
    title: "Firing alerts",
    description: `The alerts that fire now for the selected stages: pages first, and the longest first. A click on a
      name opens its page of the runbook. **active for**: how long its condition has held. A page wakes somebody; a
      ticket waits for office hours.\n\nThe list is empty, too, where no rules are loaded. Look at the tiles next to
      it.`,
    unit: "none",
    size: [14, 11],
    links: [link("Runbook: all alerts", pageOf("README"))],
    targets: [instant(firingAlerts, "{{alertname}}").format(PromQueryFormat.Table)],
  })
    .noValue("No alert fires, if the rules are loaded.")
    .withTransformation({
      id: "organize",
      options: {
        excludeByName: { Time: true },
        indexByName: { severity: 0, alertname: 1, check: 2, reason: 3, stage: 4, Value: 5 },
        renameByName: { alertname: "alert", Value: "active for" },
      },
    })
    .sortBy([new common.TableSortByFieldStateBuilder().displayName("severity").desc(false)])
    .overrideByName("severity", [
      { id: "custom.width", value: 75 },
      { id: "custom.cellOptions", value: { type: "color-text" } },
      { id: "mappings", value: [textFor({ page: ["page", "red"], ticket: ["ticket", "orange"] })] },
    ])
    .overrideByName("alert", [
      // biome-ignore lint/suspicious/noTemplateCurlyInString: Grafana puts in the alert's name.
      { id: "links", value: [{ title: "Runbook", url: pageOf("${__value.raw}"), targetBlank: true }] },
    ])
    .overrideByName("check", [{ id: "custom.width", value: 150 }, blank])
    .overrideByName("reason", [{ id: "custom.width", value: 130 }, blank])
    .overrideByName("stage", [{ id: "custom.width", value: 95 }, blank])
    .overrideByName("active for", [
      { id: "custom.width", value: 100 },
      { id: "custom.align", value: "right" },
      { id: "unit", value: "s" },
      { id: "decimals", value: 1 },
      { id: "mappings", value: [textFor({ "-1": unknown })] },
    ]);

const trustPanels = (): AnyPanel[] => [
  stat({
    title: "Since the last tick",
    description: `Time since the sampler's last tick, by the sampler's clock. It ticks every minute. After
      ${staleAfterSeconds / 60} minutes every count is old: see whether the sampler runs, and read its log. The time
      keeps growing while the gateway is gone. **unknown**: no tick within a day.`,
    unit: "s",
    size: [5, 5],
    links: runbook("VezaLedgerSamplerSilent", "VezaLedgerSamplerAbsent", "VezaLedgerAlive"),
    targets: [
      instant(orUnknown(`clamp_min(time() - ${lastTick}, 0)`, `${sampleTimestampMetric}{${ofStage}}`), "{{stage}}"),
    ],
  })
    .decimals(0)
    .orientation(common.VizOrientation.Vertical)
    .mappings([textFor({ "-1": unknown })])
    .thresholds(thresholds({ 120: "orange", [staleAfterSeconds]: "red" })),
  stat({
    title: "Unknown checks",
    description: `Checks without a count now: failed, missing, or old because the sampler is silent. 0 is good. The
      sampler's log names each failed check and the reason ("check failed"): a missing column, a missing right, a lock,
      a time-out. **unknown**: no check within a day.`,
    unit: "none",
    size: [5, 5],
    links: runbook("VezaLedgerCheckFailing"),
    targets: [instant(orUnknown(unknownChecks, successes), "{{stage}}")],
  })
    .orientation(common.VizOrientation.Vertical)
    .mappings([textFor({ "-1": unknown })])
    .thresholds(thresholds({ 1: "orange", [checks.length]: "red" })),
  stat({
    title: "Latest push",
    description: `Did the Pushgateway take the latest push of each job? veza_ledger is the sampler; veza_reconciler is
      the reconciler's totals. **refused**: the push contradicts what the gateway holds, mostly a metric of another type
      in another group. The gateway's log and ours have the reason. **unknown**: the sampler is silent, or there is no
      Pushgateway (VictoriaMetrics keeps no push times).`,
    unit: "none",
    size: [5, 6],
    links: runbook("VezaLedgerAnotherWriter"),
    targets: [
      instant(
        orUnknown(
          `max by (job, stage) (push_failure_time_seconds{${ofBothJobs}})` +
            ` > bool max by (job, stage) (push_time_seconds{${ofBothJobs}}) and on (stage) ${fresh}`,
          `push_time_seconds{${ofBothJobs}}`,
          "job, stage",
        ),
        "{{job}} {{stage}}",
      ),
    ],
  })
    .wideLayout(true)
    .text(new common.VizTextDisplayOptionsBuilder().titleSize(12).valueSize(18))
    .mappings([textFor({ "-1": unknown, 0: ["taken", "green"], 1: ["refused", "red"] })])
    .thresholds(thresholds({ 1: "red" })),
  timeSeries({
    title: "Duration of a sample",
    description: `How long the sampler takes until its last count is there. The duration rises before checks time out
      and become unknown. Look at the load on Postgres, and whether the indexes of config/postgres/indexes.sql exist.`,
    unit: "s",
    size: [5, 6],
    links: runbook("VezaLedgerCheckFailing"),
    targets: [
      range(`max by (stage) (${sampleDurationMetric}{${ofStage}}) and on (stage) ${fresh}`, "sample {{stage}}"),
    ],
  })
    .overrideByQuery("A", colored("#3274D9"))
    .min(0),
];

const moneyPanels = (): AnyPanel[] => [
  timeSeries({
    title: "Money at risk",
    description: `Of the rows that the checks count, all checks together, by currency. Empty while no row counts, and
      where the owner of the ledger does not show it (docs/amounts.md).`,
    unit: "none",
    size: [8, 10],
    links: runbook("VezaLedgerRowsTooOld"),
    targets: [range(whileTicking(`sum by (stage, currency) (${amountMetric}{${ofStage}})`), "{{currency}} {{stage}}")],
  })
    .noValue("unknown or none: no amounts")
    .min(0),
  colorLines(
    timeSeries({
      title: "Overdue rows",
      description: `What the alerts compare: rows that count, that wait for longer than their alert allows, and that
        nobody has accepted. **accepted**: rows that somebody knows of, of all checks together. The runbook says how to
        accept a row; \`npm run doctor -- sampler\` lists who did it and why.`,
      unit: "none",
      size: [16, 10],
      links: [link("Runbook: accept a row that is known", pageOf("README"))],
      targets: [
        range(whileTicking(`max by (check, stage) (${overdueMetric}{${ofStage}})`), "{{check}} {{stage}}"),
        range(whileTicking(`sum by (stage) (${acceptedMetric}{${ofStage}})`), "accepted {{stage}}"),
      ],
    }),
    { ...colorsOfChecks, accepted: "text" },
  ).min(0),
];

/** Where the tick does not know it, the age of the oldest row that was last counted keeps growing. */
const oldestAge =
  `max by (check, stage) (${openAgeMetric}{${ofStage}} and on (stage) ${fresh}` +
  ` or ${ageOf(`last_over_time(${oldestItemMetric}{${ofStage}}[1d])`)})`;

const detailPanels = (): AnyPanel[] => [
  stat({
    title: "Age of the oldest row",
    description: `Of the rows that nobody has accepted, the oldest first: how long ago the row was written; for
      transfers, last changed. **none**: no such row. **no time**: none of them has one. While the check fails or the
      sampler is silent, the age of the last count's oldest row, accepted or not, keeps growing. Somebody has waited
      longest for the oldest. A ticket that is open for a day becomes a page.`,
    unit: "s",
    size: [8, 10],
    links: runbook("VezaLedgerRowsTooOld", ...ranked.map(alertOf)),
    targets: [instant(`sort_desc(${orUnknown(oldestAge, successes, "check, stage")})`, "{{check}} {{stage}}")],
  })
    .colorMode(common.BigValueColorMode.Value)
    .wideLayout(true)
    .text(new common.VizTextDisplayOptionsBuilder().titleSize(14).valueSize(18))
    .mappings([textFor({ "-1": unknown, 0: ["none", "green"], Infinity: ["no time", "red"] })])
    .thresholds(thresholds({ 1: "orange", 86400: "red" })),
  colorLines(
    timeSeries({
      title: "The counts over time",
      description: `The same counts as above: did it start suddenly, and does it go down again? A gap means unknown,
        not 0; the purple area says how many checks were unknown. Compare a rise with the red marks (pages), the blue
        marks (annotations tagged \`deploy\`), and the providers' status pages.`,
      unit: "none",
      size: [16, 10],
      links: runbook("VezaLedgerBacklogGrowing", "VezaLedgerCheckFailing"),
      targets: [
        ...ranked.map((check) => range(`(${freshCount(check)}) >= 0`, `${check.id} {{stage}}`)),
        range(unknownChecks, "unknown checks {{stage}}"),
      ],
    }),
    colorsOfChecks,
  )
    .overrideByQuery(refId(ranked.length), [
      ...colored("purple"),
      { id: "custom.fillOpacity", value: 25 },
      { id: "custom.lineWidth", value: 0 },
    ])
    .min(0),
];

const reconcilerPanels = (): AnyPanel[] => [
  stat({
    title: "Since the last sweep",
    description: `Time since the reconciler's latest sweep ended, as the reconciler reported it. **never**: no sweep was
      reported yet. **unknown**: no totals within a day, or the sampler is silent. Far above the usual pause: see
      whether the reconciler runs, and whether its deliveries are answered with 200.`,
    unit: "s",
    size: [5, 8],
    links: runbook("VezaLedgerReconcilerDead"),
    targets: [
      instant(
        orUnknown(whileTicking(`${ageOf(lastRun)} or ${lastRun} == 0`), `${reconcilerMetric.lastRun}{${ofStage}}`),
        "{{stage}}",
      ),
    ],
  })
    .mappings([textFor({ "-1": unknown, 0: never })])
    .thresholds(thresholds({ 600: "orange", 900: "red" })),
  colorLines(
    timeSeries({
      title: "Rows repaired in the last hour",
      description: `Repairs by phase of the sweep (${phases.join(", ")}). Each point counts the hour before it. Counts
        above that do not fall while this is 0: the reconciler does not find those rows, or fails on them. A jump by the
        whole total means that a counter was reset. While **counters are held**, repairs do not show: Postgres has lost
        events.`,
      unit: "none",
      size: [11, 8],
      links: runbook("VezaLedgerStuckOrders", "VezaLedgerAnotherWriter", "VezaLedgerEventsLost"),
      targets: [
        range(hourly(reconcilerMetric.actions, "phase, stage"), "{{phase}} {{stage}}"),
        range(`max by (stage) (${reconcilerMetric.held}{${ofStage}})`, "counters held {{stage}}"),
      ],
    }),
    // A phase has the name of the check whose rows it repairs.
    { ...colorsOfChecks, counters: "red" },
  ).min(0),
  timeSeries({
    title: "Orphan refunds failed in the last hour",
    description: `Refunds that the reconciler marked as failed because the provider was never asked for them. Each point
      counts the hour before it. Each refund is a crash between our two steps: find it in the backend's log.`,
    unit: "none",
    size: [8, 8],
    links: runbook("VezaLedgerOrphanRefunds"),
    targets: [range(hourly(reconcilerMetric.orphanRefunds, "stage"), "failed {{stage}}")],
  })
    .overrideByQuery("A", colored(told.orphan_refunds.color))
    .min(0),
  timeSeries({
    title: "Duration of a sweep",
    description: `Of the sweeps in the hour before each point: half took at most the median, and none took more than the
      longest. Both are estimates from the histogram's buckets; a sweep beyond the largest bucket is drawn there. A gap:
      no sweep in that hour. Rising: more is stuck, or Postgres or a provider is slow.`,
    unit: "s",
    size: [12, 9],
    links: runbook("VezaLedgerReconcilerDead"),
    targets: [range(quantile(0.5), "median {{stage}}"), range(quantile(1), "longest {{stage}}")],
  })
    .overrideByQuery("A", colored("#3274D9"))
    .overrideByQuery("B", colored("#1FA5B5"))
    .min(0),
  frame(new Heatmap(), {
    title: "Sweeps by duration",
    description: `How many sweeps took how long, in columns of half an hour (more on long ranges), all selected stages
      together. Two bands: two kinds of sweeps. A rising band: the reconciler falls behind. An empty column: no sweep.
      The current half hour appears when it is over.`,
    unit: "none",
    size: [12, 9],
    links: runbook("VezaLedgerReconcilerDead"),
    targets: [
      // A difference of totals: increase() estimates, and misses what falls between two windows.
      range(
        `sum by (le) (clamp_min(BUCKETS - BUCKETS offset $__interval, 0))`.replaceAll(
          "BUCKETS",
          `${reconcilerMetric.sweepDuration}_bucket{${ofStage}}`,
        ),
        "{{le}}",
      ).format(PromQueryFormat.Heatmap),
    ],
  })
    // Of the panel, not of the query, so that a cell is as wide as what it counts. Half an hour holds about six sweeps.
    .interval("30m")
    .noValue(noSeries)
    .color(
      new HeatmapColorOptionsBuilder()
        .mode(HeatmapColorMode.Scheme)
        .scheme("Oranges")
        .fill("dark-orange")
        .scale(HeatmapColorScale.Exponential)
        .exponent(0.5)
        .steps(64)
        // From 0, so that a single sweep stands out.
        .min(0),
    )
    .yAxis(new YAxisConfigBuilder().unit("s").decimals(1)),
];

const outboxOldest = `max by (stage) (${outboxMetric.oldest}{${ofStage}})`;

/** 1 where the rules know how often rows come in and the evidence is there, 2 where the alert fires, else 0. */
const watched =
  `max by (check, stage) ((last_over_time(veza_ledger:unwatched:usual{${ofStage}}[15m]) ^ 0` +
  ` and ${blindnessMetric.success}{${ofStage}} == 1 or ${blindnessMetric.success}{${ofStage}} * 0)` +
  ` and on (stage) ${fresh}` +
  ` or ${firing(', alertname="VezaLedgerCheckBlind", check!=""')} * 2)`;
/** When the last tick of each sampler started. In steps of 15 s: one of two samplers may be seen for seconds only. */
const lastTickOfEach =
  `max by (stage, database, region, version) (max_over_time((${infoMetric}{${ofStage}}` +
  ` * on (stage) group_left () max by (stage) (${sampleTimestampMetric}{${ofStage}}))[1h:15s]))`;

/** A table has the colour of its first check. */
const colorsOfTables = Object.fromEntries(ranked.toReversed().map(({ table, id }) => [table, told[id].color]));

const evidencePanels = (): AnyPanel[] => [
  stat({
    title: "Would a blind check be noticed?",
    description: `**watched**: enough rows came in lately that their absence would raise VezaLedgerCheckBlind. **not
      watched**: too few rows to tell a blind check from a quiet ledger, so that its 0 proves little: ask \`npm run
      doctor -- sampler\` after each release. **blind?**: the alert fires. **unknown**: nothing is sampled.`,
    unit: "none",
    size: [8, 10],
    links: runbook("VezaLedgerCheckBlind"),
    targets: [instant(`sort_desc(${orUnknown(watched, successes, "check, stage")})`, "{{check}} {{stage}}")],
  })
    .colorMode(common.BigValueColorMode.Value)
    .wideLayout(true)
    .text(new common.VizTextDisplayOptionsBuilder().titleSize(14).valueSize(18))
    .mappings([
      textFor({ "-1": unknown, 0: ["not watched", "blue"], 1: ["watched", "green"], 2: ["blind?", "orange"] }),
    ]),
  colorLines(
    timeSeries(
      {
        title: "Age of the newest row watched",
        description: `How long ago the newest row came into the state that the check watches, of any age. Much longer
          than usual: nothing comes in, or the check looks for a status that rows no longer have. A gap: there is no
          such row. The scale is logarithmic: one line shows seconds and weeks.`,
        unit: "s",
        size: [16, 10],
        links: runbook("VezaLedgerCheckBlind"),
        targets: [
          range(
            whileTicking(ageOf(`max by (check, stage) (${blindnessMetric.newest}{${ofStage}})`)),
            "{{check}} {{stage}}",
          ),
        ],
      },
      "lastNotNull",
    ).scaleDistribution(
      // Orders come in every minute, and a transfer fails once in weeks.
      new common.ScaleDistributionConfigBuilder().type(common.ScaleDistribution.Log).log(10),
    ),
    colorsOfChecks,
  ),
  colorLines(
    timeSeries({
      title: "Rows inserted in the last hour",
      description: `By Postgres' statistics; for a view, into its one table. Rows come in while a check sees none: it
        may be blind. A gap of an hour: the statistics, or a partition, were dropped.`,
      unit: "none",
      size: [8, 8],
      links: runbook("VezaLedgerCheckBlind"),
      targets: [range(whileTicking(insertedInAnHour(`${blindnessMetric.inserts}{${ofStage}}`)), "{{table}} {{stage}}")],
    }),
    colorsOfTables,
  ).min(0),
  colorLines(
    timeSeries({
      title: "Rows that can never count",
      description: `Rows in a watched state without a time (**no_time**), or with a time over 5 minutes ahead
        (**ahead**), of all checks together. VezaLedgerRowsOutside names the check.`,
      unit: "none",
      size: [8, 8],
      links: runbook("VezaLedgerRowsOutside"),
      targets: [
        range(whileTicking(`sum by (reason, stage) (${blindnessMetric.outside}{${ofStage}})`), "{{reason}} {{stage}}"),
      ],
    }),
    { no_time: "#3274D9", ahead: "#1FA5B5" },
  ).min(0),
  colorLines(
    timeSeries({
      title: "Outbox of the reconciler",
      description: `Deliveries that wait (**waiting**), that have waited for over 15 minutes (**late**), and that the
        receiver has refused (**parked**). Next to them, for how many minutes the oldest has waited. Empty where the
        outbox is in another database.`,
      unit: "none",
      size: [8, 8],
      links: runbook("VezaLedgerOutboxStuck"),
      targets: [
        range(whileTicking(`max by (state, stage) (${outboxMetric.rows}{${ofStage}})`), "{{state}} {{stage}}"),
        range(whileTicking(`(${ageOf(outboxOldest)} or ${outboxOldest}) / 60`), "minutes waited {{stage}}"),
      ],
    }),
    { waiting: "#3274D9", late: "#A39400", parked: "#E0439B", minutes: "#808890" },
  )
    .noValue("unknown: no outbox in this database")
    .min(0),
  frame(new Table(), {
    title: "Who counts",
    description: `Each sampler that was seen within an hour: the database that it counts, its region and its version.
      Two rows of one stage with a last tick of seconds ago: two samplers overwrite each other's numbers. After a
      deployment, the version before it stays for an hour.`,
    unit: "s",
    size: [24, 8],
    links: runbook("VezaLedgerAnotherWriter"),
    targets: [instant(`sort_desc(time() - ${lastTickOfEach})`, "{{database}}").format(PromQueryFormat.Table)],
  })
    .noValue("unknown: no sampler within an hour")
    .withTransformation({
      id: "organize",
      options: {
        excludeByName: { Time: true },
        indexByName: { stage: 0, database: 1, region: 2, version: 3, Value: 4 },
        renameByName: { Value: "last tick" },
      },
    })
    .sortBy([new common.TableSortByFieldStateBuilder().displayName("stage").desc(false)])
    .overrideByName("stage", [{ id: "custom.width", value: 95 }, blank])
    .overrideByName("region", [{ id: "custom.width", value: 130 }, blank])
    .overrideByName("version", [{ id: "custom.width", value: 100 }, blank])
    .overrideByName("last tick", [
      { id: "custom.width", value: 100 },
      { id: "custom.align", value: "right" },
    ]),
];

/** In the classic format, not the newer v2: every Grafana imports it. */
export function ledgerDashboard(): grafana.Dashboard {
  const stages = `label_values(${sampleDurationMetric}, stage)`;
  const builder = new grafana.DashboardBuilder("Veza ledger")
    .uid("veza-ledger")
    .description("Is money stuck, can these numbers be trusted, and is the reconciler winning?")
    .tags(["veza", "ledger"])
    .readonly()
    .refresh("1m")
    .time({ from: "now-6h", to: "now" })
    .timezone("browser")
    .tooltip(grafana.DashboardCursorSync.Crosshair)
    .link(link("Runbook", pageOf("README")))
    .annotations([
      new grafana.AnnotationQueryBuilder()
        .name("Pages")
        .datasource(datasource)
        .enable(true)
        .iconColor("red")
        // Only its start: a page that fires for days would tint all panels for days.
        .expr(`${pages()} unless ${pages(" offset 1m")}`)
        .step("60s")
        .titleFormat("{{alertname}}")
        .textFormat("{{check}} {{stage}}"),
      // Your pipeline posts them: the runbook says how.
      new grafana.AnnotationQueryBuilder()
        .name("Deploys")
        .datasource({ type: "grafana", uid: "-- Grafana --" })
        .enable(true)
        .iconColor("blue")
        .target({ build: () => ({ type: "tags", tags: ["deploy"], matchAny: true, limit: 100 }) as never }),
    ])
    .variables([
      new grafana.DatasourceVariableBuilder("datasource").label("Prometheus").type("prometheus"),
      new grafana.QueryVariableBuilder("stage")
        .label("Stage")
        .datasource(datasource)
        .query(stages)
        .definition(stages)
        .refresh(grafana.VariableRefresh.OnTimeRangeChanged)
        .sort(grafana.VariableSort.AlphabeticalAsc)
        .multi(true)
        .includeAll(true)
        .allValue(".*")
        .current({ selected: true, text: ["All"], value: ["$__all"] }),
    ]);
  const rows: [title: string, panels: AnyPanel[]][] = [
    ["What fires, and can I believe this?", [firingPanel(), ...trustPanels()]],
    ["Is money stuck?", [...ranked.map(checkPanel), ...moneyPanels()]],
    ["How bad is it?", detailPanels()],
    ["Is the reconciler winning?", reconcilerPanels()],
    ["Could a check have missed something?", evidencePanels()],
  ];
  for (const [title, panels] of rows) {
    builder.withRow(new grafana.RowBuilder(title));
    for (const panel of panels) builder.withPanel(panel);
  }
  const dashboard = builder.build();
  const panels = (dashboard.panels ?? []) as grafana.Panel[];
  for (const [index, panel] of panels.entries()) panel.id = index + 1;
  arrange(panels);
  return dashboard;
}

/**
 * Puts each panel as far up as it fits, and then as far left. The builder cannot put two panels next to a taller one.
 */
function arrange(panels: grafana.Panel[]): void {
  const bottoms = Array<number>(24).fill(0);
  for (const { gridPos } of panels) {
    if (!gridPos) continue;
    const { w, h } = gridPos;
    const places = Array.from({ length: 24 - w + 1 }, (_, x) => ({ x, y: Math.max(...bottoms.slice(x, x + w)) }));
    const highest = places.reduce((best, place) => (place.y < best.y ? place : best));
    Object.assign(gridPos, highest);
    bottoms.fill(highest.y + h, highest.x, highest.x + w);
  }
}
