import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import path from "node:path";
import postgres from "postgres";
import { demoSecret } from "../commands/demo-receiver.ts";
import { reconcilerMetric } from "../lib/events.ts";
import { createDemoLedger } from "../local/demo-ledger.ts";
import { startPostgres } from "../local/postgres.ts";
import { startPushgateway } from "../local/programs.ts";
import { describeMachine } from "./machine.ts";
import type { Load } from "./receiver.ts";
import { sendAll } from "./senders.ts";

// npm run bench:deliveries [-- <senders> …]: how many deliveries a second get their answer, and how many increments are
// lost. Compares with single-row inserts on the same Postgres, and with functions that use the gateway as a counter.
const senderCounts = process.argv.slice(2).map(Number);
if (senderCounts.length === 0) senderCounts.push(1, 4, 16);

const gateway = await startPushgateway(0);
const server = await startPostgres(0, ["-c", "fsync=on", "-c", "max_connections=300"]);
const sql = postgres(server.superuserUrl, { max: 1, onnotice: () => {} });
const environment = {
  DATABASE_URL: server.superuserUrl.replace(/\/\/.*@/, "//veza_ledger_receiver:receiver@"),
  PUSHGATEWAY_URL: gateway.url,
  WEBHOOK_SECRET: demoSecret,
};

interface Result {
  perSecond: number;
  /** Share of the answered increments, from 0 to 1. */
  lost?: number;
  /** Share of answers with `published: true`, and how long the gateway took to show the last delivery. */
  published?: { share: number; lastMs: number };
}

const print = (name: string, cells: string[]) =>
  console.log(name.padEnd(38) + cells.map((cell) => cell.padStart(42)).join(""));

/** A share in per cent; "none" is exact. */
function lossOf(lost: number | undefined): string {
  if (lost === undefined) return "";
  return lost === 0 ? ", none lost" : `, ${(100 * lost).toFixed(1)} % lost`;
}

async function report(name: string, measure: (senders: number) => Promise<Result>): Promise<void> {
  const cells: string[] = [];
  for (const senders of senderCounts) {
    const { perSecond, lost, published } = await measure(senders);
    const how = published && `, ${(100 * published.share).toFixed(0)} % published, ${published.lastMs.toFixed(0)} ms`;
    cells.push(perSecond.toFixed(0) + lossOf(lost) + (how ?? ""));
  }
  print(name, cells);
}

/** The value of a series without labels of its own, under this job. */
async function read(metric: string, job: string): Promise<number> {
  const text = await (await fetch(`${gateway.url}/metrics`)).text();
  return Number(new RegExp(`^${metric}{.*job="${job}".*} (\\S+)`, "m").exec(text)?.[1] ?? 0);
}

/** A transaction with one row each, on a connection each, the statement prepared. */
async function insert(senders: number): Promise<Result> {
  await sql`create table inserts (like ledger_metrics.deliveries including all)`;
  const clients = Array.from({ length: senders }, () => postgres(server.superuserUrl, { max: 1 }));
  const digest = "0".repeat(64);
  let rows = 0;
  const work = async (sender: number) => {
    rows += 1;
    const client = clients[sender] as postgres.Sql;
    await client`insert into inserts (id, body_digest) values (${`msg_${rows}`}, ${digest})`;
  };
  await sendAll(senders, 500, work);
  const perSecond = await sendAll(senders, 3_000, work);
  await Promise.all(clients.map((client) => client.end()));
  await sql`drop table inserts`;
  return { perSecond };
}

/** What functions do that take the gateway for a counter. */
async function readAddPush(senders: number): Promise<Result> {
  const job = `naive_${senders}`;
  const timesEach = 200;
  const perSecond = await sendAll(senders, timesEach, async () => {
    const body = `# TYPE naive_total counter\nnaive_total ${(await read("naive_total", job)) + 1}\n`;
    await (await fetch(`${gateway.url}/metrics/job/${job}`, { method: "PUT", body })).text();
  });
  return { perSecond, lost: 1 - (await read("naive_total", job)) / (senders * timesEach) };
}

async function deliver(processes: number, load: Load): Promise<Result> {
  await sql`truncate ledger_metrics.deliveries, ledger_metrics.totals`;
  await fetch(`${gateway.url}/metrics/job/veza_reconciler`, { method: "DELETE" }); // Else its counters would be held.
  const options = { env: { ...process.env, ...environment }, stdio: ["ignore", "ignore", "inherit", "ipc"] as never };
  const receivers = Array.from({ length: processes }, () =>
    fork(path.join(import.meta.dirname, "receiver.ts"), [], options),
  );
  try {
    await tellAll(receivers, load);
    const startedAt = performance.now();
    const answers = await tellAll(receivers, "go");
    const endedAt = performance.now();
    const sent = processes * load.senders * load.timesEach;
    const posted = sent * 1.5 * load.events;
    let shown = 0;
    while (shown < posted && performance.now() - endedAt < 5_000) {
      shown = await read(reconcilerMetric.orphanRefunds, "veza_reconciler");
    }
    const lastMs = performance.now() - endedAt;
    const share = answers.reduce<number>((sum, published) => sum + Number(published), 0) / sent;
    return { perSecond: (1000 * sent) / (endedAt - startedAt), lost: 1 - shown / posted, published: { share, lastMs } };
  } finally {
    for (const receiver of receivers) receiver.kill("SIGKILL");
  }
}

/** Tells each process the same, and resolves to what each has answered. */
async function tellAll(receivers: ChildProcess[], message: Load | string): Promise<unknown[]> {
  const tell = async (receiver: ChildProcess) => {
    const answered = once(receiver, "message").then(([answer]) => answer);
    const ended = once(receiver, "exit").then(() => Promise.reject(new Error("a receiver has ended")));
    receiver.send(message);
    return await Promise.race([answered, ended]);
  };
  return await Promise.all(receivers.map(tell));
}

try {
  await createDemoLedger(server.superuserUrl);
  await sql`alter role veza_ledger_receiver password 'receiver' connection limit 250`;
  console.log(`${await describeMachine(sql)}\n`);
  print("a second, with as many senders", senderCounts.map(String));
  await report("single-row inserts", insert);
  await report("read from the gateway, add, push back", readAddPush);
  for (const events of [1, 100]) {
    const what = events === 1 ? "single events" : `batches of ${events}`;
    await report(`one receiver, ${what}`, (senders) => deliver(1, { senders, events, timesEach: 500 }));
    await report(`a receiver each, ${what}`, (senders) => deliver(senders, { senders: 1, events, timesEach: 120 }));
  }
} finally {
  await sql.end();
  await gateway.stop();
  await server.stop();
}
