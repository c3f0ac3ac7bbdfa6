// What each failover, restore and mix-up costs, on real servers: docs/lost-and-wrong-events.md.

import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { text } from "node:stream/consumers";
import type { Context, ScheduledEvent } from "aws-lambda";
import postgres from "postgres";
import { afterAll, beforeAll, expect, it, onTestFinished } from "vitest";
import { runSqlFiles } from "../../commands/sql.ts";
import { handler as receiver } from "../../handlers/receiver.ts";
import { handler as sampler } from "../../handlers/sampler.ts";
import { serve } from "../../local/function-url.ts";
import { startPrometheus } from "../../local/programs.ts";
import {
  copyData,
  type Restartable,
  type RestartablePostgres,
  restartablePostgres,
  restartablePushgateway,
  startStandby,
} from "../chaos/servers.ts";
import { setEnvironment } from "../helpers/environment.ts";
import { scrape } from "../helpers/gateway.ts";
import { captureLog } from "../helpers/log.ts";
import { runScript } from "../helpers/processes.ts";
import { newSecret, post } from "../helpers/receiver.ts";
import { httpServer } from "../helpers/servers.ts";

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
async function send(ids: string[], to = url): Promise<Record<string, unknown>> {
  const body = JSON.stringify({ type: "reconciler.orphan_refund", timestamp: new Date().toISOString() });
  const answers = await Promise.all(
    ids.map(async (id) => {
      const { status, json } = await post(to, secret, body, { id });
      return [id, status === 200 ? json.status : status];
    }),
  );
  return Object.fromEntries(answers);
}

const named = (prefix: string, count: number) => Array.from({ length: count }, (_, index) => `${prefix}_${index}`);
const all = (ids: string[], outcome: unknown) => Object.fromEntries(ids.map((id) => [id, outcome]));

/** One tick. Returns how many orphan refunds are held then, or why it has not published. */
async function tick(database: Restartable, gateway: Restartable): Promise<unknown> {
  const log = captureLog();
  setEnvironment(settingsOn(database, gateway, "sampler"));
  await sampler({} as ScheduledEvent, {} as Context, () => {});
  setEnvironment(settingsOn(database, gateway));
  const { by, reason }: Record<string, unknown> = log.find(({ level }) => level === "warn") ?? {};
  return by ? (by as Record<string, number>)[`${orphans}{}`] : (reason ?? 0);
}

/** A real gateway, and a real Prometheus that watches it all the time. */
async function startWatched() {
  const gateway = await restartablePushgateway();
  const pushgatewayUrl = `http://127.0.0.1:${gateway.port}`;
  const prometheus = await startPrometheus(0, { pushgatewayUrl, rules: "groups: []", interval: "200ms" });
  onTestFinished(() => prometheus.stop());
  /** What Prometheus has seen of a series, from its first sample on. */
  const history = async (name = orphans): Promise<number[]> => {
    const query = new URLSearchParams({ query: `${name}{stage="${stage}"}[10m]` });
    const { data } = (await (await fetch(`${prometheus.url}/api/v1/query?${query}`)).json()) as {
      data: { result: { values: [number, string][] }[] };
    };
    return (data.result[0]?.values ?? []).map(([, value]) => Number(value));
  };
  /** Waits until Prometheus has seen this value last. Returns falls and increase, as resets() and increase() do. */
  const seen = async (last: number) => {
    await expect.poll(async () => (await history()).at(-1)).toBe(last);
    const steps = (await history()).map((value, index, all) => ({ value, rise: value - (all[index - 1] ?? value) }));
    return {
      falls: steps.filter(({ rise }) => rise < 0).length,
      increase: steps.reduce((sum, { value, rise }) => sum + (rise < 0 ? value : rise), 0),
    };
  };
  return { gateway, history, seen };
}

/** The doctor's lines that begin with these words, without the padding, and the remedies below them. */
async function doctor(database: Restartable, gateway: Restartable, ...names: string[]): Promise<string[]> {
  const program = runScript("commands/doctor.ts", ["receiver"], settingsOn(database, gateway));
  await program.exited;
  const lines = program
    .output()
    .split(/\n(?=\S)/)
    .map((line) => line.replaceAll(/\s+/g, " ").trim());
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

const asShown = "✓ totals on the gateway as the gateway shows them";

it("loses what an asynchronous standby lacked; its counter alone waits until all was sent again", async () => {
  captureLog();
  const [primary, { gateway, history, seen }] = await Promise.all([startPrimary(), startWatched()]);
  const standby = await startStandby(primary);
  const onStandby = sessionOn(standby);
  await tick(primary, gateway);
  await seen(0);
  const [early, late] = [named("early", 5), named("late", 20)];
  expect(await send(early)).toEqual(all(early, "recorded"));
  await expect.poll(async () => (await total(onStandby))?.value).toBe(5);
  expect(await doctor(primary, gateway, "standby", "totals on")).toEqual([
    asShown,
    expect.stringMatching(/^! standby asynchronous: a failover to it loses what was answered in the seconds before/),
  ]);

  await cutReplication(onStandby);
  expect(await send(late)).toEqual(all(late, "recorded"));
  await seen(25);
  await primary.kill();
  await onStandby`select pg_promote(true, 60)`;
  setEnvironment(settingsOn(standby, gateway));

  // A new event counts for a lost one meanwhile. Other counters go on.
  const log = captureLog();
  expect(await send(["between"])).toEqual({ between: "recorded" });
  expect(log[0]).toEqual({ level: "warn", message: "counters held", by: { [`${orphans}{}`]: 19 } });
  const sweep = { type: "reconciler.sweep", timestamp: "2026-01-31T12:00:00Z", data: { duration_seconds: 1 } };
  expect((await post(url, secret, JSON.stringify(sweep))).json).toMatchObject({ published: true });
  expect(await tick(standby, gateway)).toBe(19);
  expect(await scrape(stage, `http://127.0.0.1:${gateway.port}`)).toMatchObject({
    ...{ [orphans]: 25, veza_reconciler_counters_held: 1, veza_reconciler_sweep_duration_seconds_count: 1 },
  });
  const [problem = ""] = await doctor(standby, gateway, "totals on");
  expect(problem).toContain(
    `✗ totals on the gateway events are lost: the gateway shows ${orphans} 25, and Postgres has 6`,
  );

  // The statement that the doctor prints lets the gateway restart meanwhile. Twice is once.
  const asReceiver = postgres(settingsOn(standby, gateway).DATABASE_URL, { max: 1 });
  for (let time = 0; time < 2; time += 1) await asReceiver.unsafe(/with locked .*;$/.exec(problem)?.[0] ?? "");
  await asReceiver.end();
  expect(await total(onStandby)).toEqual({ value: 25, ahead: 19 });
  await gateway.kill();
  await gateway.start();
  expect(await tick(standby, gateway)).toBe(0);
  expect(await doctor(standby, gateway, "totals on")).toEqual([
    expect.stringMatching(`! totals on the gateway ${orphans} is 19 ahead of what was recorded \\(1 such\\)`),
  ]);

  // New events, and all that were sent since before the failover, as ResendSince does it.
  expect(await send(["new"])).toEqual({ new: "recorded" });
  expect(await shown(gateway)).toBe(25);
  expect(await send([...late, ...early])).toEqual({ ...all(late, "recorded"), ...all(early, "duplicate") });
  expect(await total(onStandby)).toEqual({ value: 27, ahead: 0 });
  expect(await seen(27)).toEqual({ falls: 0, increase: 27 });
  expect(Math.max(...(await history("veza_reconciler_counters_held")))).toBe(1);
  expect(await doctor(standby, gateway, "totals on")).toEqual([asShown]);
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
  const standbyLine = "✓ standby 1 connected, synchronous_standby_names is set";
  expect(await doctor(primary, gateway, "standby")).toEqual([standbyLine]);

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

it.each(["a copy of the data was restored", "a dump was restored into the running server"])(
  "loses what came after the copy when %s; increase() is right once it was sent again",
  async (how) => {
    captureLog();
    const [server, { gateway, seen }] = await Promise.all([startPrimary(), startWatched()]);
    const [admin, copy] = [sessionOn(server), `${server.dataFolder}.copy`];
    const replaceData = async (from: string, to: string) => {
      await server.kill("SIGINT"); // A killed server's segment would be known to the replaced data alone.
      await copyData(from, to);
      await server.start();
    };
    const [backUp, restore] = how.startsWith("a copy")
      ? [() => replaceData(server.dataFolder, copy), () => replaceData(copy, server.dataFolder)]
      : [
          () =>
            admin.unsafe(
              "create table d as table ledger_metrics.deliveries; create table t as table ledger_metrics.totals",
            ),
          () =>
            admin.unsafe(`truncate ledger_metrics.deliveries, ledger_metrics.totals;
            insert into ledger_metrics.deliveries table d; insert into ledger_metrics.totals table t`),
        ];
    await tick(server, gateway);
    await seen(0);
    const [kept, lost] = [named("kept", 3), named("lost", 4)];
    await send(kept);
    await backUp();
    expect(await send(lost)).toEqual(all(lost, "recorded"));
    await seen(7);
    await restore();

    expect(await tick(server, gateway)).toBe(4);
    expect(await send([...kept, ...lost])).toEqual({ ...all(kept, "duplicate"), ...all(lost, "recorded") });
    await send(["new"]);
    expect(await tick(server, gateway)).toBe(0);
    expect(await seen(8)).toEqual({ falls: 0, increase: 8 });
    expect((await total(sessionOn(server)))?.value).toBe(8);
  },
);

it("lets no counter fall while two primaries live, each with a receiver, and when one of them is emptied", async () => {
  const [primary, { gateway, history, seen }] = await Promise.all([startPrimary(), startWatched()]);
  const standby = await startStandby(primary);
  const onStandby = sessionOn(standby);
  await tick(primary, gateway);
  await seen(0);
  await onStandby`select pg_promote(true, 60)`;
  const startReceiver = (server: Restartable) =>
    runScript("test/programs/receiver.ts", [], settingsOn(server, gateway)).printed(/receiver (\S+)/);
  const [onThis = "", onThat = ""] = await Promise.all([primary, standby].map(startReceiver));
  for (const [index, id] of named("split", 12).entries()) {
    expect(await send([id], index % 3 ? onThis : onThat)).toEqual({ [id]: "recorded" });
  }
  expect(await tick(standby, gateway)).toBe(4);
  await onStandby`truncate ledger_metrics.totals`;
  expect(await tick(standby, gateway)).toBe(8);
  expect(await seen(8)).toEqual({ falls: 0, increase: 8 });
  await expect.poll(async () => (await history("veza_reconciler_counters_held")).at(-1)).toBe(1);
});

it("holds on a gateway of 5 MB, and holds a wrong number until its group is deleted under the lock", async () => {
  const [server, gateway] = await Promise.all([startPrimary(), restartablePushgateway()]);
  const push = async (job: string, body: string, method = "PUT") => {
    const address = `http://127.0.0.1:${gateway.port}/metrics/job/${job}`;
    expect((await fetch(address, { method, ...(body && { body }) })).ok).toBe(true);
  };
  await push(
    "other",
    Array.from({ length: 60_000 }, (_, n) => `a{with="a label of this length",n="${n}"} ${n}\n`).join(""),
  );
  expect((await (await fetch(`http://127.0.0.1:${gateway.port}/metrics`)).text()).length).toBeGreaterThan(4_000_000);
  await push(`veza_reconciler/stage/${stage}`, `# TYPE ${orphans} counter\n${orphans} 1000\n`);
  expect(await tick(server, gateway)).toBe(1_000);
  expect(await shown(gateway)).toBe(1_000);
  await sessionOn(server).begin(async (sql) => {
    await sql`select pg_advisory_xact_lock(1986361953, 1)`;
    await push(`veza_reconciler/stage/${stage}`, "", "DELETE");
  });
  expect(await tick(server, gateway)).toBe(0);
  expect(await shown(gateway)).toBe(0);
});

it("lets a counter fall after a loss where nothing is compared, as behind an ingress for pushes alone", async () => {
  const [server, { gateway, seen }] = await Promise.all([startPrimary(), startWatched()]);
  const ingressUrl = await httpServer(async (request, response) => {
    const { method = "", url } = request;
    const body = await text(request);
    const passed = method === "PUT" && (await fetch(`http://127.0.0.1:${gateway.port}${url}`, { method, body }));
    response.writeHead(passed ? passed.status : 405).end();
  });
  const ingress = { ...gateway, port: Number(new URL(ingressUrl).port) };
  await tick(server, ingress);
  await seen(0);
  await send(named("counted", 5));
  await seen(5);
  await sessionOn(server)`update ledger_metrics.totals set value = 3`;
  const notCompared = "✓ totals on the gateway not compared: the Pushgateway answered 405: no /metrics";
  expect(await doctor(server, ingress, "totals on")).toEqual([notCompared]);
  expect(await tick(server, ingress)).toBe(0);
  expect(await seen(3)).toEqual({ falls: 1, increase: 5 + 3 });
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
    expect.stringMatching(/^✗ Pushgateway's memory the Pushgateway keeps a file: after a crash it shows old totals/),
  ]);
  expect(await tick(server, gateway)).toBe(0);
  expect(await shown(gateway)).toBe(9);
});
