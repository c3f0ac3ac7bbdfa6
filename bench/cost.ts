import { execFile } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import net from "node:net";
import os, { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { build } from "esbuild";
import postgres from "postgres";
import { demoSecret } from "../commands/demo-secret.ts";
import { createDemoLedger } from "../local/demo-ledger.ts";
import { startPostgres } from "../local/postgres.ts";
import { startPushgateway } from "../local/programs.ts";

// npm run bench: what a tick and a delivery cost: round trips to Postgres, and time, CPU and memory. Linux only: it
// reads /proc.
const runs = 21;
const oneWayMs = 10;
const warmUps = 20;
const measured = 200;

/** Calls a handler as often as told, in a row. Its last line says how long each call took, and its peak of memory. */
const program = (importHandler: string) => `
  import { readFileSync } from "node:fs";
  import { signedHeaders } from "./commands/deliver.ts";
  ${importHandler}
  const times = Number(process.argv[2]);
  const body = JSON.stringify({ type: "reconciler.orphan_refund", timestamp: new Date().toISOString() });
  const requests = Array.from({ length: times }, (_, index) => ({
    headers: signedHeaders("${demoSecret}", "msg_" + process.pid + "_" + index, new Date(), body),
    body,
    requestContext: { http: { method: "POST" } },
  }));
  const calls = [];
  // The most memory that it has had. getrusage() would not do: it starts from what the parent had.
  const peakMiB = () => Number(/VmHWM:\\s+(\\d+)/.exec(readFileSync("/proc/self/status", "utf8"))[1]) / 1024;
  (async () => {
    for (const request of requests) {
      const startedAt = performance.now();
      const { statusCode = 200, body = "" } = (await handler(request, {})) ?? {};
      if (statusCode !== 200) throw new Error(body);
      const { user, system } = process.cpuUsage();
      calls.push({ ms: performance.now() - startedAt, cpuMs: (user + system) / 1000 });
    }
    const measured = JSON.stringify({ calls, peakMiB: peakMiB() });
    process.stdout.write(measured, () => process.exit()); // It keeps connections.
  })();`;

const folder = await mkdtemp(path.join(tmpdir(), "veza-bench-"));
const started: { stop(): Promise<unknown> }[] = [];
const median = (values: number[]) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
const print = (name: string, values: (number | string)[]) =>
  console.log(name.padEnd(36) + values.map((value) => String(value).padStart(10)).join(""));

/**
 * Starts a TCP proxy to Postgres that delays everything by 10 ms, both ways. It counts round trips: connections, and
 * how often the client speaks after the server has spoken.
 */
async function startLink(databaseUrl: string) {
  const { hostname: host, port } = new URL(databaseUrl);
  const link = { url: "", roundTrips: 0 };
  const sockets = new Set<net.Socket>();
  const server = net.createServer({ noDelay: true }, (client) => {
    link.roundTrips += 1;
    let isClientsTurn = true;
    const upstream = net.connect({ host, port: Number(port), noDelay: true });
    for (const socket of [client, upstream]) {
      const other = socket === client ? upstream : client;
      sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => setTimeout(() => other.destroy(), oneWayMs));
      const pass = (chunk: Buffer) => {
        const isGoodbye = chunk.length === 5 && chunk.toString("latin1", 0, 1) === "X";
        if (socket === client && isClientsTurn && !isGoodbye) link.roundTrips += 1;
        isClientsTurn = socket === upstream;
        setTimeout(() => other.writable && other.write(chunk), oneWayMs);
      };
      // The system accepts at once. On a real link that takes a round trip, and nothing can be sent before.
      setTimeout(() => socket.on("data", pass), 2 * oneWayMs);
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  started.unshift({
    async stop() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  });
  link.url = databaseUrl.replace(`:${port}/`, `:${(server.address() as net.AddressInfo).port}/`);
  return link;
}

try {
  const server = await startPostgres(0, ["-c", "fsync=on"]);
  started.unshift(server);
  await createDemoLedger(server.superuserUrl);
  const sql = postgres(server.superuserUrl, { max: 1 });
  const [shown] = await sql`show server_version`;
  const [processor, ...others] = os.cpus();
  const cpu = `${1 + others.length} x ${processor?.model}, ${os.arch()}`;
  console.log(`${cpu}, Node ${process.version}, PostgreSQL ${shown?.server_version}\n`);
  await sql.end();
  const near = `postgres://veza_ledger:local@127.0.0.1:${server.port}/postgres`;
  const far = await startLink(near);
  const gateway = await startPushgateway(0);
  started.unshift(gateway);

  /** Calls a handler in a process of its own, with no more in its environment than it needs. */
  const settingsFor = (databaseUrl: string): Record<string, string> => {
    return { DATABASE_URL: databaseUrl, PUSHGATEWAY_URL: gateway.url, WEBHOOK_SECRET: demoSecret };
  };
  const call = async (handler: string, databaseUrl: string, times: number) => {
    const args = [path.join(folder, `${handler}.mjs`), String(times)];
    const { stdout } = await promisify(execFile)(process.execPath, args, {
      env: settingsFor(databaseUrl),
      maxBuffer: 2 ** 24,
    });
    if (/"level":"(warn|error)"/.test(stdout)) throw new Error(stdout);
    return JSON.parse(stdout.trimEnd().split("\n").at(-1) ?? "") as {
      calls: { ms: number; cpuMs: number }[];
      peakMiB: number;
    };
  };

  console.log(
    `A call, by itself, then the mean or median of later ones in a row; "far" is ${2 * oneWayMs} ms from Postgres`,
  );
  print("", ["trips", "CPU ms", "MiB", "| trips", "ms far", "CPU ms"]);
  for (const [handler, name] of [
    ["sampler", "tick"],
    ["receiver", "delivery"],
  ] as const) {
    // Bundled, as it is deployed: taking the types out would double the CPU time of the first call.
    await build({
      stdin: {
        contents: program(`import { handler } from "./handlers/${handler}.ts";`),
        resolveDir: path.join(import.meta.dirname, ".."),
      },
      outfile: path.join(folder, `${handler}.mjs`),
      bundle: true,
      platform: "node",
      format: "esm",
      banner: { js: 'import{createRequire}from"node:module";const require=createRequire(import.meta.url);' },
      external: ["@aws-sdk/*"],
    });
    const tripsOf = async (times: number) => {
      const before = far.roundTrips;
      const { calls } = await call(handler, far.url, times);
      return { trips: far.roundTrips - before, ms: median(calls.slice(1).map(({ ms }) => ms)) };
    };
    const { trips } = await tripsOf(1);
    const later = await tripsOf(1 + runs);
    const first = await call(handler, near, 1);
    const { calls } = await call(handler, near, warmUps + measured);
    const laterMs = ((calls.at(-1)?.cpuMs ?? 0) - (calls[warmUps - 1]?.cpuMs ?? 0)) / measured;
    // Many calls in a row would need more: what ends a wait stays until its time is over. A Lambda has pauses between.
    const [cpuMs = Number.NaN] = first.calls.map((call) => call.cpuMs);
    print(
      name,
      [trips, cpuMs.toFixed(0), first.peakMiB.toFixed(0), ((later.trips - trips) / runs).toFixed(1)].concat([
        later.ms.toFixed(0),
        laterMs.toFixed(1),
      ]),
    );
  }
} finally {
  for (const part of started) await part.stop();
  await rm(folder, { recursive: true, force: true });
}
