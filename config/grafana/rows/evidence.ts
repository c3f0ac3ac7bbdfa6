import * as common from "@grafana/grafana-foundation-sdk/common";
import { PromQueryFormat } from "@grafana/grafana-foundation-sdk/prometheus";
import { PanelBuilder as Table } from "@grafana/grafana-foundation-sdk/table";
import { blindnessMetric } from "../../../lib/counts/blindness.ts";
import { outboxMetric } from "../../../lib/counts/outbox.ts";
import { ranked, told } from "../../words-of-checks.ts";
import { ofStage } from "../dashboard.ts";
import {
  type AnyPanel,
  blank,
  colorLines,
  colorsOfChecks,
  frame,
  runbook,
  stat,
  textFor,
  timeSeries,
  unknown,
} from "../panels.ts";
import {
  insertedInAnHour,
  instant,
  lastTickOfEach,
  orUnknown,
  outboxOldest,
  range,
  secondsSince,
  successes,
  watched,
  whileTicking,
} from "../queries.ts";

/** A table has the colour of its first check. */
const colorsOfTables = Object.fromEntries(ranked.toReversed().map(({ table, id }) => [table, told[id].color]));

/** The panels of the row "Could a check have missed something?". */
export const evidencePanels = (): AnyPanel[] => [
  stat({
    title: "Would a blind check be noticed?",
    description: `A check is blind if it does not see the rows that come in, as after a release that renamed a status.
      **watched**: if this check went blind, VezaLedgerCheckBlind would fire. **not watched**: no alert would fire,
      and a 0 proves little. Either too few rows come in to tell, or the rows of this check do not wait for a webhook.
      So run \`npm run doctor -- sampler\` after each release. **blind?**: the alert fires. **unknown**: nothing is
      sampled.`,
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
        description: `How long ago the newest row in the state that the check watches was written or, for transfers,
          last changed. Much longer than usual: nothing comes in, or the check looks for a status that rows no longer
          have. A gap: there is no such row. The scale is logarithmic.`,
        unit: "s",
        size: [16, 10],
        links: runbook("VezaLedgerCheckBlind"),
        targets: [
          range(
            whileTicking(secondsSince(`max by (check, stage) (${blindnessMetric.newest}{${ofStage}})`)),
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
      description: `By Postgres' statistics; for a view, those of the table below it. If rows come in while a check sees
        none, the check may be blind. A gap of an hour: the statistics were reset, or a partition was dropped.`,
      unit: "none",
      size: [8, 8],
      links: runbook("VezaLedgerCheckBlind"),
      targets: [range(whileTicking(insertedInAnHour(`${blindnessMetric.inserts}{${ofStage}}`)), "{{table}} {{stage}}")],
    }),
    colorsOfTables,
  ).min(0),
  colorLines(
    timeSeries({
      title: "Rows outside of the counts",
      description: `Rows in a watched state without a time (**no_time**), or with a time over 5 minutes ahead
        (**ahead**), of all checks together. VezaLedgerCheckBlind names the check.`,
      unit: "none",
      size: [8, 8],
      links: runbook("VezaLedgerCheckBlind"),
      targets: [
        range(whileTicking(`sum by (reason, stage) (${blindnessMetric.outside}{${ofStage}})`), "{{reason}} {{stage}}"),
      ],
    }),
    { no_time: "#3274D9", ahead: "#1FA5B5" },
  ).min(0),
  colorLines(
    timeSeries({
      title: "Outbox of the reconciler",
      description: `Deliveries that wait (**waiting**), that have waited for over 15 minutes (**late**), and that
        wait for a person (**parked**): the receiver has refused them, or may have counted them over 13 days ago. Next
        to them, for how many minutes the oldest has waited. Empty where the outbox is in another database.`,
      unit: "none",
      size: [8, 8],
      links: runbook("VezaLedgerOutboxStuck"),
      targets: [
        range(whileTicking(`max by (state, stage) (${outboxMetric.rows}{${ofStage}})`), "{{state}} {{stage}}"),
        range(whileTicking(`(${secondsSince(outboxOldest)} or ${outboxOldest}) / 60`), "minutes waited {{stage}}"),
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
    links: runbook("VezaLedgerTwoSamplers"),
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
