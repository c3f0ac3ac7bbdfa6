import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import type { Context, ScheduledEvent } from "aws-lambda";
import { deliver } from "../commands/deliver.ts";
import { demoSecret, receiverPort } from "../commands/demo-receiver.ts";
import { serve } from "../commands/function-url.ts";
import { handler as receiver } from "../handlers/receiver.ts";
import { handler as sampler } from "../handlers/sampler.ts";
import { errorFields, writeLogWith } from "../lib/log.ts";
import { isLocalHost, loadSettings } from "../lib/settings.ts";
import { grafanaPort, postgresPort, prometheusPort, pushgatewayPort } from "./defaults.ts";
import { createDemoLedger, demoCluster, restartSeconds, showAmounts } from "./demo-ledger.ts";
import { countsGraph } from "./graph.ts";
import { demoHistory } from "./history.ts";
import { answerPage, localRules, newStack, note, type Stack } from "./page.ts";
import { freePort } from "./ports.ts";
import { keepPostgres } from "./postgres.ts";
import { type Running, startGrafana, startPrometheus, startPushgateway } from "./programs.ts";
import { createOutbox, simulateReconciler } from "./reconciler.ts";
import { legend, printLine, say, tableLine } from "./terminal.ts";

// npm start [-- --every <seconds>]: both functions in one process. Starts a real Postgres, Pushgateway and Prometheus
// where no setting names yours.
const usesDemoLedger = !process.env.DATABASE_URL && !process.env.SECRET_ID;
const everySeconds = readArguments();

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

/** Seconds between two ticks: on a ledger of the user's own, as on Lambda. */
function readArguments(): number {
  try {
    const { values } = parseArgs({ options: { every: { type: "string", default: usesDemoLedger ? "10" : "60" } } });
    if (Number(values.every) > 0) return Number(values.every);
  } catch {}
  console.error("usage: npm start [-- --every <seconds, above 0>]");
  process.exit(2);
}

/** Starts everything, says where it is, and ticks until it is to stop. */
async function run(): Promise<void> {
  const gatewayHost = URL.parse(process.env.PUSHGATEWAY_URL ?? "")?.hostname ?? "localhost";
  if (usesDemoLedger && !isLocalHost(gatewayHost)) {
    throw new Error(
      "PUSHGATEWAY_URL without DATABASE_URL: a demo ledger's numbers have no place on a gateway elsewhere",
    );
  }
  let adminUrl = "";
  if (usesDemoLedger) {
    const flags = ["-c", `cluster_name=${demoCluster}`];
    const postgres = await keepPostgres(postgresPort, flags, restartSeconds(everySeconds), signal);
    started.unshift(postgres);
    adminUrl = postgres.superuserUrl;
    await createDemoLedger(adminUrl);
    await createOutbox(adminUrl);
    await showAmounts(adminUrl);
    process.env.DATABASE_URL = `postgres://veza_ledger:local@127.0.0.1:${postgres.port}/postgres`;
    process.env.WEBHOOK_SECRET ||= demoSecret;
    table.push(["Postgres", adminUrl, ifNotAt(postgresPort, adminUrl) || "a demo ledger"]);
    const onCallUrl = `postgres://veza_ledger_oncall:local@127.0.0.1:${postgres.port}/postgres`;
    table.push(["On call", `psql ${onCallUrl}`, "the runbook's queries run there"]);
  }
  let gateway: Running | undefined;
  if (!process.env.PUSHGATEWAY_URL && !process.env.SECRET_ID) {
    gateway = await startPushgateway(pushgatewayPort, signal);
    started.unshift(gateway);
    process.env.PUSHGATEWAY_URL = gateway.url;
    table.push(["Pushgateway", gateway.url, ifNotAt(pushgatewayPort, gateway.url)]);
  }

  const { webhookSecrets, stage = "" } = await loadSettings("receiver");
  const port = process.env.PORT ? Number(process.env.PORT) : await freePort(receiverPort);
  const pageUrl = `http://127.0.0.1:${port}/`;
  const rules = await localRules(pageUrl);
  const stack = newStack(rules, everySeconds, stage);
  if (usesDemoLedger) stack.demo = { postgresPort: Number(new URL(adminUrl).port), pushgatewayUrl: gateway?.url };
  writeLogWith((level, ...line) => {
    note(stack, ...line);
    printLine(level, ...line);
  });
  const server = await serve(receiver, port, (request, response) => answerPage(stack, request, response));
  started.unshift(server);
  table.unshift(["Page", pageUrl, "open it: counts, alerts, what to do"]);
  table.push(["Receiver", pageUrl, "takes the reconciler's events, by POST"]);
  const history = usesDemoLedger ? await demoHistory(adminUrl, stage) : undefined;
  if (gateway) await startWatching({ pushgatewayUrl: gateway.url, rules, history: history?.openMetrics ?? "" }, stack);

  for (const line of table) console.log(tableLine(...line));
  console.log(`\n${legend()}\n`);
  const receiverUrl = isAt(receiverPort, pageUrl) ? "" : `RECEIVER_URL=${pageUrl} `;
  const command = usesDemoLedger ? "npm run demo" : "npm run send -- ping";
  console.log(`Next, in another terminal: ${receiverUrl}${command}`);
  console.log(`Ctrl-C stops everything. A tick every ${everySeconds} s:\n`);

  const [secret = ""] = webhookSecrets;
  if (history) {
    // The totals go on from where the graphs are.
    await deliver(pageUrl, secret, "demo_history", history.events);
    const simulation = simulateReconciler(adminUrl, pageUrl, secret, signal);
    started.unshift({ stop: () => simulation });
  }
  let tick: Promise<unknown> = Promise.resolve();
  // A tick that is under way may end first. It is not waited for until its own limits end it.
  started.unshift({ stop: () => Promise.race([tick, sleep(2_000)]) });
  const stopped = once(signal, "abort");
  while (!signal.aborted) {
    const startedAt = Date.now();
    tick = Promise.resolve(sampler({} as ScheduledEvent, {} as Context, () => {})).catch((error) =>
      say("error", "tick failed", errorFields(error)),
    );
    await Promise.race([tick, stopped]);
    const pauseMs = Math.max(0, startedAt + everySeconds * 1000 - Date.now());
    await sleep(pauseMs, undefined, { signal }).catch(() => {});
  }
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
