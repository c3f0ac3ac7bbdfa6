import { writeFile } from "node:fs/promises";
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
import { type Check, checkSuccessMetric, checks, oldestItemMetric } from "../../lib/checks.ts";
import { phases, reconcilerMetric } from "../../lib/events.ts";
import { sampleDurationMetric, sampleTimestampMetric } from "../../lib/sample.ts";

const runbookUrl = "https://repository.example/docs/runbook";
// biome-ignore lint/suspicious/noTemplateCurlyInString: Grafana puts in the data source that the reader has chosen.
const datasource = { type: "prometheus", uid: "${datasource}" };
/** All is `.*`, which also selects series without the label: a setup without STAGE sees its numbers too. */
const ofStage = 'stage=~"$stage"';
/** A gateway keeps the sampler's last numbers for ever: they are unknown from when VezaLedgerSamplerSilent looks up. */
const staleAfterSeconds = 180;

interface Advice {
  /** What to ask oneself when the check counts something. */
  hint: string;
  /** Whether its alert wakes somebody: those come first, and are red at once. The others are orange up to 10. */
  pages?: true;
  /** Of its lines, in every panel. Green, orange, red and purple say how bad something is. */
  color: string;
}
const advice: Record<string, Advice> = {
  stuck_orders: {
    hint: "Do the provider's webhooks still arrive, and do we accept them?",
    pages: true,
    color: "#3274D9",
  },
  orphan_refunds: {
    hint: "The worst of them: nobody has been asked to pay these customers.",
    pages: true,
    color: "#E0439B",
  },
  stuck_refunds: {
    hint: "Which final webhooks never came? The provider knows how these refunds ended.",
    color: "#1FA5B5",
  },
  failed_transfers: { hint: "Nothing tries these again by itself: why does Stripe refuse them?", color: "#A39400" },
  pending_reversals: { hint: "Does the reversal worker run?", color: "#808890" },
};
function adviceOn(id: string): Advice {
  const found = advice[id];
  if (!found) throw new Error(`config/grafana/dashboard.ts has no advice about ${id}`);
  return found;
}
const rank = ({ id }: Check) => (advice[id]?.pages ? 0 : 1);
const ranked = checks.toSorted((a, b) => rank(a) - rank(b));

// PromQL. One series per stage everywhere, so that no stage hides another.

const lastTick = `max by (stage) (last_over_time(${sampleTimestampMetric}{${ofStage}}[1d]))`;
const fresh = `(time() - ${lastTick} <= ${staleAfterSeconds})`;
const oldest = ({ id }: Check) => `${oldestItemMetric}{check="${id}", ${ofStage}}`;
const lastRun = `max by (stage) (last_over_time(${reconcilerMetric.lastRun}{${ofStage}}[1d]))`;
/** The alerts that fire, of the selected stages and of none. `matchers` start with a comma. */
const firing = (matchers = "", offset = "") =>
  `ALERTS{alertname=~"VezaLedger.+", alertstate="firing", stage=~"$stage|"${matchers}}${offset}`;
const pages = (offset = "") => `max by (alertname, check, stage) (${firing(', severity="page"', offset)})`;
const ofBothJobs = `job=~"veza_ledger|veza_reconciler", ${ofStage}`;
const successes = `${checkSuccessMetric}{${ofStage}}`;
const knownWithinADay = `count by (stage) (max_over_time(${successes}[1d]))`;
const unknownChecks = `${knownWithinADay} - ((sum by (stage) (${successes}) and on (stage) ${fresh}) or ${knownWithinADay} * 0)`;

/**
 * What `known` knows, and -1 for all else: for a stage that `series` had within a day, and, when no stage had, without one. So
 * a tile whose series are gone says that it knows nothing, and is never grey.
 */
const orUnknown = (known: string, series: string, by = "stage") =>
  `${known} or max by (${by}) (max_over_time(${series}[1d])) * 0 - 1 or -1 * absent_over_time(${series}[1d])`;
/** A check's count while the sampler ticks. */
const freshCount = ({ metric }: Check) => `max by (stage) (${metric}{${ofStage}}) and on (stage) ${fresh}`;
/** Seconds since a Unix time, at least 1: 0 stays free for "there is none", which is how such metrics say it. */
const ageOf = (time: string) => `clamp_min(time() - (${time} > 0), 1)`;
const hourly = (metric: string, by: string) => `sum by (${by}) (increase(${metric}{${ofStage}}[1h]))`;
const quantile = (q: number) =>
  `histogram_quantile(${q}, sum by (le, stage) (rate(${reconcilerMetric.sweepDuration}_bucket{${ofStage}}[1h])))`;

/** A range query, for panels over time. The legend is a template such as `p50 {{stage}}`. */
const range = (expr: string, legend: string) => new DataqueryBuilder().expr(expr).legendFormat(legend).range();
/** An instant query: a range query's last value may be hours old when the series has ended. */
const instant = (expr: string, legend: string) => new DataqueryBuilder().expr(expr).legendFormat(legend).instant();

/** What every panel has. Each name of an alert becomes a link to its page of the runbook. */
interface Frame {
  title: string;
  description: string;
  unit: "none" | "s";
  size: [width: number, height: number];
  alerts: string[];
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
    .links(frame.alerts.map((alert) => link(`Runbook: ${alert}`, `${runbookUrl}/${alert}.md`)))
    .targets(frame.targets.map((target, index) => target.refId(refId(index)).datasource(datasource)));
}

/** `A` for the first query of a panel. */
const refId = (index: number) => String.fromCharCode(65 + index);

function link(title: string, url: string, targetBlank = true): Builder<grafana.DashboardLink> {
  // The builder always sets `placement`, which would move the dashboard's link out of sight, into a menu.
  const { placement, ...visible } = new grafana.DashboardLinkBuilder(title).url(url).targetBlank(targetBlank).build();
  return { build: () => visible };
}

/** Big numbers, one per series and below each other, on a background that says how bad it is. A click selects the stage. */
const stat = (about: Frame) =>
  frame(new Stat(), about)
    .reduceOptions(new common.ReduceDataOptionsBuilder().calcs(["lastNotNull"]))
    .graphMode(common.BigValueGraphMode.None)
    .colorMode(common.BigValueColorMode.Background)
    .orientation(common.VizOrientation.Horizontal)
    // Sizes of its own choice would run over the edge at two stages and "unknown".
    .text(new common.VizTextDisplayOptionsBuilder().titleSize(14).valueSize(24))
    .dataLinks([
      link(
        "This stage alone",
        // biome-ignore lint/suspicious/noTemplateCurlyInString: Grafana puts these in.
        "/d/veza-ledger?var-datasource=${datasource}&var-stage=${__field.labels.stage}&${__url_time_range}",
        false,
      ),
    ]);

/** Wide ones have their legend beside them, with the highest value: the tiles say what is now. Narrow ones have it below. */
const timeSeries = (about: Frame) => {
  const isWide = about.size[0] > 12;
  const legend = new common.VizLegendOptionsBuilder()
    .showLegend(true)
    .displayMode(isWide ? common.LegendDisplayMode.Table : common.LegendDisplayMode.List)
    .placement(isWide ? common.LegendPlacement.Right : common.LegendPlacement.Bottom)
    .calcs(isWide ? ["max"] : []);
  const panel = frame(new TimeSeries(), about)
    .lineInterpolation(common.LineInterpolation.StepAfter)
    .lineWidth(2)
    .fillOpacity(0)
    .noValue(noSeries)
    .legend(legend)
    .tooltip(new common.VizTooltipOptionsBuilder().mode(common.TooltipDisplayMode.Multi))
    // Each check has one colour, and so production's lines are solid, and those of other stages dashed.
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

const noSeries = "unknown: no series";
const blank: grafana.DynamicConfigValue[] = [{ id: "noValue", value: "" }];
const unknown: [string, string] = ["unknown", "purple"];
const never: [string, string] = ["never", "red"];
const titleOf = (id: string) => id.charAt(0).toUpperCase() + id.slice(1).replaceAll("_", " ");
/** `stuck_orders` → `VezaLedgerStuckOrders`. */
const alertOf = ({ id }: Check) => `VezaLedger${id.replaceAll(/(?:^|_)(.)/g, (_, letter) => letter.toUpperCase())}`;
const whatUnknownIs = `**unknown** is never 0: the check failed, and the sampler's log says why ("check failed"), or the
  sampler's last tick is over ${staleAfterSeconds / 60} minutes old, or there is none.`;

/** At most five tiles in a line; what does not divide by 24 goes to the last ones. */
function tileWidth(index: number): number {
  const perLine = Math.ceil(ranked.length / Math.ceil(ranked.length / 5));
  const wider = index % perLine >= perLine - (24 % perLine);
  return Math.floor(24 / perLine) + (wider ? 1 : 0);
}

function checkPanel(check: Check, index: number): Stat {
  const { hint, pages } = adviceOn(check.id);
  return stat({
    title: titleOf(check.id),
    description: `${check.help} ${hint}\n\n${whatUnknownIs}\n\nThe runbook has the query that lists the rows.`,
    unit: "none",
    size: [tileWidth(index), 5],
    alerts: [alertOf(check), "VezaLedgerBacklogGrowing", ...(pages ? [] : ["VezaLedgerRowsTooOld"])],
    targets: [instant(orUnknown(freshCount(check), `${check.metric}{${ofStage}}`), "{{stage}}")],
  })
    .mappings([textFor({ "-1": unknown })])
    .thresholds(thresholds(pages ? { 1: "red" } : { 1: "orange", 10: "red" }));
}

const trustPanels = (): AnyPanel[] => [
  stat({
    title: "Since the last tick",
    description: `Time since the sampler's last tick that arrived, by its own clock; it ticks every minute. After
      ${staleAfterSeconds / 60} minutes everything above is old: see whether the sampler runs, and its log. It keeps
      growing when the gateway is gone. **unknown**: no tick was seen for a day.`,
    unit: "s",
    size: [5, 6],
    alerts: ["VezaLedgerSamplerSilent", "VezaLedgerSamplerAbsent"],
    targets: [
      instant(orUnknown(`clamp_min(time() - ${lastTick}, 0)`, `${sampleTimestampMetric}{${ofStage}}`), "{{stage}}"),
    ],
  })
    .mappings([textFor({ "-1": unknown })])
    .thresholds(thresholds({ 120: "orange", [staleAfterSeconds]: "red" })),
  stat({
    title: "Unknown checks",
    description: `How many of the checks are unknown: failed, missing, or old because the sampler is silent. 0 is good.
      The sampler's log names each failed check and the reason ("check failed"): a missing column or right, a lock, a
      time-out. **unknown**: no check was seen for a day.`,
    unit: "none",
    size: [5, 6],
    alerts: ["VezaLedgerCheckFailing"],
    targets: [instant(orUnknown(unknownChecks, successes), "{{stage}}")],
  })
    .mappings([textFor({ "-1": unknown })])
    .thresholds(thresholds({ 1: "orange", [checks.length]: "red" })),
  stat({
    title: "Latest push",
    description: `Whether the Pushgateway took the latest push of each job: veza_ledger is the sampler, veza_reconciler
      are the reconciler's totals. **refused**: what it got contradicts what it holds, most often a metric of another
      type in another group. Its log has the reason, and so has ours. **unknown**: the sampler is silent, or the numbers
      do not come from a Pushgateway: VictoriaMetrics keeps no such times.`,
    unit: "none",
    size: [5, 6],
    alerts: ["VezaLedgerPushRefused"],
    targets: [
      instant(
        orUnknown(
          `max by (job, stage) (push_failure_time_seconds{${ofBothJobs}}) > bool max by (job, stage) (push_time_seconds{${ofBothJobs}}) and on (stage) ${fresh}`,
          `push_time_seconds{${ofBothJobs}}`,
          "job, stage",
        ),
        "{{job}} {{stage}}",
      ),
    ],
  })
    .text(new common.VizTextDisplayOptionsBuilder().titleSize(12).valueSize(16))
    .mappings([textFor({ "-1": unknown, 0: ["taken", "green"], 1: ["refused", "red"] })])
    .thresholds(thresholds({ 1: "red" })),
  frame(new Table(), {
    title: "Firing alerts",
    description: `The alerts that fire now for the selected stages, as Prometheus or vmalert evaluates them: pages wake
      somebody, tickets wait for office hours. An empty list is worth as much as the tiles beside it: it is empty too
      where the rules are not loaded.`,
    unit: "none",
    size: [9, 6],
    alerts: ["VezaLedgerCheckFailing"],
    targets: [
      instant(
        `label_replace(max by (severity, alertname, check, stage) (${firing()}), "alert", "$1", "alertname", "VezaLedger(.+)")`,
        "{{alertname}}",
      ).format(PromQueryFormat.Table),
    ],
  })
    .noValue("No alert fires, if the rules are loaded.")
    .withTransformation({
      id: "organize",
      options: {
        excludeByName: { Time: true, Value: true, alertname: true },
        indexByName: { severity: 0, alert: 1, check: 2, stage: 3 },
      },
    })
    .sortBy([new common.TableSortByFieldStateBuilder().displayName("severity").desc(false)])
    .overrideByName("severity", [
      { id: "custom.width", value: 75 },
      { id: "custom.cellOptions", value: { type: "color-text" } },
      { id: "mappings", value: [textFor({ page: ["page", "red"], ticket: ["ticket", "orange"] })] },
    ])
    // What an alert does not have. Grafana would put the message of the empty table there.
    .overrideByName("check", [{ id: "custom.width", value: 135 }, ...blank])
    .overrideByName("stage", [{ id: "custom.width", value: 80 }, ...blank]),
];

const detailPanels = (): AnyPanel[] => [
  stat({
    title: "Age of the oldest row",
    description: `How long ago the oldest row that each check counts was written, or last changed for transfers.
      **none**: the check counted no row. The age keeps growing even while the check fails or the sampler is silent.
      Start with the oldest: behind it is who has waited longest for their money. After 24 hours a ticket wakes somebody.`,
    unit: "s",
    size: [8, 10],
    alerts: ["VezaLedgerRowsTooOld", ...ranked.map(alertOf)],
    targets: ranked.map((check) => {
      const last = `max by (stage) (last_over_time(${oldest(check)}[1d]))`;
      const none = `(max by (stage) (${oldest(check)}) == 0 and on (stage) ${fresh})`;
      return instant(
        orUnknown(`${ageOf(last)} or ${none}`, `${sampleTimestampMetric}{${ofStage}}`),
        `${titleOf(check.id)} {{stage}}`,
      );
    }),
  })
    .colorMode(common.BigValueColorMode.Value)
    .text(new common.VizTextDisplayOptionsBuilder().titleSize(13).valueSize(15))
    .mappings([textFor({ "-1": unknown, 0: ["none", "green"] })])
    .thresholds(thresholds({ 1: "orange", 86400: "red" })),
  ranked
    .reduce(
      (panel, { id }, index) => panel.overrideByQuery(refId(index), colored(adviceOn(id).color)),
      timeSeries({
        title: "The counts over time",
        description: `The same counts as above: did it start suddenly, and does it go down again? A gap is no 0, but a time
        when the count was unknown; the purple line says how many were. Compare a rise with your releases (the marks of
        annotations tagged \`deploy\`), with the alerts, and with the providers' status pages.`,
        unit: "none",
        size: [16, 10],
        alerts: ["VezaLedgerBacklogGrowing", "VezaLedgerCheckFailing"],
        targets: [
          ...ranked.map((check) => range(`(${freshCount(check)}) >= 0`, `${titleOf(check.id)} {{stage}}`)),
          range(unknownChecks, "Unknown checks {{stage}}"),
        ],
      }),
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
    description: `Time since the reconciler's latest sweep ended, by what it reported. **never**: it has not reported
      a sweep yet. **unknown**: its totals were not seen for a day. Far above its usual pause: see whether the reconciler
      runs, and whether its deliveries are answered with 200.`,
    unit: "s",
    size: [5, 8],
    alerts: ["VezaLedgerReconcilerDead"],
    targets: [
      instant(
        orUnknown(`${ageOf(lastRun)} or ${lastRun} == 0`, `${reconcilerMetric.lastRun}{${ofStage}}`),
        "{{stage}}",
      ),
    ],
  })
    .text(new common.VizTextDisplayOptionsBuilder().titleSize(14).valueSize(36))
    .mappings([textFor({ "-1": unknown, 0: never })])
    .thresholds(thresholds({ 600: "orange", 900: "red" })),
  phases
    .reduce(
      (panel, phase, index) => panel.overrideByQuery(refId(index), colored(advice[phase]?.color ?? "text")),
      timeSeries({
        title: "Rows repaired in the last hour",
        description: `Repairs by phase of the sweep (${phases.join(", ")}), each point counting the hour before it. Counts
          above that do not fall while this is 0: it does not find those rows, or fails on them. A jump by the whole
          total is a counter that was reset.`,
        unit: "none",
        size: [11, 8],
        alerts: ["VezaLedgerReconcilerRepairsNothing", "VezaLedgerCounterReset"],
        targets: phases.map((phase) =>
          range(
            hourly(reconcilerMetric.actions, "stage").replace("{", `{phase="${phase}", `),
            `${titleOf(phase)} {{stage}}`,
          ),
        ),
      }),
    )
    .min(0),
  timeSeries({
    title: "Orphan refunds failed in the last hour",
    description: `Refunds that the reconciler marked as failed, because the provider was never asked for them; each
      point counts the hour before it. Each was a crash between our two steps: find it in the backend's log.`,
    unit: "none",
    size: [8, 8],
    alerts: ["VezaLedgerReconcilerFailingOrphans"],
    targets: [range(hourly(reconcilerMetric.orphanRefunds, "stage"), "failed {{stage}}")],
  })
    .overrideByQuery("A", colored(adviceOn("orphan_refunds").color))
    .min(0),
  timeSeries({
    title: "Duration of a sweep",
    description: `Half of the sweeps in the hour before each point took at most this long, and the longest took at most
      that long: the limits are those of the histogram's buckets. A gap: no sweep in that hour. The largest bucket is the
      ceiling: a longer sweep is drawn there. Slower and slower: more is stuck, or Postgres or a provider is slow.`,
    unit: "s",
    size: [12, 9],
    alerts: ["VezaLedgerReconcilerDead"],
    targets: [range(quantile(0.5), "median {{stage}}"), range(quantile(1), "longest {{stage}}")],
  })
    .overrideByQuery("A", colored("#3274D9"))
    .overrideByQuery("B", colored("#1FA5B5"))
    .min(0),
  frame(new Heatmap(), {
    title: "Sweeps by duration",
    description: `How many sweeps took how long, of all selected stages together: select one stage to see it alone.
      Two bands are two kinds of sweeps, a rising band is a reconciler that falls behind, an empty column is a time
      without sweeps.`,
    unit: "none",
    size: [12, 9],
    alerts: ["VezaLedgerReconcilerDead"],
    targets: [
      // A difference of totals, and not increase(): that one estimates, and misses what falls between two windows.
      range(
        `sum by (le) (clamp_min(BUCKETS - BUCKETS offset $__interval, 0))`.replaceAll(
          "BUCKETS",
          `${reconcilerMetric.sweepDuration}_bucket{${ofStage}}`,
        ),
        "{{le}}",
      ).format(PromQueryFormat.Heatmap),
    ],
  })
    // The panel's, and not the query's: so a cell is as wide as what it counts.
    .interval("5m")
    .noValue(noSeries)
    .color(
      new HeatmapColorOptionsBuilder()
        .mode(HeatmapColorMode.Scheme)
        .scheme("Oranges")
        .fill("dark-orange")
        .scale(HeatmapColorScale.Exponential)
        .exponent(0.5)
        .steps(64)
        // So a single sweep stands out from none.
        .min(0),
    )
    .yAxis(new YAxisConfigBuilder().unit("s").decimals(1)),
  timeSeries({
    title: "Duration of a sample",
    description: `How long the sampler took until its last count was there. It rises before checks time out and become
      unknown: look at the load on Postgres, and whether the indexes of config/postgres/indexes.sql are there.`,
    unit: "s",
    size: [24, 7],
    alerts: ["VezaLedgerCheckFailing"],
    targets: [
      range(`max by (stage) (${sampleDurationMetric}{${ofStage}}) and on (stage) ${fresh}`, "sample {{stage}}"),
    ],
  })
    .overrideByQuery("A", colored("#3274D9"))
    .min(0),
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
    .link(link("Runbook", `${runbookUrl}/README.md`))
    .annotations([
      new grafana.AnnotationQueryBuilder()
        .name("Pages")
        .datasource(datasource)
        .enable(true)
        .iconColor("red")
        // Its start alone: one that fires for days would tint all panels for days.
        .expr(`${pages()} unless ${pages(" offset 1m")}`)
        .step("60s")
        .titleFormat("{{alertname}}")
        .textFormat("{{check}} {{stage}}"),
      // Whoever deploys posts them: see docs/runbook/reasons.md, "Deployments".
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
    ["Is money stuck?", ranked.map(checkPanel)],
    ["Can I believe this?", trustPanels()],
    ["How bad is it?", detailPanels()],
    ["Is the reconciler winning?", reconcilerPanels()],
  ];
  for (const [title, panels] of rows) {
    builder.withRow(new grafana.RowBuilder(title));
    for (const panel of panels) builder.withPanel(panel);
  }
  const dashboard = builder.build();
  for (const [index, panel] of (dashboard.panels ?? []).entries()) panel.id = index + 1;
  return dashboard;
}

// npm run dashboard
if (import.meta.main) {
  await writeFile(new URL("ledger.json", import.meta.url), `${JSON.stringify(ledgerDashboard(), null, 2)}\n`);
}
