import {
  PanelBuilder as Heatmap,
  HeatmapColorMode,
  HeatmapColorOptionsBuilder,
  HeatmapColorScale,
  YAxisConfigBuilder,
} from "@grafana/grafana-foundation-sdk/heatmap";
import { PromQueryFormat } from "@grafana/grafana-foundation-sdk/prometheus";
import { sweepMinutes } from "../../../lib/counts/checks.ts";
import { phases, reconcilerMetric } from "../../../lib/totals/events.ts";
import { told } from "../../words-of-checks.ts";
import { ofStage } from "../dashboard.ts";
import {
  type AnyPanel,
  colored,
  colorLines,
  colorsOfChecks,
  frame,
  never,
  noSeries,
  runbook,
  stat,
  textFor,
  thresholds,
  timeSeries,
  unknown,
} from "../panels.ts";
import {
  hourly,
  instant,
  lastRun,
  orUnknown,
  phaseLastRun,
  quantile,
  range,
  secondsSince,
  whileTicking,
} from "../queries.ts";

/** The panels of the row "Is the reconciler winning?". */
export const reconcilerPanels = (): AnyPanel[] => [
  stat({
    title: "Since the last sweep",
    description: `Time since the reconciler's latest sweep ended, as the reconciler reported it. Where sweeps name a
      phase, also the time since the latest sweep of each phase. **never**: no sweep was reported yet. **unknown**: no
      totals within a day, or the sampler is silent. Far above the usual pause: see whether the reconciler, or its loop
      of this phase, runs, and whether its deliveries are answered with 200.`,
    unit: "s",
    size: [5, 8],
    links: runbook("VezaLedgerReconcilerDead"),
    targets: [
      instant(
        orUnknown(
          whileTicking(`${secondsSince(lastRun)} or ${lastRun} == 0`),
          `${reconcilerMetric.lastRun}{${ofStage}}`,
        ),
        "{{stage}}",
      ),
      instant(whileTicking(secondsSince(phaseLastRun)), "{{phase}} {{stage}}"),
    ],
  })
    .mappings([textFor({ "-1": unknown, 0: never })])
    .thresholds(thresholds({ [2 * 60 * sweepMinutes]: "orange", [3 * 60 * sweepMinutes]: "red" })),
  colorLines(
    timeSeries({
      title: "Rows repaired in the last hour",
      description: `Repairs by phase of the sweep (${phases.join(", ")}). Each point counts the hour before it. If
        stuck rows stay while this is 0, the reconciler does not find those rows, or fails on them. A jump by the
        whole total means that a counter was reset. While **counters are held**, repairs do not show: Postgres has lost
        events.`,
      unit: "none",
      size: [11, 8],
      links: runbook("VezaLedgerStuckOrders", "VezaLedgerEventsLost"),
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
      counts the hour before it. Most likely, a process died after it had written the refund, and before it called the
      provider: see the backend's log. **held**: how many of these refunds Postgres has lost. While it is above 0, a new
      refund does not show in **failed**, and makes **held** smaller by one.`,
    unit: "none",
    size: [8, 8],
    links: runbook("VezaLedgerOrphanRefunds", "VezaLedgerEventsLost"),
    targets: [
      range(hourly(reconcilerMetric.orphanRefunds, "stage"), "failed {{stage}}"),
      range(`max by (stage) (${reconcilerMetric.heldOrphans}{${ofStage}})`, "held {{stage}}"),
    ],
  })
    .overrideByQuery("A", colored(told.orphan_refunds.color))
    .overrideByQuery("B", colored("red"))
    .min(0),
  timeSeries({
    title: "Duration of a sweep",
    description: `Each point is about the sweeps of the hour before it. **median**: half of them took no longer than
      this. **longest**: the longest of them. Both are estimates from the histogram's buckets. A sweep that is longer
      than the largest bucket is shown at the bound of this bucket. A gap: no sweep in that hour. Rising: more is stuck,
      or Postgres or a provider is slow.`,
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
