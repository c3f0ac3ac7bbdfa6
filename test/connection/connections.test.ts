// The pool: which connections are lent again, and which are closed.

import { afterAll, expect, it, onTestFinished, vi } from "vitest";
import { type Connections, keepConnections } from "../../lib/connections.ts";
import { type Database, withDeadline } from "../../lib/database.ts";
import { deadline } from "../../lib/deadline.ts";
import { createDatabase, targetOf } from "../helpers/database.ts";
import { closedPort } from "../helpers/servers.ts";

const database = await createDatabase();
afterAll(() => database.remove());

const open = (connections: Connections) =>
  connections.use(async (lent) => {
    await withDeadline(lent, deadline("Postgres", 1_000), (sql) => sql`select 1`);
    return lent;
  });
function keep(port?: () => number) {
  const target = async () => ({ ...targetOf(database.receiverUrl), ...(port && { port: port() }) });
  const connections = keepConnections("test")(target);
  onTestFinished(() => connections.close());
  return connections;
}

it("lends a connection again while it is fresh and not lost", async () => {
  const connections = keep();
  const first = await open(connections);
  expect(await open(connections)).toBe(first);
  await first.close();
  const second = await open(connections);
  expect(second).not.toBe(first);
  expect(await second.sql`select 1 as one`).toEqual([{ one: 1 }]);

  vi.useFakeTimers({ toFake: ["Date"] });
  onTestFinished(() => void vi.useRealTimers());
  vi.setSystemTime(Date.now() + 9_000);
  expect(await open(connections)).toBe(second);
  vi.setSystemTime(Date.now() + 9_000);
  expect(await open(connections)).toBe(second);
  vi.setSystemTime(Date.now() + 11_000);
  expect(await open(connections)).not.toBe(second);
  await expect.poll(() => second.lost.aborted).toBe(true);
});

it("lends to one caller at a time, and takes back from a failed one", async () => {
  const connections = keep();
  const lent = await connections.use(async (first) => [first, await open(connections)] as const);
  expect(lent[0]).not.toBe(lent[1]);
  const failing = connections.use(async () => Promise.reject(new Error("no")));
  await expect(failing).rejects.toThrow("no");
  expect(lent).toContain(await open(connections));
});

it("closes all that are free", async () => {
  const connections = keep();
  const lent = await connections.use(async (first) => [first, await open(connections)]);
  await connections.close();
  expect(lent.map(({ lost }) => lost.aborted)).toEqual([true, true]);
});

it("closes all that are free when one of them is lost: what ended it may have ended the others", async () => {
  const connections = keep();
  const lent = await connections.use(async (first) => [first, await open(connections)]);
  await connections.use((first) => first.close());
  await expect.poll(() => lent.map(({ lost }) => lost.aborted)).toEqual([true, true]);
});

it("keeps none that could not be made", async () => {
  let port = closedPort;
  const connections = keep(() => port);
  await expect(open(connections)).rejects.toMatchObject({ code: "ECONNREFUSED" });
  port = targetOf(database.receiverUrl).port;
  await open(connections);
});

it("keeps none that Postgres has refused, and has closed it before it says so", async () => {
  const target = { ...targetOf(database.receiverUrl), database: "nowhere" };
  const connections = keepConnections("test")(async () => target);
  let refused: Database | undefined;
  const asking = connections.use((lent) => {
    refused = lent;
    return withDeadline(lent, deadline("Postgres", 1_000), (sql) => sql`select 1`);
  });
  await expect(asking).rejects.toMatchObject({ code: "3D000" });
  expect(refused?.lost.aborted).toBe(true);
});
