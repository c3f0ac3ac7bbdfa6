import { once } from "node:events";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import type { Context, ScheduledEvent } from "aws-lambda";
import { demoSecret, receiverPort } from "../commands/demo-receiver.ts";
import { handler as receiver } from "../handlers/receiver.ts";
import { handler as sampler } from "../handlers/sampler.ts";
import { errorFields, log, writeLogWith } from "../lib/log.ts";
import { isLocalHost, loadSettings } from "../lib/settings.ts";
import { grafanaPort, postgresPort, prometheusPort, pushgatewayPort } from "./defaults.ts";
import { createDemoLedger, simulateReconciler } from "./demo.ts";
import { serve } from "./function-url.ts";
import { countsGraph } from "./graph.ts";
import { freePort } from "./ports.ts";
import { startPostgres } from "./postgres.ts";
import { startGrafana, startPrometheus, startPushgateway } from "./programs.ts";
import { terminalLine } from "./terminal.ts";

// npm start [-- --every <seconds>]: both functions in one process, with real parts for whatever no setting names.
const everySeconds = readArguments();

const stopping = new AbortController();
const { signal } = stopping;
for (const name of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(name, () => stopping.abort());
// Nobody reads any more, as after `npm start | head`; or the terminal is gone.
for (const stream of [process.stdout, process.stderr]) stream.on("error", () => stopping.abort());
if (process.stdout.isTTY && !process.env.CI) {
  writeLogWith((level, message, fields) => console.log(terminalLine(new Date(), level, message, fields)));
}

/** What was started here, the latest first: it is stopped in this order. */
const started: { stop(): Promise<unknown> }[] = [];
const lines: [string, string, string][] = [];

try {
  await run();
} catch (error) {
  if (!signal.aborted) {
    console.error((error as Error).message);
    process.exitCode = 1;
  }
} finally {
  stopping.abort();
  for (const part of started) await part.stop().catch((error) => log("error", "not stopped", errorFields(error)));
}
if (!process.exitCode) console.log("Stopped. Nothing is left running.");
process.exit();

function readArguments(): number {
  try {
    const { values } = parseArgs({ options: { every: { type: "string", default: "60" } } });
    if (Number(values.every) > 0) return Number(values.every);
  } catch {}
  console.error("usage: npm start [-- --every <seconds, above 0>]");
  process.exit(2);
}

/** Starts everything, says where it is, and ticks until it is to stop. */
async function run(): Promise<void> {
  const usesDemoLedger = !process.env.DATABASE_URL && !process.env.SECRET_ID;
  const gatewayHost = URL.parse(process.env.PUSHGATEWAY_URL ?? "")?.hostname ?? "localhost";
  if (usesDemoLedger && !isLocalHost(gatewayHost)) {
    throw new Error(
      "PUSHGATEWAY_URL without DATABASE_URL: a demo ledger's numbers have no place on a gateway elsewhere",
    );
  }
  let adminUrl = "";
  if (usesDemoLedger) {
    const postgres = await startPostgres(postgresPort, [], signal);
    started.unshift(postgres);
    adminUrl = postgres.superuserUrl;
    await createDemoLedger(adminUrl);
    process.env.DATABASE_URL = `postgres://veza_ledger:local@127.0.0.1:${postgres.port}/postgres`;
    process.env.WEBHOOK_SECRET ||= demoSecret;
    lines.push(["Postgres", adminUrl, `a demo ledger, gone when this ends${ifNotAt(postgresPort, adminUrl)}`]);
  }
  let look = "";
  if (!process.env.PUSHGATEWAY_URL && !process.env.SECRET_ID) {
    const pushgateway = await startPushgateway(pushgatewayPort, signal);
    started.unshift(pushgateway);
    process.env.PUSHGATEWAY_URL = pushgateway.url;
    const curl = `curl -s ${pushgateway.url}/metrics | grep ^veza_`;
    lines.push(["Pushgateway", pushgateway.url, curl + ifNotAt(pushgatewayPort, pushgateway.url)]);
    look = await startWatching(pushgateway.url);
  }
  const { webhookSecrets } = await loadSettings("receiver");
  const port = process.env.PORT ? Number(process.env.PORT) : await freePort(receiverPort);
  const server = await serve(receiver, port);
  started.unshift(server);
  const target = isAt(receiverPort, server.url) ? "" : `RECEIVER_URL=${server.url} `;
  const send = `${target}npm run send -- action stuck_orders`;
  lines.push([
    "Receiver",
    server.url,
    `takes the reconciler's events${process.env.PORT ? "" : ifNotAt(receiverPort, server.url)}`,
  ]);
  lines.push(["Sampler", `every ${everySeconds} s`, "Ctrl-C stops everything"]);
  const width = Math.max(...lines.map(([, where, hint]) => (hint ? where.length : 0)));
  for (const [name, where, hint] of lines) {
    console.log(`${name.padEnd(11)}  ${hint ? `${where.padEnd(width)}  ${hint}` : where}`);
  }
  console.log(`Next: ${look}post an event from another terminal: ${send}\n`);

  const [secret = ""] = webhookSecrets;
  if (usesDemoLedger) {
    const simulation = simulateReconciler(adminUrl, server.url, secret, 15, signal);
    started.unshift({ stop: () => simulation });
  }
  let tick: Promise<unknown> = Promise.resolve();
  // A tick that is under way may end first. It is not waited for until its own limits end it.
  started.unshift({ stop: () => Promise.race([tick, sleep(2_000)]) });
  const stopped = once(signal, "abort");
  while (!signal.aborted) {
    const startedAt = Date.now();
    tick = Promise.resolve(sampler({} as ScheduledEvent, {} as Context, () => {})).catch((error) =>
      log("error", "tick failed", errorFields(error)),
    );
    await Promise.race([tick, stopped]);
    const pauseMs = Math.max(0, startedAt + everySeconds * 1000 - Date.now());
    await sleep(pauseMs, undefined, { signal }).catch(() => {});
  }
}

function isAt(port: number, url: string): boolean {
  return url.includes(`:${port}/`) || url.endsWith(`:${port}`);
}

/** Says so where a part did not get the port that it has otherwise. */
function ifNotAt(usualPort: number, url: string): string {
  return isAt(usualPort, url) ? "" : ` (port ${usualPort} is taken)`;
}

/**
 * Starts Prometheus with the alert rules, and Grafana with the dashboard, as far as they can be had. Resolves to what
 * there is to look at, for a person who wonders what to do next.
 */
async function startWatching(pushgatewayUrl: string): Promise<string> {
  try {
    const rules = await readFile(path.join(import.meta.dirname, "../config/alertmanager/ledger.yml"), "utf8");
    const prometheus = await startPrometheus(prometheusPort, { pushgatewayUrl, rules, interval: "5s" }, signal);
    started.unshift(prometheus);
    const { graph, alerts } = await countsGraph(prometheus.url);
    lines.push(["Prometheus", graph, ""], ["Alerts", alerts, ""]);
    const grafana = await startGrafana(grafanaPort, prometheus.url, signal);
    if (!grafana) return "open the graph above, or ";
    started.unshift(grafana);
    lines.push(["Grafana", `${grafana.url}/d/veza-ledger`, ""]);
    return "open the dashboard above, or ";
  } catch (error) {
    signal.throwIfAborted();
    const [first = "", ...others] = (error as Error).message.split("\n");
    lines.push(["Prometheus", `not started: ${first}`, ""]);
    for (const line of others) lines.push(["", line, ""]);
    return "";
  }
}
