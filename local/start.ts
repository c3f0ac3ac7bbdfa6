import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { parsePort, receiverPort } from "../commands/address.ts";
import { demoSecret } from "../commands/demo-secret.ts";
import { serve } from "../commands/function-url.ts";
import { runSqlFiles } from "../commands/sql.ts";
import { keepTicking } from "../commands/ticks.ts";
import { handler as receiver } from "../handlers/receiver.ts";
import { type Level, writeLogWith } from "../lib/log.ts";
import { loadSettings, settingNames } from "../lib/settings/settings.ts";
import { makeButtons } from "./buttons.ts";
import { createDemoLedger, showAmounts } from "./demo-ledger.ts";
import { countsGraph } from "./graph.ts";
import { answerPage, localRules, note, type Stack } from "./page.ts";
import { freePort } from "./ports.ts";
import { startPostgres } from "./postgres.ts";
import { startPrometheus, startPushgateway } from "./programs.ts";
import { simulateReconciler } from "./reconciler.ts";
import { readRowsBy } from "./rows.ts";
import { postgresPort, prometheusPort, pushgatewayPort } from "./usual-ports.ts";

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

try {
  await run();
} catch (error) {
  if (!signal.aborted) {
    console.error((error as Error).message);
    process.exitCode = 1;
  }
} finally {
  stopping.abort();
  for (const part of started) await part.stop().catch((error) => console.error(`not stopped: ${error.message}`));
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
  const postgres = await startPostgres(postgresPort, [], signal);
  started.unshift(postgres);
  const adminUrl = postgres.superuserUrl;
  await createDemoLedger(adminUrl);
  await runSqlFiles(adminUrl, ["clients/go/outbox.sql"]); // Then it grants the sampler's rights.
  await showAmounts(adminUrl);
  await runSqlFiles(adminUrl, ["local/examples.sql"]);
  const gateway = await startPushgateway(pushgatewayPort, signal);
  started.unshift(gateway);

  const secret = process.env.WEBHOOK_SECRET?.split(" ")[0] || demoSecret; // As `npm run send` in the same shell.
  for (const name of settingNames) delete process.env[name];
  const urlOf = (login: string) => `postgres://${login}:local@127.0.0.1:${postgres.port}/postgres`;
  process.env.DATABASE_URL = urlOf("veza_ledger");
  process.env.PUSHGATEWAY_URL = gateway.url;
  process.env.WEBHOOK_SECRET = secret;
  await loadSettings("receiver"); // Throws where that secret is no secret.

  // The login of people on call: it reads what the runbook's queries read, and the doctor takes no superuser.
  const oncallUrl = urlOf("veza_ledger_oncall");
  const readRows = readRowsBy(oncallUrl);
  const stack: Stack = { everySeconds, pushgateway: gateway.url, reasons: {}, log: [], links: {}, readRows };
  const write = (level: Level, message: string, fields: object) => {
    if (message === "rows counted") return; // Four lines at each tick would bury the others.
    note(stack, level, message, { ...fields });
    console[level](JSON.stringify({ level, message, ...fields }));
  };
  writeLogWith(write);
  const port = process.env.PORT ? parsePort(process.env.PORT) : await freePort(receiverPort);
  const pageUrl = `http://127.0.0.1:${port}/`;
  const buttons = makeButtons(adminUrl, pageUrl, secret);
  const server = await serve(receiver, port, (...exchange) => answerPage(stack, buttons, ...exchange));
  started.unshift(server);
  say("Page", pageUrl, "  open it; deliveries are posted to it, too");
  say("Postgres", oncallUrl, ifNotAt(postgresPort, oncallUrl));
  say("Pushgateway", gateway.url, ifNotAt(pushgatewayPort, gateway.url));
  if (port !== receiverPort || postgres.port !== postgresPort) {
    const settings = `RECEIVER_URL=${pageUrl} DEMO_DATABASE_URL='${urlOf("demo_reconciler")}?sslmode=disable'`;
    say("First paste", `export ${settings}`, "  into other terminals, before the examples");
  }
  await startWatching(stack, await localRules(pageUrl));
  console.log(`Ctrl-C stops everything, and deletes its data. A tick every ${everySeconds} s:`);

  const warn = (message: string, fields: object) => write("warn", message, fields);
  const simulation = simulateReconciler(adminUrl, pageUrl, secret, warn, signal);
  started.unshift({ stop: () => simulation });
  const ticking = keepTicking(everySeconds, signal);
  // A tick that is under way may end first. It is not waited for until its own limits end it.
  started.unshift({ stop: () => Promise.race([ticking, sleep(2_000)]) });
  if (!signal.aborted) await once(signal, "abort");
}

/** Prints a line of the table of what runs where. */
function say(name: string, where: string, hint = ""): void {
  console.log(`${name.padEnd(12)} ${where}${hint}`);
}

/** Says so where a part did not get its usual port. */
function ifNotAt(usualPort: number, url: string): string {
  return URL.parse(url)?.port === String(usualPort) ? "" : `  (port ${usualPort} is taken)`;
}

/** Starts Prometheus with the alert rules, where it can be had. */
async function startWatching(stack: Stack, rules: string): Promise<void> {
  try {
    const what = { pushgatewayUrl: stack.pushgateway, rules, interval: "5s" };
    const prometheus = await startPrometheus(prometheusPort, what, signal);
    started.unshift(prometheus);
    say("Prometheus", prometheus.url, ifNotAt(prometheusPort, prometheus.url));
    stack.prometheus = prometheus.url;
    const { graph, alerts } = await countsGraph(prometheus.url);
    stack.links = { Prometheus: graph, Alerts: alerts };
  } catch (error) {
    signal.throwIfAborted();
    say("Prometheus", `not started: ${(error as Error).message}`);
  }
}
