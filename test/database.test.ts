import type net from "node:net";
import { afterAll, beforeAll, expect, it, onTestFinished } from "vitest";
import { connect, type Database, keepConnection, transaction } from "../lib/database.ts";
import { deadline } from "../lib/deadline.ts";
import { createDatabase, type TestDatabase, targetOf } from "./helpers/database.ts";
import { closedPort, tcpServer } from "./helpers/servers.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await createDatabase();
});
afterAll(() => database.admin.end());

const options = { applicationName: "test" };

async function open(port?: number, timeoutMs = 1_000): Promise<Database> {
  const target = { ...targetOf(database.receiverUrl), ...(port && { port }) };
  const connection = await connect(async () => target, options, deadline("Postgres", timeoutMs));
  onTestFinished(() => connection.close());
  return connection;
}

/** Rejections that nobody can catch would end the process; vitest reports them, and this names them. */
const uncaught: unknown[] = [];
process.on("uncaughtException", (error) => uncaught.push(error));

async function timed(work: Promise<unknown>): Promise<{ error: Error; ms: number }> {
  const startedAt = performance.now();
  const error = await work.then(
    () => new Error("it was done"),
    (reason) => reason,
  );
  return { error, ms: performance.now() - startedAt };
}

it("ends at the deadline when the server says nothing", async () => {
  const port = await tcpServer(() => {});
  const { error, ms } = await timed(open(port));
  expect(error.message).toBe("Postgres: no answer within 1000 ms");
  expect(ms).toBeLessThan(1_300);
});

it.each([
  ["before start-up", (socket: net.Socket) => socket.end()],
  ["during start-up", (socket: net.Socket) => socket.once("data", () => socket.end())],
])("dials once when the server hangs up %s", async (_, treat) => {
  let dials = 0;
  const port = await tcpServer((socket) => {
    dials += 1;
    treat(socket);
  });
  const { error, ms } = await timed(open(port));
  expect(error.message).toContain("Postgres hung up during start-up");
  expect(ms).toBeLessThan(500);
  expect(dials).toBe(1);
});

it("rejects at once when the connection is refused", async () => {
  const { error, ms } = await timed(open(closedPort));
  expect(error).toMatchObject({ code: "ECONNREFUSED" });
  expect(ms).toBeLessThan(500);
});

it("asks for a fresh password when the server refuses the one it has, once", async () => {
  const asked: boolean[] = [];
  const target = (rightWhenFresh: boolean) => async (fresh: boolean) => {
    asked.push(fresh);
    return { ...targetOf(database.receiverUrl), ...(!(fresh && rightWhenFresh) && { password: "old" }) };
  };
  const connection = await connect(target(true), options, deadline("Postgres", 1_000));
  expect(await connection.sql`select 1 as one`).toEqual([{ one: 1 }]);
  await connection.close();
  expect(asked).toEqual([false, true]);

  asked.length = 0;
  const { error } = await timed(connect(target(false), options, deadline("Postgres", 1_000)));
  expect(error).toMatchObject({ code: "28P01" });
  expect(asked).toEqual([false, true]);
});

it("rejects what has no answer yet when it is closed, and leaves no session", async () => {
  const connection = await open();
  const [row] = await connection.sql`select pg_backend_pid() as pid`;
  const sleeping = timed(connection.sql`select pg_sleep(30)`);
  const waiting = timed(connection.sql`select 1`);
  await connection.close();
  expect((await sleeping).error).toMatchObject({ code: "CONNECTION_DESTROYED" });
  expect((await waiting).error).toBeInstanceOf(Error);
  expect(connection.lost.aborted).toBe(true);
  await expect
    .poll(() => database.admin`select from pg_stat_activity where pid = ${row?.pid}`, { timeout: 5_000 })
    .toHaveLength(0);
});

it.each([
  ["would commit", async () => {}],
  ["would roll back", async () => Promise.reject(new Error("no"))],
])("survives the loss of its connection inside a transaction that %s", async (_, ending) => {
  const connection = await open();
  let finished = () => {};
  const working = new Promise<void>((resolve) => {
    finished = resolve;
  });
  const outcome = timed(
    transaction(connection, deadline("test", 10_000), async (sql) => {
      const [row] = await sql`select pg_backend_pid() as pid`;
      await database.admin`select pg_terminate_backend(${row?.pid})`;
      await working;
      await ending();
    }),
  );
  await expect.poll(() => connection.lost.aborted).toBe(true);
  finished();
  const { error } = await outcome;
  expect(error).toMatchObject({ code: "CONNECTION_CLOSED" });
  await new Promise(setImmediate);
  expect(uncaught).toEqual([]);
  await expect(connection.sql`select 1`).rejects.toThrow();
});

it("rolls back what a transaction did when its work rejects, and commits it when not", async () => {
  const connection = await open();
  const insert = (id: string, ending: () => Promise<void>) =>
    transaction(connection, deadline("test", 1_000), async (sql) => {
      await sql`insert into ledger_metrics.deliveries (id, body_digest) values (${id}, '')`;
      await ending();
    });
  await expect(insert("rolled-back", () => Promise.reject(new Error("no")))).rejects.toThrow("no");
  await insert("committed", async () => {});
  expect(await database.admin`select id from ledger_metrics.deliveries`).toEqual([{ id: "committed" }]);
});

it("ends a transaction at its deadline, and the connection with it", async () => {
  const connection = await open();
  const { error, ms } = await timed(
    transaction(connection, deadline("test", 200), async (sql) => sql`select pg_sleep(2)`),
  );
  expect(error.message).toBe("test: no answer within 200 ms");
  expect(ms).toBeLessThan(500);
  expect(connection.lost.aborted).toBe(true);
});

it("keeps one connection for all callers, and makes a new one when it is gone", async () => {
  const use = keepConnection(async () => targetOf(database.receiverUrl), { ...options, idleTimeoutSeconds: 1 });
  const limit = () => deadline("Postgres", 1_000);
  const [first, second] = await Promise.all([use(limit()), use(limit())]);
  expect(second).toBe(first);
  await expect.poll(() => first.lost.aborted, { timeout: 3_000 }).toBe(true);
  const third = await use(limit());
  expect(third).not.toBe(first);
  expect(await third.sql`select 1 as one`).toEqual([{ one: 1 }]);
  await third.close();
});

it("does not keep a connection that could not be made", async () => {
  let port = closedPort;
  const use = keepConnection(async () => ({ ...targetOf(database.receiverUrl), port }), options);
  await expect(use(deadline("Postgres", 1_000))).rejects.toMatchObject({ code: "ECONNREFUSED" });
  port = targetOf(database.receiverUrl).port;
  const connection = await use(deadline("Postgres", 1_000));
  await connection.close();
});

it("ends its dialling when the deadline comes before the connection", async () => {
  let open = 0;
  const port = await tcpServer((socket) => {
    open += 1;
    socket.resume().on("close", () => {
      open -= 1;
    });
  });
  await timed(connect(async () => ({ ...targetOf(database.receiverUrl), port }), options, deadline("Postgres", 100)));
  await expect.poll(() => open).toBe(0);
});
