// The first day: what was there when the service was installed pages nobody, and is shown.

import { beforeEach, expect, it, onTestFinished } from "vitest";
import { runSqlFiles, setUp } from "../../commands/sql.ts";
import { checks } from "../../lib/counts/checks.ts";
import { createDatabase, serverForFile, type TestDatabase } from "../helpers/database.ts";
import { insertRows } from "../helpers/models.ts";
import { evidenceOf } from "../helpers/sample.ts";

const server = await serverForFile(); // Of its own: an installation changes roles, which all databases share.
let database: TestDatabase;
beforeEach(async () => {
  database = await createDatabase(server);
  onTestFinished(() => database.remove());
});
const run = (statements: string) => database.admin.unsafe(statements);
const install = () => runSqlFiles(database.adminUrl, setUp);
/** How many rows of all checks a tick has as this. */
async function sumOf(metric: "accepted_rows" | "overdue_rows"): Promise<number> {
  const series = await evidenceOf(database.samplerUrl, new RegExp(`^${metric}`));
  return Object.values(series).reduce((sum, value) => sum + value, 0);
}
const old = `${insertRows({ id: "stuck_orders" }, 3_000, { age: "400 days" })}
  ${insertRows({ id: "failed_transfers" }, 2, { age: "30 days" })}
  ${insertRows({ id: "orphan_refunds" }, 1, { age: "7 minutes" })}
  ${insertRows({ id: "stuck_refunds" }, 1, { age: "31 minutes" })}`;
const acceptances = () => database.admin`select * from ledger_metrics.accepted`;

it("accepts what is there, for 14 days: the first tick has no overdue row, and a newer row fires", async () => {
  await run(`drop schema ledger_metrics cascade; ${old}`);
  await install();
  expect([await sumOf("overdue_rows"), await sumOf("accepted_rows")]).toEqual([0, 3_004]);
  const days = await database.admin`select "check", extract(day from until - up_to)::int * 24
      + extract(hour from until - up_to)::int as hours, why, accepted_by from ledger_metrics.accepted`;
  const why = "was there when the service was installed";
  expect(days).toEqual(checks.map(({ id }) => ({ check: id, hours: 336, why, accepted_by: "postgres" })));
  // Two hours ago, instead of a wait.
  await run(`alter table ledger_metrics.accepted
      drop constraint "up_to is less than a day ago: accept newer rows by their ids";
    update ledger_metrics.accepted
      set up_to = up_to - interval '2 hours', accepted_at = accepted_at - interval '2 hours'`);
  await run(insertRows({ id: "stuck_orders" }, 1, { age: "41 minutes" }));
  await run(insertRows({ id: "orphan_refunds" }, 1, { age: "11 minutes" }));
  expect(await sumOf("overdue_rows")).toBe(2);
});

it("is made once: not by a second run of the files, and not by an upgrade of a version without it", async () => {
  await run(old);
  for (const _ of ["an upgrade", "a second run"]) await install();
  expect(await acceptances()).toEqual([]);
  await run("drop schema ledger_metrics cascade");
  await install();
  await run("update ledger_metrics.accepted set until = now() - interval '1 minute'"); // It has ended.
  const before = await acceptances();
  await install();
  expect(await acceptances()).toEqual(before);
  expect(await sumOf("overdue_rows")).toBe(3_002); // Two are too young.
});
