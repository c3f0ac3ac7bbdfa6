import { expect, it } from "vitest";
import {
  checkSuccessMetric,
  checks,
  oldestItemMetric,
  sampleDurationMetric,
  sampleTimestampMetric,
} from "../lib/checks.ts";
import { countsQuery } from "../local/graph.ts";

it("shows the counts of all checks and nothing else", () => {
  const pattern = new RegExp(`^(${/=~"(.*)"/.exec(countsQuery)?.[1]})$`);
  for (const { metric } of checks) expect(metric).toMatch(pattern);
  for (const metric of [checkSuccessMetric, oldestItemMetric, sampleTimestampMetric, sampleDurationMetric])
    expect(metric).not.toMatch(pattern);
});
