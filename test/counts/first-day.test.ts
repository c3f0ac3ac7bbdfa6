// The first day: what was there when the service was installed pages nobody, and is shown.

import { beforeEach, expect, it, onTestFinished } from "vitest";
import { runSqlFiles, setUp } from "../../commands/sql.ts";
import { checks } from "../../lib/counts/checks.ts";
import { createDatabase, serverForFile, type TestDatabase } from "../helpers/database.ts";
import { insertRows, justPast } from "../helpers/models.ts";
import { evidenceOf } from "../helpers/sample.ts";

const server = await serverForFile(); // Of its own: an installation changes roles, which all databases share.
let database: TestDatabase;
beforeEach(async () => {
  database = await createDatabase(server);
  onTestFinished(() => database.remove());
  await run("drop schema ledger_metrics cascade");
});
const run = (statements: string) => database.admin.unsafe(statements);
const install = () => runSqlFiles(database.adminUrl, setUp);
/** The checks of which a tick has rows as this, and how many. */
async function each(metric: "accepted_rows" | "overdue_rows"): Promise<Record<string, number>> {
  const series = await evidenceOf(database.samplerUrl, new RegExp(`^${metric}`));
  const rows = checks.map(({ id }) => [id, series[`${metric}{check=${id}}`] ?? 0] as const);
  return Object.fromEntries(rows.filter(([, count]) => count > 0));
}
/** As if it had begun earlier. */
const begin = (age: string) =>
  run(`update ledger_metrics.first_day set began_at = began_at - interval '${age}', until = until - interval '${age}'`);
const firstDay = () => database.admin`select * from ledger_metrics.first_day`;
const old = `${insertRows({ id: "stuck_orders" }, 3_000, { age: "400 days" })}
  ${insertRows({ id: "failed_transfers" }, 2, { age: "30 days" })}
  ${insertRows({ id: "orphan_refunds" }, 1, { age: justPast("stuckAfter", "orphan_refunds") })}
  ${insertRows({ id: "stuck_refunds" }, 1, { age: justPast("stuckAfter", "stuck_refunds") })}`;

it("accepts what is stuck, for 14 days: the first tick has no overdue row, and a newer row fires", async () => {
  await run(old);
  await install();
  expect(await each("overdue_rows")).toEqual({});
  expect(await each("accepted_rows")).toEqual({
    stuck_orders: 3_000,
    stuck_refunds: 1,
    failed_transfers: 2,
    orphan_refunds: 1,
  });
  const ends = await evidenceOf(database.samplerUrl, /^accepted_until.*orders/);
  expect(Object.values(ends)).toEqual([expect.closeTo(Date.now() / 1_000 + 14 * 86_400, -3)]);
  await begin("2 hours"); // Instead of a wait.
  await run(insertRows({ id: "stuck_orders" }, 1, { age: justPast("overdueAfter", "stuck_orders") }));
  await run(insertRows({ id: "orphan_refunds" }, 1, { age: justPast("overdueAfter", "orphan_refunds") }));
  await run(insertRows({ id: "failed_transfers" }, 1, { age: "1 minute" }));
  expect(await each("overdue_rows")).toEqual({ stuck_orders: 1, failed_transfers: 1, orphan_refunds: 1 });
  await run("update ledger_metrics.first_day set until = now()"); // The administrator ends it.
  const overdue = { stuck_orders: 3_001, failed_transfers: 3, orphan_refunds: 1 }; // Two are too young.
  expect(await each("overdue_rows")).toEqual(overdue);
});

it("begins once, and not in a second run, with totals", async () => {
  await run(old);
  await install();
  await run("insert into ledger_metrics.stage (stage) values ('prod')");
  await begin("15 days");
  const before = await firstDay();
  await install();
  expect(await firstDay()).toEqual(before);
  expect(await each("overdue_rows")).toEqual({ stuck_orders: 3_000, failed_transfers: 2 }); // Two are too young.
});
