import { expect, it, onTestFinished } from "vitest";
import { fillLedger, pagesOfTick } from "../bench/ledger.ts";
import { runSqlFiles } from "../local/sql.ts";
import { createDatabase } from "./helpers/database.ts";

/** The pages of a tick on a ledger of so many rows, with indexes.sql. */
async function pagesAt(rows: number): Promise<{ healthy: number; withoutIndexes: number; withStuckRows: number }> {
  const database = await createDatabase();
  onTestFinished(() => database.admin.end());
  await fillLedger(database.admin, rows);
  const withoutIndexes = await pagesOfTick(database.admin);
  await runSqlFiles(database.adminUrl, ["config/postgres/indexes.sql"]);
  const healthy = await pagesOfTick(database.admin);
  await database.admin.unsafe(`
    insert into orders (status, hyperswitch_payment_id, created_at)
    select 'pending', 'pay', now() - n * interval '1 hour' from generate_series(1, 50) as n`);
  return { healthy, withoutIndexes, withStuckRows: await pagesOfTick(database.admin) };
}

it("lets a tick read the rows that it counts and no others, however large the ledger is", async () => {
  const small = await pagesAt(5_000);
  const large = await pagesAt(200_000);
  expect(large.withoutIndexes).toBeGreaterThan(20 * small.withoutIndexes);
  expect(large.healthy).toBeLessThan(30);
  expect(large.healthy).toBeLessThanOrEqual(1.2 * small.healthy);
  expect(large.withStuckRows).toBeLessThan(30);
});
