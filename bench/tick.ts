import { execFile } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import net from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { build } from "esbuild";
import postgres from "postgres";
import { connect } from "../commands/connect.ts";
import { checks, questionOf, runChecks } from "../lib/checks.ts";
import { deadline } from "../lib/deadline.ts";
import { askOn } from "../lib/question.ts";
import { parseDatabaseUrl } from "../lib/settings.ts";
import { createDemoLedger } from "../local/demo-ledger.ts";
import { startPostgres } from "../local/postgres.ts";
import { startPushgateway, startSqlExporter } from "../local/programs.ts";
import { describeMachine } from "./machine.ts";

// npm run bench:tick: what a tick costs in time, CPU and memory. Compares with the same five queries one after the
// other, by postgres.js and by Debian's prometheus-sql-exporter. Linux only: it reads /proc.
const runs = 11;
const oneWayMs = 10;
const warmUps = 20;
const measured = 200;

/** Runs as many ticks as told. Prints, as its last line, their times, the CPU time so far, and its status in /proc. */
const ticksProgram = `
  import { readFileSync } from "node:fs";
  import { handler } from "./handlers/sampler.ts";
  (async () => {
    const ticks = [];
    while (ticks.length < Number(process.argv[2])) {
      const startedAt = performance.now();
      await handler();
      const { user, system } = process.cpuUsage();
      ticks.push({ ms: performance.now() - startedAt, cpuMs: (user + system) / 1000 });
    }
    console.log(JSON.stringify({ ticks, status: readFileSync("/proc/self/status", "utf8") }));
  })();`;

const folder = await mkdtemp(path.join(tmpdir(), "veza-bench-"));
const ticksFile = path.join(folder, "ticks.mjs");
const started: { stop(): Promise<unknown> }[] = [];

const median = (values: number[]) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
/** The most memory that a process has had. getrusage() would not do: it starts from what the parent had. */
const peakMiB = (status: string) => Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]) / 1024;
const print = (name: string, cells: (string | number)[]) => {
  const texts = cells.map((cell) => (typeof cell === "number" ? cell.toFixed(1) : cell));
  console.log(name.padEnd(42) + texts.map((text) => text.padStart(17)).join(""));
};

/**
 * Starts a TCP proxy to Postgres that delays everything by `delayMs`, both ways. It counts queries and records the
 * times of bursts: connections, queries and answers without a longer pause between them.
 */
async function startLink(databaseUrl: string, delayMs: number) {
  const { hostname: host, port } = new URL(databaseUrl);
  const link = { url: "", queries: 0, bursts: [] as { isNewConnection: boolean; startMs: number; endMs: number }[] };
  const note = (isNewConnection: boolean) => {
    const nowMs = performance.now();
    const last = link.bursts.at(-1);
    if (last && nowMs - last.endMs < 10 * delayMs) last.endMs = nowMs;
    else link.bursts.push({ isNewConnection, startMs: nowMs, endMs: nowMs });
  };
  const after = (ms: number, work: () => void) => (ms > 0 ? setTimeout(work, ms) : work());
  const sockets = new Set<net.Socket>();
  const server = net.createServer({ noDelay: true }, (client) => {
    note(true);
    const upstream = net.connect({ host, port: Number(port), noDelay: true });
    for (const socket of [client, upstream]) {
      const other = socket === client ? upstream : client;
      sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => after(delayMs, () => other.destroy()));
      const pass = (chunk: Buffer) => {
        if (socket === client && chunk.toString("latin1", 0, 1) === "Q") {
          link.queries += 1;
          note(false);
        }
        after(delayMs, () => {
          if (socket === upstream) note(false);
          if (other.writable) other.write(chunk);
        });
      };
      // The system accepts at once. On a real link that takes a round trip, and nothing can be sent before.
      after(2 * delayMs, () => socket.on("data", pass));
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

/** Medians in ms of asking on a new connection, and again on the same one, which is open by then and Postgres warm. */
async function timesOf(open: () => { ask(): Promise<unknown>; close(): Promise<unknown> }): Promise<number[]> {
  const newMs: number[] = [];
  const openMs: number[] = [];
  for (let run = 0; run < runs; run += 1) {
    const startedAt = performance.now();
    const { ask, close } = open();
    await ask();
    const askedAt = performance.now();
    await ask();
    newMs.push(askedAt - startedAt);
    openMs.push(performance.now() - askedAt);
    await close();
  }
  return [median(newMs), median(openMs)];
}

/** Our counts, as a tick asks them. */
function openSampler(url: string) {
  const tickDeadline = deadline("Postgres", 8_000);
  const connecting = connect(async () => parseDatabaseUrl(url), "bench", tickDeadline);
  const ask = async () => {
    for (const outcome of await runChecks(askOn(await connecting, tickDeadline)))
      if ("error" in outcome) throw outcome.error;
  };
  return { ask, close: async () => (await connecting).close() };
}

/** The queries one after the other. postgres.js would begin with a query about types; this saves its round trip. */
function openInTurn(url: string, queries: string[]) {
  const sql = postgres(url, { max: 1, fetch_types: false });
  const ask = async () => {
    for (const query of queries) await sql.unsafe(query);
  };
  return { ask, close: () => sql.end() };
}

/** Runs ticks in a process of their own, with no more in its environment than they need. */
async function runTicks(databaseUrl: string, gatewayUrl: string, count: number) {
  const env = { DATABASE_URL: databaseUrl, PUSHGATEWAY_URL: gatewayUrl };
  const { stdout } = await promisify(execFile)(process.execPath, [ticksFile, String(count)], { env });
  if (/"level":"(warn|error)"/.test(stdout)) throw new Error(stdout);
  const { ticks, status } = JSON.parse(stdout.trimEnd().split("\n").at(-1) ?? "");
  return { ticks: ticks as { ms: number; cpuMs: number }[], peakMiB: peakMiB(status) };
}

/**
 * Starts the exporter behind a link of its own. It keeps a connection for twice `pauseMs`, so that every second round
 * makes a new one: with pauses of a minute, too.
 */
async function startExporter(databaseUrl: string, delayMs: number, pauseMs: number) {
  const link = await startLink(databaseUrl, delayMs);
  const queries = checks.map((check) => ({
    name: check.id,
    help: check.help,
    query: questionOf(check, { withOldest: true }),
    values: ["count", "oldest"],
  }));
  const job = { databaseUrl: `${link.url}?sslmode=disable`, interval: `${pauseMs}ms`, queries };
  const exporter = await startSqlExporter(0, job);
  started.unshift(exporter);
  /** Waits until it has asked all queries of as many rounds, and the ping with which it begins. */
  const asked = async (rounds: number) => {
    for (const startedAt = performance.now(); link.queries < 1 + rounds * queries.length; await sleep(2)) {
      if (performance.now() - startedAt > 30_000) throw new Error("the exporter stands still");
    }
  };
  const scrape = async () => {
    const text = await (await fetch(`${exporter.url}/metrics`)).text();
    if (/^sql_exporter_last_scrape_failed\S+ 1/m.test(text)) throw new Error("the exporter's queries fail");
  };
  return { exporter, link, asked, scrape };
}

/**
 * Medians of the exporter's rounds on a new and on an open connection, measured by the proxy: from the first connection
 * or query after a pause to the last answer. The first round has a ping, and the last may be under way: neither counts.
 */
async function timesOfExporter(databaseUrl: string): Promise<number[]> {
  const { exporter, link, asked, scrape } = await startExporter(databaseUrl, oneWayMs, 400);
  await asked(2 * runs + 2);
  await scrape();
  await exporter.stop();
  const rounds = link.bursts.slice(1, -1);
  return [true, false].map((isNew) => {
    const some = rounds.filter(({ isNewConnection }) => isNewConnection === isNew);
    return median(some.map(({ startMs, endMs }) => endMs - startMs));
  });
}

/** CPU of the first round with start-up, and of each later one, in ms, which /proc tells in steps of 10; and MiB. */
async function costOfExporter(databaseUrl: string, isScraped: boolean): Promise<number[]> {
  const { exporter, asked, scrape } = await startExporter(databaseUrl, 0, 25);
  const cpuMs = async () => {
    const stat = await readFile(`/proc/${exporter.pid}/stat`, "utf8");
    const [, user, system] = /\) (?:\S+ ){11}(\d+) (\d+)/.exec(stat) ?? [];
    return (Number(user) + Number(system)) * 10;
  };
  await asked(1);
  const firstMs = await cpuMs();
  await asked(warmUps);
  const warmMs = await cpuMs();
  for (let round = warmUps + 1; round <= warmUps + measured; round += 1) {
    await asked(round);
    if (isScraped) await scrape();
  }
  const laterMs = ((await cpuMs()) - warmMs) / measured;
  const status = await readFile(`/proc/${exporter.pid}/status`, "utf8");
  await exporter.stop();
  return [firstMs, laterMs, peakMiB(status)];
}

try {
  const server = await startPostgres(0);
  started.unshift(server);
  await createDemoLedger(server.superuserUrl);
  const url = server.superuserUrl.replace("postgres:postgres@", "veza_ledger:local@");
  const far = await startLink(url, oneWayMs);
  const near = await startLink(url, 0);
  const gateway = await startPushgateway(0);
  started.unshift(gateway);
  // Bundled, as it is deployed: taking the types out would double the CPU time of the first tick.
  await build({
    stdin: { contents: ticksProgram, resolveDir: path.join(import.meta.dirname, "..") },
    outfile: ticksFile,
    bundle: true,
    platform: "node",
    format: "esm",
    banner: { js: 'import{createRequire}from"node:module";const require=createRequire(import.meta.url);' },
    external: ["@aws-sdk/*"],
  });
  const sql = postgres(url, { max: 1 });
  console.log(`${await describeMachine(sql)}\n`);
  await sql.end();

  print(`ms at ${2 * oneWayMs} ms from Postgres, medians of ${runs}`, ["new connection", "open connection"]);
  const queries = checks.map((check) => questionOf(check, { withOldest: true }));
  print("select 1", await timesOf(() => openInTurn(far.url, ["select 1"])));
  print("sampler: the counts", await timesOf(() => openSampler(far.url)));
  const few = await runTicks(far.url, gateway.url, 1 + runs);
  print("sampler: whole tick, with both pushes", [median(few.ticks.slice(1).map(({ ms }) => ms)), "-"]);
  print("postgres.js: one query after the other", await timesOf(() => openInTurn(far.url, queries)));
  print("prometheus-sql-exporter: round", await timesOfExporter(url));

  print(`\nat no distance, later: mean of ${measured}`, ["first, CPU ms", "later, CPU ms", "memory, MiB"]);
  const first = await runTicks(near.url, gateway.url, 1);
  const { ticks } = await runTicks(near.url, gateway.url, warmUps + measured);
  const cpuMs = (tick: number) => ticks[tick - 1]?.cpuMs ?? Number.NaN;
  const laterMs = (cpuMs(warmUps + measured) - cpuMs(warmUps)) / measured;
  // Many ticks in a row would need more: what ends a wait stays until its time is over. A Lambda has a minute between.
  print("sampler: tick", [first.ticks[0]?.cpuMs ?? Number.NaN, laterMs, first.peakMiB]);
  print("prometheus-sql-exporter: round", await costOfExporter(url, false));
  print("prometheus-sql-exporter: round and scrape", await costOfExporter(url, true));
} finally {
  for (const part of started) await part.stop();
  await rm(folder, { recursive: true, force: true });
}
