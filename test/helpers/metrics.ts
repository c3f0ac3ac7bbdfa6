import { sampleFamilies } from "../../lib/sample.ts";
import { reconcilerFamilies } from "../../lib/totals.ts";

/** Every metric that the code exports. */
export const exportedMetrics = [...sampleFamilies, ...reconcilerFamilies].map(({ name }) => name);
