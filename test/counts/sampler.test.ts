// The sampler's ticks: what they push, log and throw, and within which limits.

import type { Context, ScheduledEvent } from "aws-lambda";
import { afterAll, beforeAll, beforeEach, describe, expect, inject, it, onTestFinished } from "vitest";
import { handler } from "../../handlers/sampler.ts";
import { type Check, checks, rowsOf } from "../../lib/checks.ts";
import { startReplica } from "../chaos/servers.ts";
import { createDatabase, lockTable, targetOf } from "../helpers/database.ts";
import { setEnvironment } from "../helpers/environment.ts";
import { gatewayTaking, scrape, wipe } from "../helpers/gateway.ts";
import { captureLog } from "../helpers/log.ts";
import { forEachCheck, onTable } from "../helpers/models.ts";
import { runScript } from "../helpers/processes.ts";
import { startProxy } from "../helpers/proxy.ts";
import { assertRights } from "../helpers/sample.ts";
import { fakeSecretsManager } from "../helpers/secrets.ts";
import { closedPort, tcpServer } from "../helpers/servers.ts";

const stage = "sampler";
const functionTimeoutMs = 25_000;
const database = await createDatabase();
afterAll(() => database.remove());
beforeAll(async () => {
  await assertRights(database);
  await database.admin.unsafe(`
    insert into orders (status, hyperswitch_payment_id, created_at)
      select 'pending', 'pay', now() - interval '1 hour' from generate_series(1, 3);
    insert into seller_transfers (status, updated_at) values ('permanently_failed', now())`);
});
beforeEach(async () => {
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
const counts: Record<string, number> = { ...forEachCheck(() => 0), stuck_orders: 3, failed_transfers: 1 };
/** A number of each check, by the name of its metric. */
const byMetric = (values: Record<string, number>) =>
  Object.fromEntries(checks.flatMap(({ id, metric }) => (id in values ? [[metric, values[id]]] : [])));
const bySuccess = (values: Record<string, number>) =>
  Object.fromEntries(Object.entries(values).map(([id, value]) => [`veza_ledger_check_success{check="${id}"}`, value]));
const gauges = byMetric(counts);
const allUnknown = byMetric(forEachCheck(() => -1));
const ordersUnknown = { ...gauges, ...byMetric(onTable("orders", -1)) };
const allKnown = bySuccess(forEachCheck(() => 1));
const successes = (series: Record<string, number>) =>
  Object.fromEntries(Object.entries(series).filter(([name]) => name.includes("success")));

it("pushes the gauges, the oldest rows, its time and its duration, and logs one line", async () => {
  const log = captureLog();
  const before = Date.now() / 1000;
  await tick();
  const series = await scrape(stage);
  expect(series).toMatchObject({ ...gauges, 'veza_ledger_oldest_item_timestamp_seconds{check="stuck_refunds"}': 0 });
  const oldest = series['veza_ledger_oldest_item_timestamp_seconds{check="stuck_orders"}'] ?? 0;
  expect(Math.abs(Date.now() / 1000 - 3600 - oldest)).toBeLessThan(60);
  expect(series.veza_ledger_sample_duration_seconds).toBeGreaterThan(0);
  expect(series.veza_ledger_sample_timestamp_seconds).toBeGreaterThanOrEqual(before);
  expect(series.veza_ledger_sample_timestamp_seconds).toBeLessThanOrEqual(Date.now() / 1000);
  expect(successes(series)).toEqual(allKnown);
  expect(log).toEqual([{ level: "info", message: "tick", ...counts, duration_seconds: expect.any(Number) }]);
});

it("pushes -1 and no oldest row for a check that fails, and logs which and why", async () => {
  const log = captureLog();
  await lockTable(database, "orders");
  await tick();
  const series = await scrape(stage);
  expect(series).toMatchObject(ordersUnknown);
  expect(series).not.toHaveProperty('veza_ledger_oldest_item_timestamp_seconds{check="stuck_orders"}');
  expect(successes(series)).toEqual({ ...allKnown, ...bySuccess(onTable("orders", 0)) });
  const reason = "canceling statement due to lock timeout";
  expect(log.filter(({ level }) => level === "error")).toEqual(
    Object.keys(onTable("orders", 0)).map((check) => ({
      ...{ level: "error", message: "check failed", check },
      ...{ code: "55P03", reason },
    })),
  );
});

it("publishes the totals after its own gauges: a wiped gateway is whole again within a tick", async () => {
  captureLog();
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

it("warns once when the schema of the totals is missing, and pushes its gauges all the same", async () => {
  const log = captureLog();
  await database.admin`alter schema ledger_metrics rename to elsewhere`;
  try {
    await tick();
  } finally {
    await database.admin`alter schema elsewhere rename to ledger_metrics`;
  }
  const series = await scrape(stage);
  expect(series).toMatchObject(gauges);
  expect(series).not.toHaveProperty("veza_reconciler_last_run_timestamp");
  expect(log.filter(({ level }) => level !== "info")).toEqual([
    {
      level: "warn",
      message: "totals not published",
      code: "42P01",
      reason: 'relation "ledger_metrics.totals" does not exist',
    },
  ]);
});

it("counts nothing on a replica, and publishes nothing from it: it may lag, and its locks are its own", async () => {
  const log = captureLog();
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

it("does not miss a tick when the password is rotated in Postgres and in the secret", async () => {
  const log = captureLog();
  const secret = { DATABASE_URL: database.samplerUrl, PUSHGATEWAY_URL: inject("pushgatewayUrl") };
  const { reads } = await fakeSecretsManager({ "veza/ledger": secret });
  await database.admin`create role rotating login password 'first' in role veza_ledger_sampler`;
  secret.DATABASE_URL = database.samplerUrl.replace("veza_ledger_sampler:sampler", "rotating:first");
  setEnvironment({ DATABASE_URL: undefined, PUSHGATEWAY_URL: undefined, SECRET_ID: "veza/ledger" });
  await tick();
  expect(reads).toHaveLength(1);

  await database.admin`alter role rotating password 'second'`;
  secret.DATABASE_URL = secret.DATABASE_URL.replace("first", "second");
  await wipe(stage);
  await tick();
  expect(await scrape(stage)).toMatchObject(gauges);
  expect(log.filter(({ level }) => level === "error")).toEqual([]);

  await tick();
  expect(reads).toHaveLength(2);
});

describe("with a faulty database", () => {
  /** A tick that ends within a second. Resolves to the reasons in its log. */
  async function faultyTick(port: number) {
    const log = captureLog();
    await tick();
    setEnvironment({ DATABASE_URL: `postgres://sampler:hunter2@127.0.0.1:${port}/ledger` });
    const startedAt = performance.now();
    await tick();
    expect(performance.now() - startedAt).toBeLessThan(1_000);
    const series = await scrape(stage);
    expect(series).toMatchObject(allUnknown);
    expect(Object.keys(series).filter((name) => name.includes("oldest"))).toEqual([]); // Of the tick before.
    expect(JSON.stringify(log)).not.toContain("hunter2");
    return log.map(({ reason }) => reason).filter(Boolean);
  }

  it("pushes -1 for each check when nobody listens", async () => {
    const reasons = await faultyTick(closedPort);
    expect(reasons).toHaveLength(checks.length + 1);
    expect(reasons[0]).toContain("ECONNREFUSED");
  });

  it("pushes -1 for each check when the server hangs up during start-up, and dials twice for each phase", async () => {
    let dials = 0;
    const port = await tcpServer((socket) => {
      dials += 1;
      socket.once("data", () => socket.end());
    });
    expect((await faultyTick(port))[0]).toContain("hung up");
    expect(dials).toBe(4);
  });
});

describe("ends in time, each in a process with nothing else in it,", () => {
  /** A proxy in front of Postgres that lets the first answer to a check through, and nothing after it. */
  async function fallingMute(): Promise<string> {
    const { port } = targetOf(database.samplerUrl);
    let isAsked = false;
    let isMute = false;
    const proxy = await startProxy(port, {
      allow: (chunk) => {
        isAsked ||= chunk.includes("from orders");
        return true;
      },
      answer: (chunk) => {
        if (!isAsked) return chunk;
        const first = isMute ? 0 : chunk.indexOf("Z", chunk.indexOf("SELECT 1")) + 6;
        isMute = true;
        return chunk.subarray(0, first);
      },
    });
    return database.samplerUrl.replace(`:${port}/`, `:${proxy.port}/`);
  }

  it("whatever falls silent: Postgres, the gateway, or both", async () => {
    const port = await tcpServer(() => {});
    const mute = { database: `postgres://sampler:hunter2@127.0.0.1:${port}/x`, gateway: `http://127.0.0.1:${port}` };
    const both = { DATABASE_URL: mute.database, PUSHGATEWAY_URL: mute.gateway };
    const cases: Record<string, [settings: Record<string, string>, ends: RegExp, limitMs: number]> = {
      // 8 s to count, 3.5 s to publish, and twice 3 s to push.
      silent: [{ DATABASE_URL: mute.database }, /^counts .*"stuck_orders":-1/m, 12_500],
      falling: [{ DATABASE_URL: await fallingMute() }, /^counts .*"stuck_orders":3/m, 12_500],
      gateway: [{ PUSHGATEWAY_URL: mute.gateway }, /^failed: .*no answer within 3000 ms/m, 7_000],
      both: [both, /^failed: .*no answer within 3000 ms/m, functionTimeoutMs - 2_000],
    };
    const tickAlone = async ([name, [settings, ends, limitMs]]: [string, (typeof cases)[string]]) => {
      const program = runScript("test/programs/tick.ts", [], { ...settings, STAGE: `${stage}_${name}` });
      await program.exited;
      expect(program.output(), name).toMatch(ends);
      expect(program.output(), name).not.toContain("hunter2");
      expect(Number(/^took (\d+) ms/m.exec(program.output())?.[1]), name).toBeLessThan(limitMs);
    };
    await Promise.all(Object.entries(cases).map(tickAlone));
    for (const [name, orders] of [
      ["silent", -1],
      ["falling", 3],
    ] as const) {
      const series = await scrape(`${stage}_${name}`);
      expect(series).toMatchObject({ ...allUnknown, veza_ledger_stuck_orders_pending: orders });
      expect(series.veza_ledger_sample_duration_seconds).toBeLessThan(8.5);
    }
  });
});

describe("when its session ends in the middle of a tick", () => {
  /** A proxy in front of Postgres that ends so many sessions when their statements come. It counts dials. */
  async function endingProxy(sessionsToEnd: number) {
    const seen = { port: 0, dials: 0, askedLast: "" };
    const { port } = await startProxy(targetOf(database.samplerUrl).port, {
      allow(chunk) {
        if (chunk.includes("application_name\0")) Object.assign(seen, { dials: seen.dials + 1, askedLast: "" });
        seen.askedLast += chunk;
        return seen.dials > sessionsToEnd || !chunk.includes("from orders");
      },
    });
    return Object.assign(seen, { port });
  }
  const through = (port: number) => database.samplerUrl.replace(/:\d+\//, `:${port}/`);

  it("retries unanswered checks once on a new connection", async () => {
    const log = captureLog();
    const name = targetOf(database.adminUrl).database;
    await database.admin.unsafe(`alter role veza_ledger_sampler in database ${name} set lock_timeout = '10s';
      alter role veza_ledger_sampler in database ${name} set statement_timeout = '10s'`);
    onTestFinished(
      async () => void (await database.admin.unsafe(`alter role veza_ledger_sampler in database ${name} reset all`)),
    );
    const proxy = await endingProxy(0);
    setEnvironment({ DATABASE_URL: through(proxy.port) });
    const unlock = await lockTable(database, "refunds");
    const ticking = tick();
    const end = () => database.admin`select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and application_name = 'veza-ledger-sampler' and wait_event_type = 'Lock'`;
    await expect.poll(end, { interval: 20 }).toHaveLength(1);
    await unlock();
    await ticking;
    expect(await scrape(stage)).toMatchObject({ ...gauges, veza_reconciler_last_run_timestamp: 0 });
    expect(log.map(({ message }) => message)).toEqual(["tick"]);
    expect(proxy.dials).toBe(2);
    const wasAsked = (check: Check) => proxy.askedLast.includes(rowsOf(check));
    const locked = checks.findIndex(({ table }) => table === "refunds");
    expect(checks.slice(0, locked).some(wasAsked)).toBe(false);
    expect(checks.slice(locked).every(wasAsked)).toBe(true);
  });

  it("dials twice for the counts, and once more to publish", async () => {
    captureLog();
    const proxy = await endingProxy(9);
    setEnvironment({ DATABASE_URL: through(proxy.port) });
    await tick();
    expect(await scrape(stage)).toMatchObject({ ...allUnknown, veza_reconciler_last_run_timestamp: 0 });
    expect(proxy.dials).toBe(3);
  });
});

describe("spares the database: one session at most, and none that stays,", () => {
  /** Ticks while it watches the sampler's sessions on the server. Resolves to the most at once and the duration. */
  async function watchedTick() {
    const sessions = () => database.admin`select state from pg_stat_activity
      where application_name = 'veza-ledger-sampler' and datname = current_database()`;
    let most = 0;
    let isTicking = true;
    const watching = (async () => {
      while (isTicking) most = Math.max(most, (await sessions()).length);
    })();
    const startedAt = performance.now();
    await tick();
    const ms = performance.now() - startedAt;
    isTicking = false;
    await watching;
    await expect.poll(sessions, { timeout: 500, interval: 20 }).toHaveLength(0);
    return { most, ms };
  }

  it("when every table is locked", async () => {
    captureLog();
    for (const table of new Set(checks.map(({ table }) => table))) await lockTable(database, table);
    const { most, ms } = await watchedTick();
    expect(most).toBe(1);
    expect(ms).toBeLessThan(1_500 + 2 * 500 * checks.length); // Half a second for each count and its evidence.
    expect(await scrape(stage)).toMatchObject(allUnknown);
  });

  it("when a count does not end", async () => {
    captureLog();
    await database.admin.unsafe(`
      alter table orders rename to slow_orders;
      create view orders as select slow_orders.* from slow_orders, pg_sleep(60);
      grant select on orders to veza_ledger_sampler`);
    onTestFinished(async () => {
      await database.admin.unsafe("drop view orders; alter table slow_orders rename to orders");
    });
    const { most, ms } = await watchedTick();
    expect(most).toBe(1);
    expect(ms).toBeLessThan(1_500 + 2 * 1_500 * Object.keys(onTable("orders", 0)).length);
    // Other checks on orders find no row, and so nothing to wait for.
    expect(await scrape(stage)).toMatchObject({ ...gauges, veza_ledger_stuck_orders_pending: -1 });
  });

  it("when no connection is left for it", async () => {
    const log = captureLog();
    const name = database.admin(targetOf(database.adminUrl).database);
    await database.admin`alter database ${name} connection limit 0`;
    onTestFinished(async () => {
      await database.admin`alter database ${name} connection limit -1`;
    });
    const { most, ms } = await watchedTick();
    expect(most).toBeLessThanOrEqual(1);
    expect(ms).toBeLessThan(1_000);
    expect(await scrape(stage)).toMatchObject(allUnknown);
    expect(log[0]).toMatchObject({ check: "stuck_orders", code: "53300" });
  });
});

it("pushes once more after a 5xx, and not after a refusal", async () => {
  captureLog();
  const statuses = [503, 200, 200, 400];
  const url = await gatewayTaking((_, response) => response.writeHead(statuses.shift() ?? 500).end());
  setEnvironment({ PUSHGATEWAY_URL: url });
  await tick();
  await expect(tick()).rejects.toThrow("answered 400");
  expect(statuses).toEqual([]);
});

it("throws when its gauges could not be pushed, and leaves no session behind", async () => {
  captureLog();
  setEnvironment({ PUSHGATEWAY_URL: `http://127.0.0.1:${closedPort}` });
  await expect(tick()).rejects.toThrow("ECONNREFUSED");
  const sessions = () => database.admin`select from pg_stat_activity
    where application_name = 'veza-ledger-sampler' and datname = current_database()`;
  await expect.poll(sessions).toHaveLength(0);
});
