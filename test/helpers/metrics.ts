import { reconcilerFamilies } from "../../lib/events.ts";
import { sampleFamilies } from "../../lib/sample.ts";

/** Every metric that the code exports. */
export const exportedMetrics = [...sampleFamilies, ...reconcilerFamilies].map(({ name }) => name);
