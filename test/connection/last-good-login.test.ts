// Which password logs in when Postgres refuses the one in the secret: the secret's new one, or the last good one.

import { expect, it, onTestFinished, vi } from "vitest";
import { deadlineFor } from "../../lib/deadline.ts";
import { keepConnections } from "../../lib/postgres/connections.ts";
import { withDeadline } from "../../lib/postgres/database.ts";
import { isPasswordRefused } from "../../lib/postgres/last-good-login.ts";
import type { DatabaseTarget } from "../../lib/settings/settings.ts";
import { databaseForFile, targetOf } from "../helpers/database.ts";
import { captureLog } from "../helpers/log.ts";

const database = await databaseForFile();

const right = () => targetOf(database.receiverUrl);
const wrong = (changes: Partial<DatabaseTarget> = {}) => ({ ...right(), password: "not yet", ...changes });
/** Connections whose secret says `current`, and how often they have read it. */
function keep(current: (fresh: boolean) => DatabaseTarget) {
  const asked: boolean[] = [];
  const connections = keepConnections("test")(async (fresh) => {
    asked.push(fresh);
    return current(fresh);
  });
  onTestFinished(() => connections.closeFree());
  const ask = async () => {
    await connections.closeFree(); // As after each tick.
    return connections.use((lent) =>
      withDeadline(lent, deadlineFor("Postgres", 1_000), (sql) => sql`select current_database() as name`),
    );
  };
  return { ask, asked };
}

it("logs in with the password that the secret has by now, read again once", async () => {
  const log = captureLog();
  let latest = right();
  const { ask, asked } = keep((fresh) => (fresh ? latest : wrong()));
  await ask();
  await ask(); // A good one is known by now.
  expect(asked).toEqual([false, true, false, true]);
  expect(log).toEqual([]);
  latest = wrong();
  await ask(); // What it remembers is what it logged in with, and not what the secret said at first.
  expect(log).toMatchObject([{ level: "warn" }]);
});

it("logs in with the last password that did, and says so until the new one does", async () => {
  const log = captureLog();
  vi.useFakeTimers({ toFake: ["performance"] });
  onTestFinished(() => void vi.useRealTimers());
  let current = right();
  const { ask, asked } = keep(() => current);
  await ask();
  current = wrong();
  for (const age_seconds of [60, 120]) {
    vi.advanceTimersByTime(60_000);
    await ask();
    const message = "Postgres refuses the password in the secret, the last good one stays in use";
    expect(log.splice(0)).toEqual([{ level: "warn", message, age_seconds }]);
  }
  expect(asked).toEqual([false, false, true, false, true]);
  current = right();
  await ask();
  expect(log).toEqual([]);
});

it("logs in with it where the secret cannot be read again, and fails where there is none", async () => {
  const log = captureLog();
  let current = wrong();
  const { ask } = keep((isFresh) => {
    if (isFresh) throw new Error("unread");
    return current;
  });
  await expect(ask()).rejects.toThrow("unread");
  current = right();
  await ask();
  current = wrong();
  expect(await ask()).toHaveLength(1);
  expect(log).toMatchObject([{ level: "warn" }]);
});

it("takes no more than the login from memory: the secret may name another database by now", async () => {
  captureLog();
  let current = right();
  const { ask } = keep((fresh) => (fresh ? wrong({ database: "postgres", username: "next" }) : current));
  await ask();
  current = wrong();
  expect(await ask()).toEqual([{ name: "postgres" }]);
});

it("is refused when no password is good, and takes a new one although it knows an old one", async () => {
  const log = captureLog();
  let current = wrong();
  let changed: DatabaseTarget | undefined;
  const { ask } = keep((fresh) => (fresh && changed) || current);
  await expect(ask()).rejects.toMatchObject({ code: "28P01" });
  expect(isPasswordRefused({ code: "08P01", message: "query_wait_timeout" })).toBe(false); // Of a full pool.
  await database.admin`create role database_turning login password 'first' in role veza_ledger_receiver`;
  onTestFinished(async () => void (await database.admin`drop role database_turning`));
  current = { ...right(), username: "database_turning", password: "first" };
  await ask();
  await database.admin`alter role database_turning password 'second'`;
  await expect(ask()).rejects.toMatchObject({ code: "28P01" });
  changed = { ...current, password: "second" };
  await ask();
  expect(log).toEqual([]);
});
