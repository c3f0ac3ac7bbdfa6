import { writeFile } from "node:fs/promises";
import { PanelBuilder as BarGauge } from "@grafana/grafana-foundation-sdk/bargauge";
import type { Builder } from "@grafana/grafana-foundation-sdk/cog";
import * as common from "@grafana/grafana-foundation-sdk/common";
import * as grafana from "@grafana/grafana-foundation-sdk/dashboard";
import { PanelBuilder as Heatmap, YAxisConfigBuilder } from "@grafana/grafana-foundation-sdk/heatmap";
import { DataqueryBuilder, PromQueryFormat } from "@grafana/grafana-foundation-sdk/prometheus";
import { PanelBuilder as Stat } from "@grafana/grafana-foundation-sdk/stat";
import { PanelBuilder as TimeSeries } from "@grafana/grafana-foundation-sdk/timeseries";
import { type Check, checks, oldestItemMetric, sampleDurationMetric } from "../../lib/checks.ts";
import { phases, reconcilerMetric } from "../../lib/events.ts";

const runbookUrl = "https://github.com/veza/veza-ledger-metrics/blob/main/docs/runbook.md";
// biome-ignore lint/suspicious/noTemplateCurlyInString: Grafana puts in the data source that the reader has chosen.
const datasource = { type: "prometheus", uid: "${datasource}" };
/** All is `.*`, which also selects series without the label: a setup without STAGE sees its numbers too. */
const ofStage = 'stage=~"$stage"';
/** The gateway keeps the sampler's last numbers for ever: they are unknown from when VezaLedgerSamplerSilent fires. */
const staleAfterSeconds = 180;

/** What to ask oneself when a check counts something, and when orange turns red: at once where the alert pages. */
const advice: Record<string, { hint: string; redFrom: number }> = {
  stuck_orders: { hint: "Do the provider's webhooks still arrive, and do we accept them?", redFrom: 1 },
  stuck_refunds: { hint: "Which final webhooks never came? The provider knows how these refunds ended.", redFrom: 10 },
  failed_transfers: { hint: "Nothing tries these again by itself: why does Stripe refuse them?", redFrom: 10 },
  orphan_refunds: { hint: "The worst of the five: nobody has been asked to pay these customers.", redFrom: 1 },
  pending_reversals: { hint: "Does the reversal worker run?", redFrom: 10 },
};

// PromQL. One series per stage everywhere, so that no stage hides another.

const ofBothJobs = `job=~"veza_ledger|veza_reconciler", ${ofStage}`;
const pushTime = `max by (job, stage) (push_time_seconds{${ofBothJobs}})`;
const pushFailureTime = `max by (job, stage) (push_failure_time_seconds{${ofBothJobs}})`;
const stale = `(time() - max by (stage) (push_time_seconds{job="veza_ledger", ${ofStage}}) > ${staleAfterSeconds})`;
const anyCount = `{__name__=~"${checks.map(({ metric }) => metric).join("|")}", ${ofStage}}`;
const answered = `count by (stage) (${anyCount} >= 0 unless on (stage) ${stale})`;
const oldest = `max by (check, stage) (${oldestItemMetric}{${ofStage}})`;
const lastRun = `max by (stage) (${reconcilerMetric.lastRun}{${ofStage}})`;

/** A check's count, and -1 while it is unknown: the check failed, or the sampler is silent. */
const countOf = ({ metric }: Check) => `${stale} * 0 - 1 or max by (stage) (${metric}{${ofStage}})`;
/** Seconds since a Unix time, at least 1: 0 stays free for "there is none", which is how such metrics say it. */
const ageOf = (time: string) => `clamp_min(time() - (${time} > 0), 1)`;
const hourly = (metric: string, by: string) => `sum by (${by}) (increase(${metric}{${ofStage}}[1h]))`;
const quantile = (q: number) =>
  `histogram_quantile(${q}, sum by (le, stage) (rate(${reconcilerMetric.sweepDuration}_bucket{${ofStage}}[1h])))`;

/** A range query, for panels over time. The legend is a template such as `p50 {{stage}}`. */
const range = (expr: string, legend: string) => new DataqueryBuilder().expr(expr).legendFormat(legend).range();
/** An instant query: a range query's last value may be hours old when the series has ended. */
const instant = (expr: string, legend: string) => new DataqueryBuilder().expr(expr).legendFormat(legend).instant();

/** What every panel has. Each name of an alert becomes a link to its section of the runbook. */
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
    .links(frame.alerts.map((alert) => link(`Runbook: ${alert}`, `${runbookUrl}#${alert.toLowerCase()}`)))
    .targets(frame.targets.map((target, index) => target.refId("ABCDE"[index] ?? "").datasource(datasource)));
}

function link(title: string, url: string): Builder<grafana.DashboardLink> {
  // The builder always sets `placement`, which would move the dashboard's link out of sight, into a menu.
  const { placement, ...visible } = new grafana.DashboardLinkBuilder(title).url(url).targetBlank(true).build();
  return { build: () => visible };
}

/** Big numbers, one per series, on a background that says how bad it is. */
const stat = (about: Frame) =>
  frame(new Stat(), about)
    .reduceOptions(new common.ReduceDataOptionsBuilder().calcs(["lastNotNull"]))
    .graphMode(common.BigValueGraphMode.None)
    .colorMode(common.BigValueColorMode.Background);

const timeSeries = (about: Frame) =>
  frame(new TimeSeries(), about)
    .lineInterpolation(common.LineInterpolation.StepAfter)
    .fillOpacity(10)
    .legend(new common.VizLegendOptionsBuilder().showLegend(true))
    .tooltip(new common.VizTooltipOptionsBuilder().mode(common.TooltipDisplayMode.Multi));

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

const unknown: [string, string] = ["unknown", "purple"];
const titleOf = ({ id }: Check) => id.charAt(0).toUpperCase() + id.slice(1).replaceAll("_", " ");
/** `stuck_orders` → `VezaLedgerStuckOrders`. */
const alertOf = ({ id }: Check) => `VezaLedger${id.replaceAll(/(?:^|_)(.)/g, (_, letter) => letter.toUpperCase())}`;
const whatUnknownIs = `**unknown** (-1) is never 0: the check failed, and the sampler's log says why ("check failed"), or the
  sampler has not pushed for over ${staleAfterSeconds / 60} minutes.`;

function checkPanel(check: Check, index: number): Stat {
  const { hint, redFrom } = advice[check.id] ?? {};
  if (!hint || !redFrom) throw new Error(`config/grafana/dashboard.ts has no advice about ${check.id}`);
  return stat({
    title: titleOf(check),
    description: `${check.help} ${hint}\n\n${whatUnknownIs}\n\nThe query is in lib/checks.ts: run it to see the rows.`,
    unit: "none",
    // Five do not divide 24 columns: the last one is a column narrower.
    size: [index < 4 ? 5 : 4, 5],
    alerts: [alertOf(check)],
    targets: [instant(countOf(check), "{{stage}}")],
  })
    .mappings([textFor({ "-1": unknown })])
    .thresholds(thresholds({ 1: "orange", [redFrom]: "red" }));
}

const stuckPanels = (): AnyPanel[] => [
  ...checks.map(checkPanel),
  frame(new BarGauge(), {
    title: "Age of the oldest row",
    description: `How long ago the oldest row that each check counts was written, or last changed for transfers.
      **none**: the check counted no row. A check that fails has no bar. The age keeps growing even while the sampler
      is silent. Start with the longest bar: behind it is who has waited longest for their money.`,
    unit: "s",
    size: [9, 9],
    alerts: checks.map(alertOf),
    targets: [instant(`${ageOf(oldest)} or (${oldest} == 0 unless on (stage) ${stale})`, "{{check}} {{stage}}")],
  })
    .reduceOptions(new common.ReduceDataOptionsBuilder().calcs(["lastNotNull"]))
    .orientation(common.VizOrientation.Horizontal)
    .displayMode(common.BarGaugeDisplayMode.Basic)
    .min(0)
    .mappings([textFor({ 0: ["none", "green"] })])
    .thresholds(thresholds({ 1: "orange", 86400: "red" })),
  timeSeries({
    title: "The five counts over time",
    description: `The same counts as above: did it start suddenly, and does it go down again? A line below 0 is not a
      count. ${whatUnknownIs} Compare a rise with your releases and with the providers' status pages.`,
    unit: "none",
    size: [15, 9],
    alerts: ["VezaLedgerCheckFailing"],
    targets: checks.map((check) => range(countOf(check), `${titleOf(check)} {{stage}}`)),
  })
    .min(-1)
    .mappings([textFor({ "-1": unknown })]),
];

const reconcilerPanels = (): AnyPanel[] => [
  stat({
    title: "Since the last sweep",
    description: `Time since the reconciler's latest sweep ended, by what it reported. **never**: it has not reported
      a sweep yet. Far above its usual pause: see whether the reconciler runs, and whether its deliveries are answered
      with 200.`,
    unit: "s",
    size: [4, 8],
    alerts: ["VezaLedgerReconcilerDead"],
    targets: [instant(`${ageOf(lastRun)} or ${lastRun} == 0`, "{{stage}}")],
  })
    .mappings([textFor({ 0: ["never", "purple"] })])
    .thresholds(thresholds({ 600: "orange", 900: "red" })),
  timeSeries({
    title: "Rows repaired in the last hour",
    description: `Repairs by phase of the sweep (${phases.join(", ")}), each point counting the hour before it. Counts
      above that do not fall while this is 0: it does not find those rows, or fails on them. A jump by the whole total
      is a counter that was reset.`,
    unit: "none",
    size: [12, 8],
    alerts: ["VezaLedgerCounterReset"],
    targets: [range(hourly(reconcilerMetric.actions, "phase, stage"), "{{phase}} {{stage}}")],
  }).min(0),
  timeSeries({
    title: "Orphan refunds failed in the last hour",
    description: `Refunds that the reconciler marked as failed, because the provider was never asked for them; each
      point counts the hour before it. Each was a crash between our two steps: find it in the backend's log.`,
    unit: "none",
    size: [8, 8],
    alerts: ["VezaLedgerReconcilerFailingOrphans"],
    targets: [range(hourly(reconcilerMetric.orphanRefunds, "stage"), "{{stage}} failed")],
  }).min(0),
  timeSeries({
    title: "Duration of a sweep",
    description: `Half, 95 % and 99 % of the sweeps in the hour before each point took at most this long. A gap: no
      sweep in that hour. The largest bucket is the ceiling: a longer sweep is drawn there. Slower and slower: more is
      stuck, or Postgres or a provider is slow.`,
    unit: "s",
    size: [12, 9],
    alerts: ["VezaLedgerReconcilerDead"],
    targets: [0.5, 0.95, 0.99].map((q) => range(quantile(q), `p${q * 100} {{stage}}`)),
  }).min(0),
  frame(new Heatmap(), {
    title: "Sweeps by duration",
    description: `How many sweeps took how long, of all selected stages together: select one stage to see it alone.
      Two bands are two kinds of sweeps, a rising band is a reconciler that falls behind, an empty column is a time
      without sweeps.`,
    unit: "s",
    size: [12, 9],
    alerts: ["VezaLedgerReconcilerDead"],
    targets: [
      range(`sum by (le) (increase(${reconcilerMetric.sweepDuration}_bucket{${ofStage}}[$__rate_interval]))`, "{{le}}")
        .format(PromQueryFormat.Heatmap)
        .interval("5m"),
    ],
  }).yAxis(new YAxisConfigBuilder().unit("s").decimals(1)),
];

const trustPanels = (): AnyPanel[] => [
  stat({
    title: "Since the last push",
    description: `Time since the Pushgateway last took new numbers, by job: veza_ledger is the sampler, every minute;
      veza_reconciler are the reconciler's totals, which the sampler publishes too. After ${staleAfterSeconds / 60}
      minutes everything above is old: see whether the sampler runs, and its log. **never**: every push so far was
      refused. No data: nothing was ever pushed for this stage.`,
    unit: "s",
    size: [8, 7],
    alerts: ["VezaLedgerSamplerSilent", "VezaLedgerSamplerAbsent"],
    targets: [instant(`${ageOf(pushTime)} or ${pushTime} == 0`, "{{job}} {{stage}}")],
  })
    .mappings([textFor({ 0: ["never", "red"] })])
    .thresholds(thresholds({ 120: "orange", [staleAfterSeconds]: "red" })),
  stat({
    title: "Checks without an answer",
    description: `How many of the ${checks.length} checks are unknown: failed (-1), missing, or old because the
      sampler is silent. 0 is good. The sampler's log names each failed check and the reason ("check failed"): a
      missing column or right, a lock, a time-out.`,
    unit: "none",
    size: [4, 7],
    alerts: ["VezaLedgerCheckFailing", "VezaLedgerCheckFlapping"],
    targets: [
      instant(`${checks.length} - (${answered} or 0 * count by (stage) (${anyCount}) or 0 * ${stale})`, "{{stage}}"),
    ],
  }).thresholds(thresholds({ 1: "orange", [checks.length]: "red" })),
  stat({
    title: "Latest push",
    description: `Whether the Pushgateway took the latest push of each job. **refused**: what it got contradicts what
      it holds, most often a metric of another type or help text in another group. Its log has the reason, and so has
      ours.`,
    unit: "none",
    size: [4, 7],
    alerts: ["VezaLedgerPushRefused"],
    targets: [instant(`${pushFailureTime} > bool ${pushTime}`, "{{job}} {{stage}}")],
  })
    .mappings([textFor({ 0: ["taken", "green"], 1: ["refused", "red"] })])
    .thresholds(thresholds({ 1: "red" })),
  timeSeries({
    title: "Duration of a sample",
    description: `How long the sampler took until its last count was there. It rises before checks time out and become
      unknown: look at the load on Postgres, and whether the indexes of config/postgres/indexes.sql are there.`,
    unit: "s",
    size: [8, 7],
    alerts: ["VezaLedgerCheckFailing"],
    targets: [range(`max by (stage) (${sampleDurationMetric}{${ofStage}})`, "{{stage}} sample")],
  }).min(0),
];

/** In the classic format, not the newer v2: every Grafana imports it. */
export function ledgerDashboard(): grafana.Dashboard {
  const stages = `label_values(${sampleDurationMetric}, stage)`;
  const builder = new grafana.DashboardBuilder("Veza ledger")
    .uid("veza-ledger")
    .description("Is money stuck, is the reconciler winning, and can these numbers be trusted?")
    .tags(["veza", "ledger"])
    .readonly()
    .refresh("1m")
    .time({ from: "now-6h", to: "now" })
    .timezone("browser")
    .tooltip(grafana.DashboardCursorSync.Crosshair)
    .link(link("Runbook", runbookUrl))
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
    ["Is money stuck?", stuckPanels()],
    ["Is the reconciler winning?", reconcilerPanels()],
    ["Can I trust this?", trustPanels()],
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
