import {
  checkSuccessMetric,
  checks,
  oldestItemMetric,
  sampleDurationMetric,
  sampleTimestampMetric,
} from "../../lib/checks.ts";
import { reconcilerMetric } from "../../lib/events.ts";

/** Every metric that the code exports. */
export const exportedMetrics = [
  ...checks.map(({ metric }) => metric),
  oldestItemMetric,
  checkSuccessMetric,
  sampleTimestampMetric,
  sampleDurationMetric,
  ...Object.values(reconcilerMetric),
];
