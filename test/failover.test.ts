import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import type { Context, ScheduledEvent } from "aws-lambda";
import postgres from "postgres";
import { afterAll, beforeAll, expect, it, onTestFinished } from "vitest";
import { runSqlFiles } from "../commands/sql.ts";
import { handler as receiver } from "../handlers/receiver.ts";
import { handler as sampler } from "../handlers/sampler.ts";
import { serve } from "../local/function-url.ts";
import { startPrometheus } from "../local/programs.ts";
import {
  copyData,
  type Restartable,
  type RestartablePostgres,
  restartablePostgres,
  restartablePushgateway,
  startStandby,
} from "./chaos/servers.ts";
import { setEnvironment } from "./helpers/environment.ts";
import { scrape } from "./helpers/gateway.ts";
import { captureLog } from "./helpers/log.ts";
import { runScript } from "./helpers/processes.ts";
import { newSecret, post } from "./helpers/receiver.ts";

// What each failover and restore costs, on real servers: docs/failover.md.

const stage = "failover";
const secret = newSecret();
const orphans = "veza_reconciler_orphan_refunds_total";
const superuser = (server: Restartable) => `postgres://postgres:postgres@127.0.0.1:${server.port}/postgres`;

let url: string;
let stop: () => Promise<void>;
beforeAll(async () => {
  ({ url, stop } = await serve(receiver, 0));
});
afterAll(() => stop?.());

function sessionOn(server: Restartable): postgres.Sql {
  const admin = postgres(superuser(server), { max: 2, onnotice: () => {} });
  onTestFinished(() => admin.end({ timeout: 0 }));
  return admin;
}

const settingsOn = (database: Restartable, gateway: Restartable, role = "receiver") => ({
  DATABASE_URL: superuser(database).replace("postgres:postgres@", `veza_ledger_${role}:password@`),
  PUSHGATEWAY_URL: `http://127.0.0.1:${gateway.port}`,
  WEBHOOK_SECRET: secret,
  STAGE: stage,
  SECRET_ID: undefined,
});

async function startPrimary(): Promise<RestartablePostgres> {
  const primary = await restartablePostgres();
  const files = ["local/ledger.sql", "config/postgres/schema.sql", "config/postgres/roles.sql"];
  await runSqlFiles(superuser(primary), files);
  const admin = postgres(superuser(primary), { max: 1 });
  for (const role of ["sampler", "receiver"]) await admin.unsafe(`alter role veza_ledger_${role} password 'password'`);
  await admin.end();
  return primary;
}

/** Sends deliveries of one orphan refund each. Returns what became of them, by their ids. */
async function send(ids: string[]): Promise<Record<string, unknown>> {
  const body = JSON.stringify({ type: "reconciler.orphan_refund", timestamp: new Date().toISOString() });
  const answers = await Promise.all(
    ids.map(async (id) => {
      const { status, json } = await post(url, secret, body, { id });
      return [id, status === 200 ? json.status : status];
    }),
  );
  return Object.fromEntries(answers);
}

const named = (prefix: string, count: number) => Array.from({ length: count }, (_, index) => `${prefix}_${index}`);
const all = (ids: string[], outcome: unknown) => Object.fromEntries(ids.map((id) => [id, outcome]));

/** One tick. Returns what it says of the totals. */
async function tick(database: Restartable, gateway: Restartable): Promise<unknown[]> {
  const log = captureLog();
  setEnvironment(settingsOn(database, gateway, "sampler"));
  await sampler({} as ScheduledEvent, {} as Context, () => {});
  setEnvironment(settingsOn(database, gateway));
  return log.filter(({ message }) => message === "totals not published").map(({ reason }) => reason);
}

async function run(script: string, args: string[], database: Restartable, gateway: Restartable) {
  const program = runScript(script, args, settingsOn(database, gateway));
  await program.exited;
  return { exitCode: program.child.exitCode, output: program.output() };
}

/** The doctor's lines that begin with these words, without the padding. */
async function doctor(database: Restartable, gateway: Restartable, ...names: string[]): Promise<string[]> {
  const { output } = await run("commands/doctor.ts", ["receiver"], database, gateway);
  const lines = output.split("\n").map((line) => line.replaceAll(/ {2,}/g, " "));
  return lines.filter((line) => names.some((name) => line.slice(2).startsWith(name)));
}

const shown = async (gateway: Restartable) => (await scrape(stage, `http://127.0.0.1:${gateway.port}`))[orphans];
const total = async (admin: postgres.Sql) =>
  (await admin`select value::float8, ahead::float8 from ledger_metrics.totals where name = ${orphans}`)[0];

/** From now on the standby gets nothing any more. */
async function cutReplication(standby: postgres.Sql): Promise<void> {
  await standby`alter system set primary_conninfo = ''`;
  await standby`select pg_reload_conf()`;
  await expect.poll(() => standby`select from pg_stat_wal_receiver`).toHaveLength(0);
}

const expectLess = (from: number, to: number) => `${orphans} would fall from ${from} to ${to}: npm run restore-totals`;

it("loses what an asynchronous standby lacked; no counter falls, and all of it is counted in the end", async () => {
  const log = captureLog();
  const [primary, gateway] = await Promise.all([startPrimary(), restartablePushgateway()]);
  const standby = await startStandby(primary);
  const onStandby = sessionOn(standby);
  setEnvironment(settingsOn(primary, gateway));
  const early = named("early", 5);
  const late = named("late", 20);
  expect(await send(early)).toEqual(all(early, "recorded"));
  await expect.poll(async () => (await total(onStandby))?.value).toBe(5);
  expect(await doctor(primary, gateway, "standby", "totals on")).toEqual([
    "✓ totals on the gateway as the gateway shows them",
    "! standby asynchronous: a failover to it loses what was answered in the seconds before",
  ]);

  await cutReplication(onStandby);
  expect(await send(late)).toEqual(all(late, "recorded"));
  await expect.poll(() => shown(gateway)).toBe(25);
  await primary.kill();
  await onStandby`select pg_promote(true, 60)`;
  setEnvironment(settingsOn(standby, gateway));

  // The function that publishes first says so at once. The events are recorded meanwhile.
  expect(await send(["between"])).toEqual({ between: "recorded" });
  expect(log.at(-2)).toMatchObject({ level: "warn", message: "totals not published", reason: expectLess(25, 6) });
  expect(await tick(standby, gateway)).toEqual([expectLess(25, 6)]);
  expect(await shown(gateway)).toBe(25);
  expect(await doctor(standby, gateway, "totals on")).toEqual([
    `✗ totals on the gateway events are lost: the gateway shows ${orphans} 25, and Postgres 6 (1 such)`,
  ]);

  const restored = await run("commands/restore-totals.ts", [], standby, gateway);
  expect(restored).toEqual({
    exitCode: 0,
    output: `${orphans}: 6 → 25\nNext, send again what may be lost: docs/failover.md.\n`,
  });
  expect(await tick(standby, gateway)).toEqual([]);
  expect(await shown(gateway)).toBe(25);
  expect(await doctor(standby, gateway, "totals on")).toEqual([
    `! totals on the gateway ${orphans} is 19 ahead of what was recorded (1 such)`,
  ]);
  expect(await run("commands/restore-totals.ts", [], standby, gateway)).toEqual({
    exitCode: 0,
    output: "Every total is as high as shown.\n",
  });

  // New events, and all that were sent since before the failover, as ResendSince does it.
  expect(await send(["new"])).toEqual({ new: "recorded" });
  expect(await shown(gateway)).toBe(25);
  expect(await send([...late, ...early])).toEqual({ ...all(late, "recorded"), ...all(early, "duplicate") });
  expect(await total(onStandby)).toEqual({ value: 27, ahead: 0 });
  await expect.poll(() => shown(gateway)).toBe(27);
  expect(await doctor(standby, gateway, "totals on")).toEqual(["✓ totals on the gateway as the gateway shows them"]);
});

it("loses nothing that was confirmed with a synchronous standby, whoever cancels the wait for it", async () => {
  captureLog();
  const [primary, gateway] = await Promise.all([startPrimary(), restartablePushgateway()]);
  const standby = await startStandby(primary);
  const [onPrimary, onStandby] = [sessionOn(primary), sessionOn(standby)];
  await onPrimary`alter system set synchronous_standby_names = '*'`;
  await onPrimary`select pg_reload_conf()`;
  setEnvironment(settingsOn(primary, gateway));
  const early = named("early", 5);
  expect(await send(early)).toEqual(all(early, "recorded"));
  expect(await doctor(primary, gateway, "standby")).toEqual([
    "✓ standby 1 connected, synchronous_standby_names is set",
  ]);

  await cutReplication(onStandby);
  const late = named("late", 8);
  let cancels = 0;
  const sending = send(late);
  let isOver = false;
  const cancelling = (async () => {
    while (!isOver) {
      const waiting = await onPrimary`
        select pg_cancel_backend(pid) from pg_stat_activity where wait_event = 'SyncRep' and usename <> 'postgres'`;
      cancels += waiting.length;
    }
  })();
  expect(await sending).toEqual(all(late, 503));
  isOver = true;
  await cancelling;
  expect(cancels).toBeGreaterThanOrEqual(late.length);
  // They are there, and lost with the primary.
  expect((await total(onPrimary))?.value).toBe(5 + late.length);

  await primary.kill();
  await onStandby`select pg_promote(true, 60)`;
  setEnvironment(settingsOn(standby, gateway));
  expect(await total(onStandby)).toEqual({ value: 5, ahead: 0 });
  expect(await send([...early, ...late])).toEqual({ ...all(early, "duplicate"), ...all(late, "recorded") });
  expect(await total(onStandby)).toEqual({ value: 13, ahead: 0 });
});

it("loses what came after the restored copy; totals and increase() are right once it was sent again", async () => {
  captureLog();
  const [server, gateway] = await Promise.all([startPrimary(), restartablePushgateway()]);
  const gatewayUrl = `http://127.0.0.1:${gateway.port}`;
  const prometheus = await startPrometheus(0, { pushgatewayUrl: gatewayUrl, rules: "groups: []", interval: "1s" });
  onTestFinished(() => prometheus.stop());
  const ask = async (query: string) => {
    const answer = await fetch(`${prometheus.url}/api/v1/query?${new URLSearchParams({ query })}`);
    const { data } = (await answer.json()) as { data: { result: { value: [number, string] }[] } };
    return Number(data.result[0]?.value[1]);
  };
  const series = `${orphans}{stage="${stage}"}`;
  setEnvironment(settingsOn(server, gateway));
  await send([]);
  expect(await tick(server, gateway)).toEqual([]);
  await expect.poll(() => ask(series)).toBe(0);

  const kept = named("kept", 6);
  const lost = named("lost", 4);
  await send(kept);
  await server.kill();
  const copy = `${server.dataFolder}.copy`;
  await copyData(server.dataFolder, copy);
  await server.start();
  expect(await send(lost)).toEqual(all(lost, "recorded"));
  await expect.poll(() => ask(series)).toBe(10);
  await server.kill();
  await copyData(copy, server.dataFolder);
  await server.start();

  expect(await tick(server, gateway)).toEqual([expectLess(10, 6)]);
  // Somebody has wiped the gateway in the meantime, so that only Prometheus knows.
  await gateway.kill();
  await gateway.start();
  const fromGateway = await run("commands/restore-totals.ts", [], server, gateway);
  expect(fromGateway).toEqual({
    exitCode: 1,
    output: "Nothing was raised: the Pushgateway shows no totals of this stage; try --prometheus <url>\n",
  });
  const args = ["--prometheus", prometheus.url, "--within", "10m"];
  const restored = await run("commands/restore-totals.ts", args, server, gateway);
  expect(restored).toMatchObject({ exitCode: 0, output: expect.stringContaining(`${orphans}: 6 → 10\n`) });
  expect(await tick(server, gateway)).toEqual([]);
  expect(await send([...kept, ...lost])).toEqual({ ...all(kept, "duplicate"), ...all(lost, "recorded") });
  await send(["new"]);
  expect(await total(sessionOn(server))).toEqual({ value: 11, ahead: 0 });
  await expect.poll(() => ask(series)).toBe(11);
  expect(await ask(`resets(${series}[10m])`)).toBe(0);
});

it("sees a killed gateway with a file serve old totals until the next tick, which the doctor warns of", async () => {
  captureLog();
  const folder = await mkdtemp(path.join(tmpdir(), "veza-persistence-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const file = path.join(folder, "gateway");
  const [server, gateway] = await Promise.all([startPrimary(), restartablePushgateway(file)]);
  setEnvironment(settingsOn(server, gateway));
  await send(named("old", 5));
  // It writes its file every 5 min, and when it is asked to end.
  await gateway.kill("SIGTERM");
  await gateway.start();
  await send(named("new", 4));
  await expect.poll(() => stat(file).then(() => true));
  await gateway.kill();
  await gateway.start();
  expect(await shown(gateway)).toBe(5);
  expect(await doctor(server, gateway, "Pushgateway's")).toEqual([
    "✗ Pushgateway's memory the Pushgateway keeps a file: after a crash it shows old totals, and counters fall",
  ]);
  expect(await tick(server, gateway)).toEqual([]);
  expect(await shown(gateway)).toBe(9);
});
