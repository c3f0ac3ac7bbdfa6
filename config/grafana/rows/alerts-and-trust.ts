import * as common from "@grafana/grafana-foundation-sdk/common";
import { PromQueryFormat } from "@grafana/grafana-foundation-sdk/prometheus";
import { PanelBuilder as Table } from "@grafana/grafana-foundation-sdk/table";
import { checks } from "../../../lib/counts/checks.ts";
import { sampleDurationMetric, sampleTimestampMetric } from "../../../lib/counts/sample.ts";
import { entryOf, ofStage, silentAfterSeconds } from "../dashboard.ts";
import {
  type AnyPanel,
  blank,
  colored,
  frame,
  link,
  runbook,
  stat,
  textFor,
  thresholds,
  timeSeries,
  unknown,
} from "../panels.ts";
import {
  firingAlerts,
  fresh,
  instant,
  lastTick,
  ofBothJobs,
  orUnknown,
  range,
  successes,
  unknownChecks,
} from "../queries.ts";

/** Nine rows fit at this height: 36 pixels for a row, 34 for the header. More than nine scroll. */
const firingPanel = (): AnyPanel =>
  frame(new Table(), {
    title: "Firing alerts",
    description: `The alerts that fire now for the selected stages: pages first, and the longest first. A click on a
      name opens its entry of the runbook. **active for**: how long its condition has held. A page wakes somebody; a
      ticket waits for office hours.\n\nThe list is empty, too, where no rules are loaded. Look at the tiles next to
      it.`,
    unit: "none",
    size: [14, 11],
    links: [link("Runbook: all alerts", entryOf("README")), ...runbook("VezaLedgerAlertsFail")],
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
      { id: "links", value: [{ title: "Runbook", url: entryOf("${__value.raw}"), targetBlank: true }] },
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

/** The panels of the row "What fires, and can I trust it?". */
export const trustPanels = (): AnyPanel[] => [
  firingPanel(),
  stat({
    title: "Since the last tick",
    description: `Time since the sampler's last tick, by the sampler's clock. It ticks every minute. After
      ${silentAfterSeconds / 60} minutes every count is old: see whether the sampler runs, and read its log. The time
      keeps growing while the gateway is gone. **unknown**: no tick within a day.`,
    unit: "s",
    size: [5, 5],
    links: runbook("VezaLedgerSamplerSilent", "VezaLedgerAlive"),
    targets: [
      instant(orUnknown(`clamp_min(time() - ${lastTick}, 0)`, `${sampleTimestampMetric}{${ofStage}}`), "{{stage}}"),
    ],
  })
    .decimals(0)
    .orientation(common.VizOrientation.Vertical)
    .mappings([textFor({ "-1": unknown })])
    .thresholds(thresholds({ 120: "orange", [silentAfterSeconds]: "red" })),
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
      the reconciler's totals. **refused**: the push contradicts what the gateway holds, as where another program pushes
      a metric of the same name and another type. The gateway's log and ours have the reason. **unknown**: the sampler
      is silent, or there is no Pushgateway (VictoriaMetrics keeps no push times).`,
    unit: "none",
    size: [5, 6],
    links: runbook("VezaLedgerSamplerSilent", "VezaLedgerReconcilerDead"),
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
