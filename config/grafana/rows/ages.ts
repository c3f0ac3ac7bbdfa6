import * as common from "@grafana/grafana-foundation-sdk/common";
import { alertOf, ranked } from "../../words-of-checks.ts";
import {
  type AnyPanel,
  colored,
  colorLines,
  colorsOfChecks,
  refId,
  runbook,
  stat,
  textFor,
  thresholds,
  timeSeries,
  unknown,
} from "../panels.ts";
import { freshCount, instant, oldestAge, orUnknown, range, successes, unknownChecks } from "../queries.ts";

/** The panels of the row "How bad is it?". */
export const agePanels = (): AnyPanel[] => [
  stat({
    title: "Age of the oldest row not accepted",
    description: `For each check, how long ago its oldest row was written or, for transfers, last changed. Rows that
      somebody has accepted are left out. **none**: no such row. **no time**: no such row has a time. A stuck
      refund that is a day old wakes somebody. While the check fails or the sampler is silent, this is the age of the
      oldest row that was counted last, accepted or not. **unknown**: no count within a day.`,
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
      links: runbook("VezaLedgerCheckFailing"),
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
