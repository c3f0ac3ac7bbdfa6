// The totals in Postgres, and on the gateway: a delivery is recorded once, and the sums are published under the lock.

import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import type { Row, Sql } from "postgres";
import { beforeEach, describe, expect, inject, it, onTestFinished, vi } from "vitest";
import { deadlineFor } from "../../lib/deadline.ts";
import type { Series } from "../../lib/gateway/exposition.ts";
import type { Database } from "../../lib/postgres/database.ts";
import { lockPublisher } from "../../lib/postgres/transaction.ts";
import { recordDelivery } from "../../lib/totals/deliveries.ts";
import { parseEvents, tally } from "../../lib/totals/events.ts";
import { publishTotals } from "../../lib/totals/publish.ts";
import { databaseForFile, databaseForTest, lend, locks, openConnection, targetOf } from "../helpers/database.ts";
import { gatewayTaking, scrape, wipe } from "../helpers/gateway.ts";
import { captureLog } from "../helpers/log.ts";
import { startProxy } from "../helpers/proxy.ts";
import { httpServer } from "../helpers/servers.ts";

const stage = "totals";
const gateway = { url: inject("pushgatewayUrl") };
const database = await databaseForFile();
const empty = () => database.admin`truncate ledger_metrics.deliveries, ledger_metrics.totals`;
beforeEach(empty);

const open = (url = database.receiverUrl) => openConnection(url);

const orphans = "veza_reconciler_orphan_refunds_total";
const increment = (name: string, value: number, labels = {}): Series => ({ name, labels, value });
const delivery = (id: string, increments: Series[]) => ({ id, increments, stage });
const action = (phase: string) => ({ type: "reconciler.action", data: { phase } });
const orphanRefund = { type: "reconciler.orphan_refund" };
const sweep = (seconds: number, phase?: string) => ({
  type: "reconciler.sweep",
  data: { duration_seconds: seconds, ...(phase && { phase }) },
});
/** What these events add. */
const of = (events: object[]) =>
  tally(parseEvents(JSON.stringify(events.map((event) => ({ timestamp: "2026-01-31T12:00:00Z", ...event })))));
const conflict = "webhook-id: was recorded for other events:";
const record = ({ sql }: Database, id: string, count = 1) =>
  recordDelivery(sql, delivery(id, [increment(orphans, count)]));
const totals = async () =>
  Object.fromEntries(await database.admin`select name, value from ledger_metrics.totals`.values());
/** Publishes on this connection and, when it is lost, on a new one from `dial`. */
const publish = (connection: Database, timeoutMs: number, target = gateway, dial = () => open()) =>
  publishTotals(lend(connection, dial), { pushgateway: target, stage }, deadlineFor("test", timeoutMs));

it("adds a delivery once, however often it comes, also at once, and takes its id for text", async () => {
  const connections = await Promise.all(Array.from({ length: 4 }, () => open()));
  const id = `'); drop table ledger_metrics.totals; --"\\$$`;
  const four = await Promise.all(connections.map(({ sql }) => recordDelivery(sql, delivery(id, [increment("x", 2)]))));
  expect(four.sort()).toEqual(["duplicate", "duplicate", "duplicate", "recorded"]);
  const { sql } = await open();
  expect(await recordDelivery(sql, delivery(id, [increment("x", 2)]))).toBe("duplicate");
  expect(await recordDelivery(sql, delivery("b", [increment("x", 3)]))).toBe("recorded");
  expect(await totals()).toEqual({ x: "5" });
  expect(await database.admin`select id, attempts from ledger_metrics.deliveries order by attempts`).toEqual([
    { id: "b", attempts: 1 },
    { id, attempts: 5 },
  ]);
});

it("confirms no delivery by an answer that lacks a field", async () => {
  const { sql } = await open();
  const lacking = async (text: string) =>
    (await sql.unsafe<Row[][]>(text)).map((rows) => rows.map(({ isNew, ...row }) => row));
  const given = delivery("a", [increment("x", 1)]);
  await expect(recordDelivery({ unsafe: lacking } as unknown as Sql, given)).rejects.toThrow("did not say whether");
});

it.each([
  ["more of it", [action("stuck_orders"), action("stuck_orders")], "2 actions stuck_orders"],
  ["more than it", [action("stuck_orders"), orphanRefund], "1 action stuck_orders, 1 orphan refund"],
  ["another phase", [action("stuck_refunds")], "1 action stuck_refunds"],
  ["sweeps", [sweep(1.5), sweep(0.34)], "1.84 sweep seconds, 2 sweeps"],
  ["nothing", [], "nothing"],
])("refuses a known id that adds %s, says both in words, and adds nothing", async (_, others, words) => {
  const { sql } = await open();
  await recordDelivery(sql, delivery("a", of([action("stuck_orders")])));
  await expect(recordDelivery(sql, delivery("a", of(others)))).rejects.toMatchObject({
    status: 409,
    message: `${conflict} counted under this id: 1 action stuck_orders; this delivery: ${words}`,
  });
  expect(await totals()).toEqual({ veza_reconciler_actions_total: "1" });
});

it("knows a replay of what a process of today has recorded: its digest stays as it is", async () => {
  const { sql } = await open();
  const events = [action("stuck_orders"), orphanRefund, sweep(1.5)];
  const digest = "3337eb3c1c8e0e9fd9995a19137489e26f933de1c1ec29cc6d373bac2f610e70";
  await database.admin`insert into ledger_metrics.deliveries (id, digest, words) values ('a', ${digest}, '')`;
  expect(await recordDelivery(sql, delivery("a", of(events)))).toBe("duplicate");
});

it("takes a body that was built again, in another order and with other times, for a replay", async () => {
  const { sql } = await open();
  const sweeps = [sweep(0.1), sweep(0.2, "stuck_orders"), sweep(0.3)]; // Their sum depends on their order.
  const events = [action("stuck_orders"), action("orphan_refunds"), orphanRefund, ...sweeps];
  expect(await recordDelivery(sql, delivery("a", of(events)))).toBe("recorded");
  const later = events.toReversed().map((event) => ({ ...event, timestamp: "2026-02-28T12:00:00Z" }));
  expect(await recordDelivery(sql, delivery("a", of(later)))).toBe("duplicate");
});

it("comes to the same totals to the last digit, in any order", async () => {
  const { sql } = await open();
  for (const value of [0.1, 0.2, 0.3]) await recordDelivery(sql, delivery(`a ${value}`, [increment("a", value)]));
  for (const value of [0.3, 0.2, 0.1]) await recordDelivery(sql, delivery(`b ${value}`, [increment("b", value)]));
  expect(await totals()).toEqual({ a: "0.6", b: "0.6" });
});

it("writes its rows in one order, and waits for the first of them while it holds none", async () => {
  const [connection, holder, other] = [await open(), await open(), await open()];
  const rows = [increment("b", 1), increment("a", 1, { phase: "y" }), increment("a", 1, { phase: "x" })];
  await recordDelivery(connection.sql, delivery("first", rows));
  const row = `labels = '{"phase": "x"}' for update nowait`;
  await holder.sql.unsafe(`begin; select from ledger_metrics.totals where ${row}`);
  const waits = recordDelivery(connection.sql, delivery("second", rows));
  await expect.poll(() => locks(database, "awaited")).toHaveLength(1);
  await other.sql.unsafe(`select from ledger_metrics.totals where not ${row}`); // Refused at once where it has one.
  await holder.sql.unsafe("rollback");
  expect(await waits).toBe("recorded");
});

it.each([
  ["before it pushes", "GET", [2, 2]],
  ["while it pushes", "PUT", [1, 2, 2]],
  ["before it commits", "select; commit", [1, 2, 2]],
])("publishes again at once when it has lost its session, and so the lock, %s", async (_, when, expected) => {
  const [connection, other] = [await open(), await open()];
  const [session] = await connection.sql`select pg_backend_pid() as pid`;
  await record(other, "a");
  let [isOvertaken, isOver] = [false, false];
  /** Another publisher takes the lock, and pushes newer totals, before the first step of this name. */
  const overtake = async (step: string) => {
    if (step !== when || isOvertaken) return;
    isOvertaken = true;
    await database.admin`select pg_terminate_backend(${session?.pid})`;
    await record(other, "b");
    await publish(other, 20_000, { url });
    await expect.poll(() => connection.lost.aborted).toBe(true); // The lock is free before the client knows.
    isOver = true;
  };
  /** Only then, since the other publisher would leave its publish to a session that waits for the lock. */
  const dial = () => vi.waitUntil(() => isOver, 20_000).then(() => open());
  const pushed: number[] = [];
  const url: string = await gatewayTaking(
    async (orphans, response) => {
      pushed.push(orphans);
      await overtake("PUT");
      response.end();
    },
    () => overtake("GET"),
  );
  const unsafe = (statements: string) =>
    overtake(statements.split("\n").at(-1) ?? "").then(() => connection.sql.unsafe(statements));
  const overtaken = { ...connection, sql: { unsafe } } as unknown as Database;
  expect(await publish(overtaken, 20_000, { url }, dial)).toBe(true);
  expect(pushed).toEqual(expected);
});

it("publishes again at once, with what came meanwhile, when the gateway answers 503", async () => {
  const pushed: number[] = [];
  const [connection, recorder] = [await open(), await open()];
  const url = await gatewayTaking(async (orphans, response) => {
    pushed.push(orphans);
    if (pushed.length > 1) return void response.end();
    await record(recorder, "b");
    response.writeHead(503).end();
  });
  await record(connection, "a");
  expect(await publish(connection, 20_000, { url })).toBe(true);
  expect(pushed).toEqual([1, 2]);
});

describe("pushes no counter below what the gateway shows,", () => {
  const labels = 'instance="",job="veza_reconciler",stage="totals"';
  beforeEach(async () => void (await record(await open(), "a", 5)));

  /** Publishes to a gateway with this page. Resolves to the outcome, the requests, what was pushed, and the log. */
  async function publishTo(page: string, status = 200) {
    const log = captureLog();
    const requests: string[] = [];
    let pushed = "";
    const url = await httpServer(async (request, response) => {
      requests.push(`${request.method}`);
      if (request.method === "GET") return void response.writeHead(status).end(page);
      pushed = await text(request);
      response.end();
    });
    const outcome = await publish(await open(), 20_000, { url }).catch(({ message }) => message);
    const value = (name: string) => Number(new RegExp(`^${name} (\\S+)$`, "m").exec(pushed)?.[1]);
    return { outcome, requests, orphans: value(orphans), held: value("veza_reconciler_counters_held"), log };
  }

  it("tells which and by how much, and writes nothing", async () => {
    expect(await publishTo(`${orphans}{${labels}} 7\n`)).toEqual({
      outcome: true,
      requests: ["GET", "PUT"],
      orphans: 7,
      held: 1,
      log: [{ level: "warn", message: "counters held", by: { [`${orphans}{}`]: 2 } }],
    });
    expect(await totals()).toEqual({ [orphans]: "5" });
  });

  it("and fails as a push does, after two attempts, when the page does not come", async () => {
    const outcome = "the Pushgateway answered 503: no /metrics";
    expect(await publishTo("", 503)).toMatchObject({ outcome, requests: ["GET", "GET"], log: [] });
  });
});

it("counts for one stage alone: that of the first delivery, also of two at once, until an administrator says another", async () => {
  await database.admin`truncate ledger_metrics.stage`;
  const stages = ["one", "two", "three"];
  const record = async (stage: string, id = `of ${stage}`) => {
    const { sql } = await open();
    const recording = recordDelivery(sql, { id, increments: [increment("x", 1)], stage });
    return recording.catch((error: Error) => error.message);
  };
  const answers = await Promise.all(stages.map((stage) => record(stage)));
  const [first = ""] = stages.filter((_, n) => answers[n] === "recorded");
  expect(answers.filter((answer) => answer === "recorded")).toHaveLength(1);
  const other = first === "one" ? "two" : "one";
  const refusal = (own: string, its: string) =>
    `the totals in this database are of the stage ${its}, and STAGE here is of ${own}: docs/settings.md`;
  expect(await record(other)).toBe(refusal(`the stage ${other}`, first));
  expect(await record("")).toBe(refusal("no stage", first));
  expect(await record(first)).toBe("duplicate");
  expect([await totals(), await database.admin`select id from ledger_metrics.deliveries`]).toEqual([
    { x: "1" },
    [{ id: `of ${first}` }],
  ]);
  const connection = await open();
  await expect(publish(connection, 20_000)).rejects.toThrow(refusal(`the stage ${stage}`, first));
  await database.admin.unsafe(`update ledger_metrics.stage set stage = '${other}'`);
  expect(await record(other)).toBe("recorded");
  await database.admin`truncate ledger_metrics.stage`;
});

it("records a delivery that comes while the first one of its stage is not committed yet", async () => {
  await database.admin`truncate ledger_metrics.stage`;
  const [first, second] = [await open(), await open()];
  await first.sql.unsafe(`begin; insert into ledger_metrics.stage (stage) values ('${stage}')`);
  const waits = record(second, "second").catch((error: Error) => error.message);
  await expect.poll(() => locks(database, "awaited")).toHaveLength(1);
  await first.sql.unsafe("commit");
  expect(await waits).toBe("recorded");
});

it("keeps no last run that is ahead of Postgres' clock, and mends one that is", async () => {
  const { sql } = await open();
  const ahead = { name: "veza_reconciler_last_run_timestamp", labels: {}, value: Date.now() / 1000 + 86_400 };
  const isAhead = async () => {
    const [row] =
      await database.admin`select value > extract(epoch from now()) + 1 as is_ahead from ledger_metrics.totals`;
    return row?.is_ahead;
  };
  await recordDelivery(sql, delivery("first", [ahead]));
  expect(await isAhead()).toBe(false);
  await recordDelivery(sql, delivery("second", [ahead]));
  expect(await isAhead()).toBe(false);
  await database.admin`update ledger_metrics.totals set value = value + 1e9`;
  await recordDelivery(sql, delivery("third", [{ ...ahead, value: 1 }]));
  expect(await isAhead()).toBe(false);
  expect(Number((await totals())[ahead.name]), "an earlier run that comes late lowers nothing").toBeGreaterThan(1e9);
});

it("fills up first what a total is ahead of what was recorded", async () => {
  const { sql } = await open();
  await recordDelivery(sql, delivery("a", [increment("x", 5)]));
  await database.admin`update ledger_metrics.totals set value = value + 3, ahead = 3`;
  const row = async () => (await database.admin`select value::float8, ahead::float8 from ledger_metrics.totals`)[0];
  await recordDelivery(sql, delivery("b", [increment("x", 1.5)]));
  expect(await row()).toEqual({ value: 8, ahead: 1.5 });
  await recordDelivery(sql, delivery("b", [increment("x", 1.5)]));
  expect(await row()).toEqual({ value: 8, ahead: 1.5 });
  await recordDelivery(sql, delivery("c", [increment("x", 2)]));
  expect(await row()).toEqual({ value: 8.5, ahead: 0 });
});

it("gives the lock back when its push is refused, and does not push again, also after a wait for it", async () => {
  const [connection, other] = await Promise.all([open(), open()]);
  let pushes = 0;
  const url = await gatewayTaking((_, response) => {
    pushes += 1;
    response.writeHead(400).end();
  });
  const refused = () => expect(publish(connection, 20_000, { url })).rejects.toThrow(/^the Pushgateway answered 400$/);
  await refused();
  expect(pushes).toBe(1);
  const [row] = await connection.sql`select pg_backend_pid() as pid`;
  await other.sql.unsafe(`begin; ${lockPublisher}`);
  void sleep(1_700).then(() => other.sql`rollback`); // Within the lock's 2 s.
  await refused();
  expect(pushes).toBe(2);
  expect(await database.admin`select from pg_locks where locktype = 'relation' and pid = ${row?.pid}`).toHaveLength(0);
  await publish(connection, 20_000);
});

it("says why it failed, and not only that the connection is gone by then", async () => {
  const { port } = targetOf(database.receiverUrl);
  const cutting = await startProxy(port, { allow: (chunk) => !chunk.includes(lockPublisher) });
  const dial = () => open(database.receiverUrl.replace(`:${port}/`, `:${cutting.port}/`));
  await expect(publish(await dial(), 20_000, gateway, dial)).rejects.toMatchObject({ code: "ECONNRESET" });
});

it("pushes nothing when the lock is not to be had within its lock time-out", async () => {
  const holder = await database.admin.reserve();
  await holder.unsafe(`begin; ${lockPublisher}`);
  onTestFinished(() => holder`rollback`.then(() => holder.release()));
  await wipe(stage);
  const connection = await open();
  await expect(publish(connection, 20_000)).rejects.toMatchObject({ code: "55P03" });
  expect(await scrape(stage)).toEqual({});
  expect(await connection.sql`select 1 as one`).toEqual([{ one: 1 }]);
});

it("leaves its publish to no publisher of another ledger on the server", async () => {
  const other = await databaseForTest();
  const holders = await Promise.all([openConnection(other.adminUrl), openConnection(other.adminUrl)]);
  for (const { sql } of holders) {
    void sql.unsafe(`begin; ${lockPublisher}; select pg_sleep(200)`).catch(() => {}); // They end with the test.
  }
  const waiting = () => other.admin`select from pg_stat_activity
    where datname = current_database() and wait_event = 'relation'`;
  await expect.poll(waiting).toHaveLength(1);
  expect(await publish(await open(), 20_000)).toBe(true);
});

it.each([
  ["its limit comes", 1_400, async () => {}, ["test: no answer within 1400 ms"]],
  [
    "the connection, and with it the lock, is lost",
    20_000,
    async (pid: number) => void (await database.admin`select pg_terminate_backend(${pid})`),
    ["the connection to Postgres was lost", "the Pushgateway: no answer within 1500 ms"],
  ],
])("has no push under way any more when %s", async (_, timeoutMs, strike, ends) => {
  const url = await gatewayTaking(() => {});
  const changes: string[] = [];
  const realFetch = globalThis.fetch;
  vi.spyOn(globalThis, "fetch").mockImplementation((...args) => {
    if (args[1]?.method !== "PUT") return realFetch(...args);
    changes.push("started");
    // Its end takes a moment, as it may on a loaded machine.
    const end = () => sleep(100).then(() => changes.push(args[1]?.signal?.reason.message));
    return realFetch(...args).finally(end);
  });
  onTestFinished(() => void vi.restoreAllMocks());

  const connection = await open();
  const [row] = await connection.sql`select pg_backend_pid() as pid`;
  const dial = vi.fn(() => open());
  const connections = lend(connection, dial);
  const publishing = publishTotals(connections, { pushgateway: { url }, stage }, deadlineFor("test", timeoutMs));
  const outcome = publishing.catch((error) => ({ message: error.message, changes: [...changes] }));
  await expect.poll(() => changes).toEqual(["started"]);
  await strike(row?.pid);
  expect(await outcome).toEqual({ message: ends.at(-1), changes: ends.flatMap((end) => ["started", end]) });
  expect(dial).toHaveBeenCalledTimes(ends.length - 1);
});

it("forgets deliveries after 14 days, at most 100 with each that comes, and none that is a replay", async () => {
  const { sql } = await open();
  await recordDelivery(sql, delivery("oldest", []));
  await database.admin`update ledger_metrics.deliveries set received_at = now() - interval '3000 days'`;
  await database.admin`
    insert into ledger_metrics.deliveries (id, digest, words, received_at)
    select 'old' || n, '', '', now() - interval '14 days 1 minute' * n from generate_series(1, 149) as n
    union all select 'young', '', '', now() - interval '13 days 23 hours'`;
  const left = async () => (await database.admin`select count(*)::int as n from ledger_metrics.deliveries`)[0]?.n;
  await database.admin.begin(async (holder) => {
    await holder`select from ledger_metrics.deliveries where id = 'old149' for update`; // No delivery waits for it.
    expect(await recordDelivery(sql, delivery("oldest", []))).toBe("duplicate");
  });
  expect(await left()).toBe(51);
  expect(await recordDelivery(sql, delivery("new", []))).toBe("recorded");
  expect(await database.admin`select id from ledger_metrics.deliveries order by id`).toEqual([
    { id: "new" },
    { id: "young" },
  ]);
});
