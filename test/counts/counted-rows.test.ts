// Which rows a count above 0 counts: one line of the log for each check.

import { expect, it, onTestFinished } from "vitest";
import { logCountedRows } from "../../lib/counts/counted-rows.ts";
import { deadlineFor } from "../../lib/deadline.ts";
import { keepConnections } from "../../lib/postgres/connections.ts";
import { databasePerTest, targetOf } from "../helpers/database.ts";
import { captureLog } from "../helpers/log.ts";
import { insertRows, modelOf } from "../helpers/models.ts";
import { sampleOf } from "../helpers/sample.ts";
import { tcpServer } from "../helpers/servers.ts";

const { database, run } = databasePerTest();

const at = (port: number) => async () => ({ ...targetOf(database.samplerUrl), port });

/** The log after a sample, of its rows. */
async function logged(find = at(targetOf(database.samplerUrl).port), timeoutMs = 60_000) {
  const sample = await sampleOf(database.samplerUrl);
  const log = captureLog();
  const connections = keepConnections("test")(find);
  onTestFinished(() => connections.closeFree());
  await logCountedRows(connections, sample, deadlineFor("the ids", timeoutMs));
  return log;
}

it("names the ten oldest rows, oldest first, and none that the check does not count", async () => {
  const check = { id: "failed_transfers" } as const;
  for (const age of [12, 9, 11]) await run(insertRows(check, 1, { age: `${age} days` }));
  await run(
    `${insertRows(check, 9, { age: "2 days" })} ${insertRows(check, 1, { age: "20 days", status: "settled" })}`,
  );
  const { table, time } = modelOf(check);
  const rows = await database.admin.unsafe(`
    select id::text from ${table} where ${time} > now() - interval '19 days' order by ${time}, id`);
  const log = await logged();
  expect(log).toEqual([{ level: "info", message: "rows counted", check: check.id, ids: expect.any(Array) }]);
  const ids = log[0]?.ids as string[];
  expect(ids).toHaveLength(10);
  expect(ids.slice(0, 3)).toEqual(rows.slice(0, 3).map(({ id }) => id));
});

it("leaves out the rows of an accepted backlog, which would be the same ten for months", async () => {
  await run(insertRows({ id: "stuck_orders" }, 20, { age: "300 days" }));
  await run(insertRows({ id: "stuck_orders" }, 1, { age: "2 hours" }));
  await run(`insert into ledger_metrics.accepted ("check", id, until, why)
    select 'stuck_orders', id::text, now() + interval '1 day', 'from before' from orders where id <= 20
    union all select 'stuck_refunds', '21', now() + interval '1 day', 'a row of another table'`);
  expect(await logged()).toMatchObject([{ check: "stuck_orders", ids: ["21"] }]);
});

it("asks nothing where nothing is counted", async () => {
  let dials = 0;
  const port = await tcpServer(() => {
    dials += 1;
  });
  expect(await logged(at(port))).toEqual([]);
  expect(dials).toBe(0);
});

it("fails nothing where there are no ids, no login or Postgres is mute, and says why", async () => {
  await run(`${insertRows({ id: "stuck_orders" }, 1)} ${insertRows({ id: "stuck_refunds" }, 1)}`);
  await run("alter table orders rename id to number");
  expect(await logged()).toEqual([
    expect.objectContaining({ message: "evidence not read", of: "stuck_orders", code: "42703" }),
    expect.objectContaining({ message: "rows counted", check: "stuck_refunds", ids: ["1"] }),
  ]);
  expect(await logged(() => Promise.reject(new Error("no login")))).toEqual([
    expect.objectContaining({ level: "warn", message: "evidence not read", of: "rows", reason: "no login" }),
  ]);
  const reason = "the ids: no answer within 100 ms";
  const mute = await logged(at(await tcpServer(() => {})), 100);
  expect(mute).toEqual([
    expect.objectContaining({ level: "warn", message: "evidence not read", reason }),
    expect.objectContaining({ level: "warn", message: "evidence not read", reason }),
  ]);
});
