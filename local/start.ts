import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import type { Context, ScheduledEvent } from "aws-lambda";
import { handler as receiver } from "../handlers/receiver.ts";
import { handler as sampler } from "../handlers/sampler.ts";
import { log, reason } from "../lib/log.ts";
import { isLocalHost, loadSettings } from "../lib/settings.ts";
import { demoSecret, grafanaPort, postgresPort, prometheusPort, pushgatewayPort, receiverPort } from "./defaults.ts";
import { createDemoLedger, simulateReconciler } from "./demo.ts";
import { freePort } from "./ports.ts";
import { startPostgres } from "./postgres.ts";
import { startGrafana, startPrometheus, startPushgateway } from "./programs.ts";
import { serve } from "./serve.ts";

// npm start [-- --every <seconds>]: both functions in one process, with real parts for whatever no setting names.
const { values } = parseArgs({ options: { every: { type: "string", default: "60" } } });
const everySeconds = Number(values.every);
if (!(everySeconds > 0)) {
  console.error("--every takes a number of seconds above 0");
  process.exit(2);
}

const stopping = new AbortController();
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => stopping.abort());

/** What was started here, the latest first: it is stopped in this order. */
const started: { stop(): Promise<unknown> }[] = [];
const lines: [string, string, string][] = [];

try {
  const usesDemoLedger = !process.env.DATABASE_URL && !process.env.SECRET_ID;
  const gatewayHost = URL.parse(process.env.PUSHGATEWAY_URL ?? "")?.hostname ?? "localhost";
  if (usesDemoLedger && !isLocalHost(gatewayHost)) {
    throw new Error(
      "PUSHGATEWAY_URL without DATABASE_URL: a demo ledger's numbers have no place on a gateway elsewhere",
    );
  }
  let adminUrl = "";
  if (usesDemoLedger) {
    const postgres = await startPostgres(postgresPort);
    started.unshift(postgres);
    adminUrl = postgres.url;
    await createDemoLedger(adminUrl);
    process.env.DATABASE_URL = `postgres://veza_ledger_local:local@127.0.0.1:${postgres.port}/postgres`;
    process.env.WEBHOOK_SECRET ||= demoSecret;
    lines.push(["Postgres", adminUrl, "a demo ledger, gone when this ends"]);
  }
  if (!process.env.PUSHGATEWAY_URL && !process.env.SECRET_ID) {
    const pushgateway = await startPushgateway(pushgatewayPort);
    started.unshift(pushgateway);
    process.env.PUSHGATEWAY_URL = pushgateway.url;
    lines.push(["Pushgateway", pushgateway.url, `curl -s ${pushgateway.url}/metrics | grep ^veza_`]);
    await startWatching(pushgateway.url);
  }
  const { webhookSecrets } = await loadSettings("receiver");
  const port = process.env.PORT ? Number(process.env.PORT) : await freePort(receiverPort);
  const server = await serve(receiver, port);
  started.unshift(server);
  const target = server.url.includes(`:${receiverPort}/`) ? "" : `RECEIVER_URL=${server.url} `;
  lines.push(["Receiver", server.url, `${target}npm run send -- action stuck_orders`]);
  lines.push(["Sampler", `every ${everySeconds} s`, "Ctrl-C stops everything"]);
  const width = Math.max(...lines.map(([, where]) => where.length));
  for (const [name, where, hint] of lines) console.log(`${name.padEnd(11)}  ${where.padEnd(width)}  ${hint}`);

  const [secret = ""] = webhookSecrets;
  if (usesDemoLedger) {
    const simulation = simulateReconciler(adminUrl, server.url, secret, 15, stopping.signal);
    started.unshift({ stop: () => simulation });
  }
  while (!stopping.signal.aborted) {
    const startedAt = Date.now();
    await Promise.resolve(sampler({} as ScheduledEvent, {} as Context, () => {})).catch((error) =>
      log("error", "tick failed", reason(error)),
    );
    const pauseMs = Math.max(0, startedAt + everySeconds * 1000 - Date.now());
    await sleep(pauseMs, undefined, { signal: stopping.signal }).catch(() => {});
  }
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
} finally {
  stopping.abort();
  for (const part of started) await part.stop().catch((error) => log("error", "not stopped", reason(error)));
}
process.exit();

/** Prometheus with the alert rules, and Grafana with the dashboard, as far as they can be had. */
async function startWatching(pushgatewayUrl: string): Promise<void> {
  try {
    const rulesFile = path.join(import.meta.dirname, "../config/alertmanager/ledger.yml");
    const prometheus = await startPrometheus(prometheusPort, { pushgatewayUrl, rulesFile, interval: "5s" });
    started.unshift(prometheus);
    // Debian's Prometheus has the older pages only.
    const isClassic = (await fetch(`${prometheus.url}/classic/alerts`)).ok;
    lines.push(["Prometheus", prometheus.url, `alerts: ${prometheus.url}${isClassic ? "/classic" : ""}/alerts`]);
    const grafana = await startGrafana(grafanaPort, prometheus.url);
    if (!grafana) return;
    started.unshift(grafana);
    lines.push(["Grafana", grafana.url, `dashboard: ${grafana.url}/d/veza-ledger`]);
  } catch (error) {
    lines.push(["Prometheus", "not started", (error as Error).message.split("\n")[0] ?? ""]);
  }
}
