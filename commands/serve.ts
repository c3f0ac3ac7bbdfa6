// The command serve: production without AWS. Both functions in one process, from the functions' own settings.
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import type http from "node:http";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { handler as receiver } from "../handlers/receiver.ts";
import { loadSettings } from "../lib/settings/settings.ts";
import { parseHost, parsePort, receiverPort } from "./address.ts";
import { callOf, command, Misuse, start } from "./command.ts";
import { type Served, serve } from "./function-url.ts";
import { keepTicking } from "./ticks.ts";

const usage = `usage: ${callOf("serve").replace(/ --$/, "")}

Counts once a minute, and takes deliveries on 127.0.0.1, for a reverse proxy.
DATABASE_URL, PUSHGATEWAY_URL and WEBHOOK_SECRET are required; docs/settings.md
has the others. PORT is the receiver's, ${receiverPort} without it. HOST is the address
that it listens on, in plain HTTP: only a proxy with TLS may reach it.

GET /-/healthy answers 200 while the last tick is under 3 minutes old, else 503.
SIGTERM ends it after the request and the tick that are under way.

exit code  0  ended by a signal
           1  a setting is missing or wrong, or the port is taken
           2  the call is wrong`;

const everySeconds = 60;
const healthyMs = 3 * 60_000;
/** Longer than a tick and a delivery may take (limits.ts), and shorter than TimeoutStopSec of the unit in config/. */
export const stopTimeoutMs = 26_000;

/** Serves until a signal ends it. */
export const run = command(usage, {}, async (_, positionals, out) => {
  if (positionals.length > 0) throw new Misuse("it takes no arguments");
  const stopping = new AbortController();
  for (const name of ["SIGTERM", "SIGINT", "SIGHUP"]) process.on(name, () => stopping.abort());
  let tickedAtMs = performance.now();
  const answerHealth = async ({ method = "", url }: http.IncomingMessage, response: http.ServerResponse) => {
    if (url !== "/-/healthy" || !/^(GET|HEAD)$/.test(method)) return false;
    response.writeHead(performance.now() - tickedAtMs < healthyMs ? 200 : 503).end();
    return true;
  };
  let server: Served;
  try {
    const manifest = path.join(import.meta.dirname, "../package.json");
    process.env.VERSION ??= JSON.parse(await readFile(manifest, "utf8")).version; // A series says who counts.
    await loadSettings("receiver"); // Which needs all that the sampler needs.
    const host = parseHost(process.env.HOST || "127.0.0.1");
    server = await serve(receiver, parsePort(process.env.PORT || String(receiverPort)), answerHealth, host);
  } catch (error) {
    out.error((error as Error).message);
    return 1;
  }
  out.log(JSON.stringify({ level: "info", message: "serving", url: server.url }));
  const ticking = keepTicking(everySeconds, stopping.signal, () => {
    tickedAtMs = performance.now();
  });
  if (!stopping.signal.aborted) await once(stopping.signal, "abort");
  await Promise.all([server.stop(stopTimeoutMs), Promise.race([ticking, sleep(stopTimeoutMs)])]);
  return 0;
});

if (import.meta.main) await start(run);
