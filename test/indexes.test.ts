import { expect, it, onTestFinished } from "vitest";
import { fillLedger, pagesOfTick } from "../bench/ledger.ts";
import { runSqlFiles } from "../commands/sql.ts";
import { checks } from "../lib/checks.ts";
import { createDatabase } from "./helpers/database.ts";

/** The pages of a tick on a ledger of so many rows, with indexes.sql; its times are of this type. */
async function pagesAt(rows: number, type: string) {
  const database = await createDatabase();
  onTestFinished(() => database.admin.end());
  await database.admin.unsafe(`
    alter table orders alter created_at type ${type};
    alter table refunds alter created_at type ${type};
    alter table seller_transfers alter updated_at type ${type}`);
  await fillLedger(database.admin, rows);
  const withoutIndexes = await pagesOfTick(database.admin);
  await runSqlFiles(database.adminUrl, ["config/postgres/indexes.sql"]);
  const healthy = await pagesOfTick(database.admin);
  await database.admin.unsafe(`
    insert into orders (status, hyperswitch_payment_id, created_at)
    select 'pending', 'pay', now() - n * interval '1 hour' from generate_series(1, 50) as n`);
  return { healthy, withoutIndexes, withStuckRows: await pagesOfTick(database.admin) };
}

it.each(["timestamptz", "timestamp"])(
  "lets a tick read the rows that it counts and no others, however large the ledger is, with times of type %s",
  async (type) => {
    const small = await pagesAt(5_000, type);
    const large = await pagesAt(200_000, type);
    expect(large.withoutIndexes).toBeGreaterThan(20 * small.withoutIndexes);
    // One page for each index, which is as little as there is.
    const lacking = "config/postgres/indexes.sql: npm run indexes";
    expect([small.healthy, large.healthy], lacking).toEqual([checks.length, checks.length]);
    expect(large.withStuckRows).toBeLessThan(30);
  },
);
