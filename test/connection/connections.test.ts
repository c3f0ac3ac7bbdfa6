// The pool: which connections are lent again, and which are closed.

import { expect, it, onTestFinished, vi } from "vitest";
import { deadlineFor } from "../../lib/deadline.ts";
import { type Connections, keepConnections } from "../../lib/postgres/connections.ts";
import { type Database, withDeadline } from "../../lib/postgres/database.ts";
import type { DatabaseTarget } from "../../lib/settings/settings.ts";
import { databaseForFile, targetOf } from "../helpers/database.ts";
import { closedPort } from "../helpers/servers.ts";

const database = await databaseForFile();

const open = (connections: Connections) =>
  connections.use(async (lent) => {
    await withDeadline(lent, deadlineFor("Postgres", 1_000), (sql) => sql`select 1`);
    return lent;
  });
function keep(changes: Partial<DatabaseTarget> = {}) {
  const connections = keepConnections("test")(async () => ({ ...targetOf(database.receiverUrl), ...changes }));
  onTestFinished(() => connections.closeFree());
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

  vi.useFakeTimers({ toFake: ["performance"] });
  onTestFinished(() => void vi.useRealTimers());
  for (const use of ["first", "second"]) {
    vi.advanceTimersByTime(9_000);
    expect(await open(connections), use).toBe(second);
  }
  vi.advanceTimersByTime(11_000);
  expect(await open(connections)).not.toBe(second);
  await expect.poll(() => second.lost.aborted, { timeout: 30_000 }).toBe(true); // Postgres itself ends it after 60 s.
});

it("lends no connection that leads elsewhere than the settings say now", async () => {
  let target = targetOf(database.receiverUrl);
  const connections = keepConnections("test")(async () => target);
  onTestFinished(() => connections.closeFree());
  const first = await open(connections);
  target = { ...target, database: "postgres" };
  const { sql } = await open(connections);
  expect(await sql`select current_database() as name`).toEqual([{ name: "postgres" }]);
  expect(first.lost.aborted).toBe(true);
});

it("lends to one caller at a time, and takes back from a failed one", async () => {
  const connections = keep();
  const lendTwo = async () => new Set(await connections.use(async (first) => [first, await open(connections)]));
  const lent = await lendTwo();
  expect(lent.size).toBe(2);
  const failing = connections.use(async () => Promise.reject(new Error("no")));
  await expect(failing).rejects.toThrow("no");
  expect(await lendTwo()).toEqual(lent);
});

it("lends five at once, and then to who has waited longest, also after work that failed", async () => {
  const connections = keep();
  const begun: number[] = [];
  const works = Array.from({ length: 7 }, () => Promise.withResolvers<void>());
  const uses = works.map(({ promise }, index) =>
    connections.use(async () => {
      begun.push(index);
      await promise;
    }),
  );
  await expect.poll(() => begun).toEqual([0, 1, 2, 3, 4]);
  works[3]?.reject(new Error("no"));
  await expect(uses[3]).rejects.toThrow("no");
  await expect.poll(() => begun).toEqual([0, 1, 2, 3, 4, 5]);
  const last = connections.use(async () => begun.push(7));
  for (const { resolve } of works) resolve();
  await Promise.allSettled([...uses, last]);
  expect(begun).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  await open(connections);
});

it.each([
  ["it is told to", (connections: Connections) => connections.closeFree()],
  ["one of them is lost", (connections: Connections) => connections.use((first) => first.close())],
])("closes all that are free when %s", async (_, end) => {
  const connections = keep();
  const lent = await connections.use(async (first) => [first, await open(connections)]);
  await end(connections);
  await expect.poll(() => lent.map(({ lost }) => lost.aborted), { timeout: 30_000 }).toEqual([true, true]);
});

it("keeps none that could not be made", async () => {
  const changes = { port: closedPort };
  const connections = keep(changes);
  await expect(open(connections)).rejects.toMatchObject({ code: "ECONNREFUSED" });
  changes.port = targetOf(database.receiverUrl).port;
  await open(connections);
});

it("keeps none that Postgres has refused, and has closed it before it says so", async () => {
  const connections = keep({ password: "" }); // Not undefined, which asks for a token.
  let refused: Database | undefined;
  const asking = connections.use((lent) => {
    refused = lent;
    return withDeadline(lent, deadlineFor("Postgres", 1_000), (sql) => sql`select 1`);
  });
  await expect(asking).rejects.toMatchObject({ code: "28P01" });
  expect(refused?.lost.aborted).toBe(true);
});
