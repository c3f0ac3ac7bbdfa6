import { sampleFamilies } from "../../lib/counts/sample.ts";
import { reconcilerFamilies } from "../../lib/totals/events.ts";

/** Every metric that the code exports. */
export const exportedMetrics = [...sampleFamilies, ...reconcilerFamilies].map(({ name }) => name);
