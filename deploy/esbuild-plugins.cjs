// Leaves out of the bundle what prom-client loads and this service never calls: its Pushgateway class, which brings HTTPS
// and compression with it, the metrics of the process itself, and summaries. Together they are most of prom-client's share
// of a cold start.
module.exports = [
  {
    name: "unused-parts-of-prom-client",
    setup(build) {
      build.onLoad({ filter: /[\\/]prom-client[\\/]lib[\\/](pushgateway|defaultMetrics|summary)\.js$/ }, () => ({
        contents: "module.exports = undefined;",
      }));
    },
  },
];
