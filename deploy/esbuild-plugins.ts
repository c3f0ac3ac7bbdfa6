import path from "node:path";
import type { Plugin } from "esbuild";

// serverless-esbuild 1.57 leaves two folders in the temporary folder. In .serverless, the next packaging removes them.
process.env.TMPDIR = path.resolve(".serverless");

/**
 * Leaves the parts of prom-client out of the bundle that this service never calls: its Pushgateway class with HTTPS and
 * compression, the metrics of the process, and summaries. They make up most of prom-client's share of a cold start.
 */
const withoutUnusedParts: Plugin = {
  name: "unused-parts-of-prom-client",
  setup(build) {
    build.onLoad({ filter: /[\\/]prom-client[\\/]lib[\\/](pushgateway|defaultMetrics|summary)\.js$/ }, () => ({
      contents: "module.exports = undefined;",
    }));
  },
};

export default [withoutUnusedParts];
