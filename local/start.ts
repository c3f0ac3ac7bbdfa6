import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { deliver } from "../commands/deliver.ts";
import { demoSecret } from "../commands/demo-secret.ts";
import { parsePort, serve } from "../commands/function-url.ts";
import { receiverPort } from "../commands/receiver-port.ts";
import { keepTicking } from "../commands/ticks.ts";
import { handler as receiver } from "../handlers/receiver.ts";
import { errorFields, writeLogWith } from "../lib/log.ts";
import { loadSettings, settingNames } from "../lib/settings.ts";
import { grafanaPort, postgresPort, prometheusPort, pushgatewayPort } from "./defaults.ts";
import { createDemoLedger, demoCluster, showAmounts } from "./demo-ledger.ts";
import { countsGraph } from "./graph.ts";
import { demoHistory } from "./history.ts";
import { answerPage, localRules, newStack, note, type Stack } from "./page.ts";
import { freePort } from "./ports.ts";
import { startPostgres } from "./postgres.ts";
import { startGrafana, startPrometheus, startPushgateway } from "./programs.ts";
import { createOutbox, simulateReconciler } from "./reconciler.ts";
import { legend, printLine, say, tableLine } from "./terminal.ts";

// npm start [-- --every <seconds>]: the demo. Both functions in one process, on a Postgres, a Pushgateway and a
// Prometheus of its own, which it starts.
const everySeconds = readArguments();
const yours = ["DATABASE_URL", "SECRET_ID", "PUSHGATEWAY_URL"].filter((name) => process.env[name]);
if (yours.length > 0) {
  console.error(
    `${yours.join(", ")} set: npm start is a demo, on a ledger of its own. \`npm run serve\` runs on yours; unset ` +
      `${yours.length > 1 ? "them" : "it"} to see the demo.`,
  );
  process.exit(2);
}

const stopping = new AbortController();
const { signal } = stopping;
for (const name of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(name, () => stopping.abort());
// Nobody reads any more, as after `npm start | head`; or the terminal is gone.
for (const stream of [process.stdout, process.stderr]) stream.on("error", () => stopping.abort());

/** What was started here, the latest first: it is stopped in this order. */
const started: { stop(): Promise<unknown> }[] = [];
const table: [name: string, where: string, hint?: string][] = [];

try {
  await run();
} catch (error) {
  if (!signal.aborted) {
    console.error((error as Error).message);
    process.exitCode = 1;
  }
} finally {
  stopping.abort();
  for (const part of started) await part.stop().catch((error) => say("error", "not stopped", errorFields(error)));
}
if (!process.exitCode) console.log("Stopped. Nothing is left running.");
process.exit();

/** Seconds between two ticks. */
function readArguments(): number {
  const usage = "usage: npm start [-- --every <seconds, above 0>]";
  const every = { type: "string", default: "10" } as const;
  try {
    const { values } = parseArgs({ options: { every, help: { type: "boolean", short: "h" } } });
    if (!values.help && Number(values.every) > 0) return Number(values.every);
    console[values.help ? "log" : "error"](usage);
    process.exit(values.help ? 0 : 2);
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${usage}`);
    process.exit(2);
  }
}

/** Starts everything, says where it is, and ticks until it is to stop. */
async function run(): Promise<void> {
  const postgres = await startPostgres(postgresPort, ["-c", `cluster_name=${demoCluster}`], signal);
  started.unshift(postgres);
  const adminUrl = postgres.superuserUrl;
  await createDemoLedger(adminUrl);
  await createOutbox(adminUrl);
  await showAmounts(adminUrl);
  table.push(["Postgres", adminUrl, ifNotAt(postgresPort, adminUrl) || "a demo ledger"]);
  const onCallUrl = `postgres://veza_ledger_oncall:local@127.0.0.1:${postgres.port}/postgres`;
  table.push(["On call", `psql ${onCallUrl}`, "the runbook's queries run there"]);

  const gateway = await startPushgateway(pushgatewayPort, signal);
  started.unshift(gateway);
  table.push(["Pushgateway", gateway.url, ifNotAt(pushgatewayPort, gateway.url)]);

  const secret = process.env.WEBHOOK_SECRET?.split(" ")[0] || demoSecret; // As `npm run send` in the same shell.
  for (const name of settingNames) delete process.env[name];
  process.env.DATABASE_URL = `postgres://veza_ledger:local@127.0.0.1:${postgres.port}/postgres`;
  process.env.PUSHGATEWAY_URL = gateway.url;
  process.env.WEBHOOK_SECRET = secret;
  await loadSettings("receiver"); // Throws where that secret is no secret.

  const port = process.env.PORT ? parsePort(process.env.PORT) : await freePort(receiverPort);
  const pageUrl = `http://127.0.0.1:${port}/`;
  const rules = await localRules(pageUrl);
  const gatewayPort = Number(new URL(gateway.url).port);
  const stack = newStack(rules, { everySeconds, postgresPort: postgres.port, pushgatewayPort: gatewayPort });
  writeLogWith((level, ...line) => {
    note(stack, ...line);
    printLine(level, ...line);
  });
  const server = await serve(receiver, port, (request, response) => answerPage(stack, request, response));
  started.unshift(server);
  table.unshift(["Page", pageUrl, "open it: counts, alerts, what to do"]);
  table.push(["Receiver", pageUrl, "takes the reconciler's events, by POST"]);
  const { openMetrics: history, events } = await demoHistory(adminUrl);
  await startWatching({ pushgatewayUrl: gateway.url, rules, history }, stack);

  for (const line of table) console.log(tableLine(...line));
  console.log(`\n${legend()}\n`);
  const receiverUrl = isAt(receiverPort, pageUrl) ? "" : `RECEIVER_URL=${pageUrl} `;
  console.log(`Next, in another terminal: ${receiverUrl}npm run demo`);
  console.log(`Ctrl-C stops everything. A tick every ${everySeconds} s:\n`);

  // The totals go on from where the graphs are.
  await deliver(pageUrl, secret, "demo_history", events);
  const simulation = simulateReconciler(adminUrl, pageUrl, secret, signal);
  started.unshift({ stop: () => simulation });
  const ticking = keepTicking(everySeconds, signal);
  // A tick that is under way may end first. It is not waited for until its own limits end it.
  started.unshift({ stop: () => Promise.race([ticking, sleep(2_000)]) });
  if (!signal.aborted) await once(signal, "abort");
}

function isAt(port: number, url: string): boolean {
  return url.includes(`:${port}/`) || url.endsWith(`:${port}`);
}

/** Says so where a part did not get its usual port. */
function ifNotAt(usualPort: number, url: string): string {
  return isAt(usualPort, url) ? "" : `(port ${usualPort} is taken)`;
}

/** Starts Prometheus with the alert rules, and Grafana with the dashboard, as far as they can be had. */
async function startWatching(
  what: { pushgatewayUrl: string; rules: string; history: string },
  stack: Stack,
): Promise<void> {
  try {
    const prometheus = await startPrometheus(prometheusPort, { ...what, interval: "5s" }, signal);
    started.unshift(prometheus);
    table.push(["Prometheus", prometheus.url, ifNotAt(prometheusPort, prometheus.url)]);
    const { graph, alerts } = await countsGraph(prometheus.url);
    stack.prometheus = prometheus.url;
    stack.links = { Prometheus: graph, Alerts: alerts };
    const grafana = await startGrafana(grafanaPort, prometheus.url, signal);
    if (!grafana) return;
    started.unshift(grafana);
    stack.links.Grafana = `${grafana.url}/d/veza-ledger`;
    table.push(["Grafana", stack.links.Grafana, ifNotAt(grafanaPort, grafana.url)]);
  } catch (error) {
    signal.throwIfAborted();
    for (const [index, line] of (error as Error).message.split("\n").entries()) {
      table.push(index === 0 ? ["Prometheus", `not started: ${line}`] : ["", line]);
    }
  }
}
