// indexes.sql: a tick reads as much of a large ledger as of a small one.

import type { ISql } from "postgres";
import { expect, it } from "vitest";
import { fillLedger, pagesOfTick } from "../../bench/ledger.ts";
import { runSqlFiles } from "../../commands/sql.ts";
import { checks } from "../../lib/counts/checks.ts";
import { databaseForTest } from "../helpers/database.ts";

/** The pages of a tick on a ledger of so many settled rows, with indexes.sql, next to rows / 100 other tables. */
async function pagesAt(rows: number) {
  const database = await databaseForTest();
  // Of both types of time: a table with each.
  await database.admin.unsafe("alter table refunds alter created_at type timestamp");
  await database.admin.unsafe(`do $$ begin
    for n in 1..${rows / 100} loop execute format('create table other_%s ()', n); end loop; end $$`);
  await fillLedger(database.admin, rows);
  // While another session, such as autovacuum's, has an older snapshot, a scan of an index has to look at rows too.
  const unseen = async () => {
    await database.admin`vacuum orders, refunds, seller_transfers`;
    return await database.admin`select relname from pg_class
      where relname in ('orders', 'refunds', 'seller_transfers') and relallvisible < relpages`;
  };
  await expect.poll(unseen).toEqual([]);
  const withoutIndexes = await pagesOfTick(database.admin);
  await runSqlFiles(database.adminUrl, ["config/postgres/indexes.sql"]);
  const healthy = await pagesOfTick(database.admin);
  await database.admin.unsafe(`
    insert into orders (status, hyperswitch_payment_id, created_at)
    select 'pending', 'pay', now() - n * interval '1 hour' from generate_series(1, 50) as n`);
  return { healthy, withoutIndexes, withStuckRows: await pagesOfTick(database.admin) };
}

it("lets counts and evidence read as much of a large ledger as of a small one", async () => {
  // Of a still smaller table, Postgres reads all pages: they are fewer than the index's.
  const small = await pagesAt(20_000);
  const large = await pagesAt(200_000);
  expect(large.withoutIndexes).toBeGreaterThan(5 * small.withoutIndexes);
  const lacking = "config/postgres/indexes.sql: npm run generate";
  expect(large.healthy, lacking).toBeLessThan(2 * small.healthy); // Of 10 times as many rows.
  // A few pages for each count, for its evidence, and for the list of tables.
  expect(large.healthy, lacking).toBeLessThan(20 * checks.length);
  expect(large.withStuckRows - large.healthy).toBeLessThan(25);
});

it("calls nothing of the application, and is taken back", async () => {
  const { admin, adminUrl } = await databaseForTest();
  await admin.unsafe(`
    alter table orders alter status type varchar;
    create function called (varchar, varchar) returns boolean immutable language plpgsql
      as $$ begin raise 'called as %', current_user; end $$;
    create operator = (leftarg = varchar, rightarg = varchar, function = called);
    insert into orders (status) values ('pending')`);
  const indexes = () => admin`select from pg_class where relkind = 'i' and relname ~ '^veza_ledger_'`;
  await runSqlFiles(adminUrl, ["config/postgres/indexes.sql", "config/postgres/indexes.sql"]);
  expect(await indexes()).toHaveLength(checks.length);
  await runSqlFiles(adminUrl, ["config/postgres/indexes.rollback.sql"]);
  expect(await indexes()).toHaveLength(0);
});

it.each(["indexes.sql", "indexes.rollback.sql"])(
  "%s lets writes go on, beside one that is not committed",
  async (file) => {
    const { admin, adminUrl } = await databaseForTest();
    if (file !== "indexes.sql") await runSqlFiles(adminUrl, ["config/postgres/indexes.sql"]);
    const insertion = (sql: ISql) => sql`insert into orders (status) values ('paid')`;
    let run: Promise<void> | undefined;
    await admin.begin(async (open) => {
      await insertion(open);
      run = runSqlFiles(adminUrl, [`config/postgres/${file}`]);
      const waits = () => admin`select from pg_stat_activity
      where datname = current_database() and application_name = 'veza-ledger-sql' and wait_event_type = 'Lock'`;
      await expect.poll(waits).toHaveLength(1);
      await admin.begin(async (writer) => {
        await writer`set local lock_timeout = '5s'`;
        await insertion(writer);
      });
    });
    await run;
  },
);
