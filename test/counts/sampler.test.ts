// The sampler's ticks: what they push, log and throw, and within which limits.

import { hash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { Context, ScheduledEvent } from "aws-lambda";
import { beforeEach, expect, inject, it, onTestFinished, vi } from "vitest";
import { handler } from "../../handlers/sampler.ts";
import { type Check, type CheckId, checks, questionOf } from "../../lib/counts/checks.ts";
import { countTimeoutMs } from "../../lib/counts/counting.ts";
import { startReplica } from "../chaos/servers.ts";
import { databaseForFile, inPublic, lockTable, targetOf } from "../helpers/database.ts";
import { setEnvironment } from "../helpers/environment.ts";
import { gatewayTaking, scrape, wipe } from "../helpers/gateway.ts";
import { captureLog } from "../helpers/log.ts";
import { forEachCheck, insertRows, onTable } from "../helpers/models.ts";
import { setGroup } from "../helpers/monitoring.ts";
import { runScript } from "../helpers/processes.ts";
import { startProxy } from "../helpers/proxy.ts";
import { httpServer, tcpServer } from "../helpers/servers.ts";
import { startStopwatch } from "../helpers/stopwatch.ts";

const stage = "sampler";
const database = await databaseForFile();
await database.admin.unsafe(`
  insert into orders (status, hyperswitch_payment_id, created_at)
    select 'pending', 'pay', now() - interval '1 hour' from generate_series(1, 3);
  ${insertRows(checks.at(-1) as Check, 1)}`);
let log: ReturnType<typeof captureLog>;
beforeEach(async () => {
  log = captureLog();
  await wipe(stage);
  setEnvironment({
    DATABASE_URL: database.samplerUrl,
    PUSHGATEWAY_URL: inject("pushgatewayUrl"),
    PUSHGATEWAY_TOKEN: undefined,
    STAGE: stage,
    SECRET_ID: undefined,
  });
});

const tick = async () => handler({} as ScheduledEvent, {} as Context, () => {});
const run = async (statements: string): Promise<void> => void (await database.admin.unsafe(statements));
/** The sampler's sessions on the server. */
const sessions = () => database.admin`select pid from pg_stat_activity
  where application_name = 'veza-ledger-sampler' and datname = current_database()`;
const counts: Record<CheckId, number> = { ...forEachCheck(() => 0), stuck_orders: 3, [checks.at(-1)?.id ?? ""]: 1 };
/** A number of each check, by the name of its metric. */
const byMetric = (values: Record<string, number>) =>
  Object.fromEntries(checks.flatMap(({ id, metric }) => (id in values ? [[metric, values[id]]] : [])));
const bySuccess = (values: Record<string, number>) =>
  Object.fromEntries(Object.entries(values).map(([id, value]) => [`veza_ledger_check_success{check="${id}"}`, value]));
const gauges = byMetric(counts);
const allUnknown = byMetric(forEachCheck(() => -1));
const allKnown = bySuccess(forEachCheck(() => 1));
const successes = (series: Record<string, number>) =>
  Object.fromEntries(Object.entries(series).filter(([name]) => name.includes("check_success")));

it("pushes the gauges, the oldest rows, its version, time and duration, and logs one line", async () => {
  setEnvironment({ VERSION: "1.2.3-test", AWS_REGION: "eu-test-1" });
  vi.useFakeTimers({ toFake: ["performance"] });
  onTestFinished(() => void vi.useRealTimers());
  const ticking = tick();
  vi.advanceTimersByTime(1_234); // While it reads its settings.
  await ticking;
  const series = await scrape(stage);
  expect(series).toMatchObject({ ...gauges, 'veza_ledger_oldest_item_timestamp_seconds{check="stuck_refunds"}': 0 });
  const oldest = series['veza_ledger_oldest_item_timestamp_seconds{check="stuck_orders"}'] ?? 0;
  expect(Math.abs(Date.now() / 1000 - 3600 - oldest)).toBeLessThan(60);
  const age = series['veza_ledger_oldest_open_age_seconds{check="stuck_orders"}'] ?? 0;
  expect(age).toBeCloseTo((series.veza_ledger_sample_timestamp_seconds ?? 0) - oldest, 3);
  expect(series.veza_ledger_sample_duration_seconds).toBe(1.234);
  const host = hash("sha256", new URL(database.adminUrl).host).slice(0, 8);
  const info = `sampler_info{database="ledger_\\w+@${host}",region="eu-test-1",version="1.2.3-test"}`;
  expect(Object.keys(series).join()).toMatch(new RegExp(info));
  expect(successes(series)).toEqual(allKnown);
  expect(log[0]).toEqual({ level: "info", message: "tick", ...counts, duration_seconds: 1.234 });
  expect(log).toHaveLength(3); // And the rows.
});

it("tells whose numbers it has replaced: of another region or database within 3 minutes, and of no other version", async () => {
  const others = async () => {
    await tick();
    const series = await scrape(stage);
    const found = Object.entries(series).filter(([name]) => name.includes("other_sampler"));
    return { at: series.veza_ledger_sample_timestamp_seconds, others: Object.fromEntries(found) };
  };
  const otherTick = (database: string, region: string, at: number) =>
    setGroup(inject("pushgatewayUrl"), "veza_ledger", stage, [
      "# TYPE veza_ledger_sampler_info gauge", // As every sampler's: of two types, the gateway refuses the second.
      `veza_ledger_sampler_info{version="1",region="${region}",database="${database}"} 1`,
      "# TYPE veza_ledger_sample_timestamp_seconds gauge",
      `veza_ledger_sample_timestamp_seconds ${at}`,
    ]);
  const name = (database: string, region: string) =>
    `veza_ledger_other_sampler_timestamp_seconds{database="${database}",region="${region}"}`;
  setEnvironment({ VERSION: "1", AWS_REGION: "eu-test-1" });
  expect((await others()).others).toEqual({});
  setEnvironment({ VERSION: "2" });
  const { at, others: ofItself } = await others();
  expect(ofItself).toEqual({});
  setEnvironment({ AWS_REGION: "us-test-1" });
  expect(Object.values((await others()).others)).toEqual([at]);
  const now = Math.floor(Date.now() / 1000);
  await otherTick("ledger@other", "us-test-1", now - 170);
  expect((await others()).others).toEqual({ [name("ledger@other", "us-test-1")]: now - 170 });
  expect((await others()).others).toEqual({});
  await otherTick("ledger@other", "us-test-1", now - 240);
  expect((await others()).others).toEqual({});
});

it("publishes the totals after its own gauges: a wiped gateway is whole again within a tick", async () => {
  await database.admin`
    insert into ledger_metrics.totals values ('veza_reconciler_actions_total', '{"phase": "stuck_orders"}', 7)`;
  await tick();
  await wipe(stage);
  expect(await scrape(stage)).toEqual({});
  await tick();
  expect(await scrape(stage)).toMatchObject({
    ...gauges,
    'veza_reconciler_actions_total{phase="stuck_orders"}': 7,
    'veza_reconciler_actions_total{phase="stuck_refunds"}': 0,
    veza_reconciler_last_run_timestamp: 0,
  });
});

it("counts nothing on a replica, and publishes nothing from it: it may lag, and its locks are its own", async () => {
  setEnvironment({ DATABASE_URL: await startReplica() });
  await tick();
  const series = await scrape(stage);
  expect(series).toMatchObject(allUnknown);
  expect(series).not.toHaveProperty("veza_reconciler_last_run_timestamp");
  expect(log.filter(({ level }) => level !== "info").map(({ reason }) => reason)).toEqual([
    ...checks.map(() => "a replica: name the primary"),
    "cannot set transaction read-write mode during recovery",
  ]);
});

/** A proxy in front of Postgres that lets the first answer to a check through, and nothing after it. */
async function fallingMute(): Promise<string> {
  const { port } = targetOf(database.samplerUrl);
  let isAsked = false;
  let isMute = false;
  const proxy = await startProxy(port, {
    allow: (chunk) => {
      isAsked ||= chunk.includes('from "public".orders');
      return true;
    },
    answer: (chunk) => {
      if (!isAsked) return chunk;
      const first = isMute ? 0 : chunk.indexOf("Z\0\0\0\x05", chunk.indexOf("SELECT 1")) + 6;
      isMute = true;
      return chunk.subarray(0, first);
    },
  });
  return database.samplerUrl.replace(`:${port}/`, `:${proxy.port}/`);
}

it("ends in time whatever falls silent, each in a process with nothing else in it", async () => {
  const port = await tcpServer(() => {});
  const pushes: (string | undefined)[] = [];
  const gateway = await httpServer((request) => void pushes.push(request.url));
  const silent = { DATABASE_URL: `postgres://sampler:hunter2@127.0.0.1:${port}/x` };
  const cases: Record<string, [settings: Record<string, string>, ends: RegExp, limitMs: number]> = {
    // 8 s to count, 1 s to look for another sampler, twice 3 s to push, 3.5 s to publish, and 2 s for ids. The rest is
    // for the machine.
    silent: [silent, /CONNECT_TIMEOUT.*\ncounts .*"stuck_orders":-1/s, 20_000],
    falling: [{ DATABASE_URL: await fallingMute() }, /^counts .*"stuck_orders":3/m, 20_000],
    both: [{ ...silent, PUSHGATEWAY_URL: gateway }, /^failed: .*no answer within 3000 ms/m, 25_000], // The function has 25 s.
  };
  const tickAlone = async ([name, [settings, ends, limitMs]]: [string, (typeof cases)[string]]) => {
    const program = runScript("test/programs/tick.ts", [], { ...settings, STAGE: `${stage}_${name}` });
    await program.exited;
    expect(program.output(), name).toMatch(ends);
    expect(program.output(), name).not.toContain("hunter2");
    expect(Number(/^took (\d+) ms/m.exec(program.output())?.[1]), name).toBeLessThan(limitMs);
  };
  await Promise.all(Object.entries(cases).map(tickAlone));
  const pushed = pushes.filter((url) => url?.includes("/job/veza_ledger/"));
  expect(pushed).toEqual(Array(2).fill(`/metrics/job/veza_ledger/stage/${stage}_both`));
  for (const [name, orders] of Object.entries({ silent: -1, falling: 3 })) {
    const series = await scrape(`${stage}_${name}`);
    expect(series).toMatchObject({ ...allUnknown, veza_ledger_stuck_orders_pending: orders });
  }
});

it("retries unanswered checks once on a new connection when its session ends in the middle of a tick", async () => {
  const name = targetOf(database.adminUrl).database;
  await run(`alter role veza_ledger_sampler in database ${name} set lock_timeout = '10s';
    alter role veza_ledger_sampler in database ${name} set statement_timeout = '10s'`);
  onTestFinished(() => run(`alter role veza_ledger_sampler in database ${name} reset all`));
  // What a person has accepted is asked for after the first answer, and so on the second session.
  await run(`insert into ledger_metrics.accepted ("check", id, until, why)
    select 'stuck_orders', id, now() + interval '1 day', 'known'
    from orders limit 1`);
  onTestFinished(() => run("truncate ledger_metrics.accepted"));
  const askedOn: string[] = []; // What each session was asked.
  const { port } = await startProxy(targetOf(database.samplerUrl).port, {
    allow(chunk) {
      if (chunk.includes("application_name\0")) askedOn.push("");
      askedOn.push(`${askedOn.pop()}${chunk}`);
      return true;
    },
  });
  setEnvironment({ DATABASE_URL: database.samplerUrl.replace(/:\d+\//, `:${port}/`) });
  const unlock = await lockTable(database, "refunds");
  const ticking = tick();
  const end = () => database.admin`select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and application_name = 'veza-ledger-sampler' and wait_event_type = 'Lock'`;
  await expect.poll(end, { interval: 20 }).toHaveLength(1);
  await unlock();
  await ticking;
  expect(await scrape(stage)).toMatchObject({ ...gauges, veza_reconciler_last_run_timestamp: 0 });
  expect(await scrape(stage)).toMatchObject({
    'veza_ledger_overdue_rows{check="stuck_orders"}': 2,
    'veza_ledger_evidence_success{check="stuck_orders"}': 1,
  });
  expect(log.filter(({ level }) => level !== "info")).toEqual([]);
  expect(askedOn).toHaveLength(2);
  const wasAsked = (check: Check) => askedOn[1]?.includes(inPublic(questionOf(check, { withOldest: true })));
  const locked = checks.findIndex(({ table }) => table === "refunds");
  expect(checks.slice(0, locked).some(wasAsked)).toBe(false);
  expect(checks.slice(locked).every(wasAsked)).toBe(true);
  expect(askedOn[1]).not.toContain("typarray"); // To ask for types would cost a round trip.
});

it("has one session at most, and none that stays, when a count does not end, and pushes -1 for it", async () => {
  await run(`alter table orders rename to slow_orders;
    create view orders as select slow_orders.* from slow_orders, pg_sleep(60);
    grant select on orders to veza_ledger_sampler`);
  onTestFinished(() => run("drop view orders; alter table slow_orders rename to orders"));
  const stopwatch = startStopwatch();
  let isTicking = true;
  const ticking = tick().finally(() => {
    isTicking = false;
  });
  while (isTicking) {
    expect((await sessions()).length).toBeLessThanOrEqual(1);
    await sleep(25); // A look takes CPU time from the tick.
  }
  await ticking;
  const [failed] = log.filter(({ message, check }) => message === "check failed" && check === "stuck_orders");
  const limitSeconds = countTimeoutMs / 1000;
  const reason = expect.stringMatching(new RegExp(`: a count may take ${limitSeconds} s$`));
  expect(failed).toMatchObject({ code: "57014", reason });
  const ofOrders = Object.keys(onTable("orders", 0)).length;
  expect(stopwatch()).toBeLessThan(2_500 + 2 * countTimeoutMs * ofOrders);
  await expect.poll(sessions).toHaveLength(0);
  const series = await scrape(stage);
  expect(series).toMatchObject({ ...gauges, ...byMetric(onTable("orders", -1)) });
  // Its time is from before it waited.
  const { veza_ledger_sample_timestamp_seconds: at = 0, veza_ledger_sample_duration_seconds: waited = 0 } = series;
  expect(waited).toBeGreaterThan(limitSeconds * ofOrders);
  expect(at).toBeLessThanOrEqual(Date.now() / 1000 - waited);
});

it("pushes once more after a 5xx, throws after a refusal, and leaves no session behind", async () => {
  const statuses = [503, 200, 200, 400];
  const url = await gatewayTaking((_, response) => response.writeHead(statuses.shift() ?? 500).end());
  setEnvironment({ PUSHGATEWAY_URL: url });
  await tick();
  await expect(tick()).rejects.toThrow("answered 400");
  expect(log.filter(({ message }) => message === "tick")).toHaveLength(1); // Of the first alone.
  expect(statuses).toEqual([]);
  await expect.poll(sessions).toHaveLength(0);
});
