import { subscribe } from "node:diagnostics_channel";
import { Registry } from "prom-client";
import { keepConnections } from "../../lib/connections.ts";
import { deadline } from "../../lib/deadline.ts";
import { publishTotals } from "../../lib/publish.ts";
import { parseDatabaseUrl } from "../../lib/settings.ts";

// Publishes the totals once, stops itself where argv says, and prints the outcome once it may go on.
const [, , place] = process.argv;
let hasStopped = false;
const stop = () => {
  if (!hasStopped) process.kill(process.pid, "SIGSTOP");
  hasStopped = true;
};
const target = parseDatabaseUrl(process.env.DATABASE_URL ?? "");
const connections = keepConnections("stopping")(async () => target);
if (place === "rendering") {
  const { metrics } = Registry.prototype;
  Registry.prototype.metrics = function () {
    stop();
    return metrics.call(this);
  };
} else if (place === "sending") {
  subscribe("undici:client:sendHeaders", (sent) => {
    if ((sent as { request: { method: string } }).request.method === "PUT") stop();
  });
}
const gateway = { pushgateway: { url: process.env.PUSHGATEWAY_URL ?? "" }, stage: "stopping" };
await publishTotals(connections, gateway, deadline("the test", 20_000)).then(
  (isPublished) => console.log(`published: ${isPublished}`),
  (error) => console.log(`rejected: ${error.message}`),
);
await connections.close();
