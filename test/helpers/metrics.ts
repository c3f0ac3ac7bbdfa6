import { checks, oldestItemMetric, sampleDurationMetric } from "../../lib/checks.ts";
import { reconcilerMetric } from "../../lib/events.ts";

/** Every metric that the code exports. */
export const exportedMetrics = [
  ...checks.map(({ metric }) => metric),
  oldestItemMetric,
  sampleDurationMetric,
  ...Object.values(reconcilerMetric),
];
