// indexes.sql: a tick reads as much of a large ledger as of a small one.

import type { Sql } from "postgres";
import { expect, it } from "vitest";
import { fillLedger, pagesOfTick } from "../../bench/ledger.ts";
import { runSqlFiles } from "../../commands/sql.ts";
import { checks } from "../../lib/checks.ts";
import { databaseForTest, targetOf } from "../helpers/database.ts";

/** The pages of a tick on a ledger of so many settled rows, with indexes.sql, next to rows / 100 other tables. */
async function pagesAt(rows: number, type: string) {
  const database = await databaseForTest();
  await database.admin.unsafe(`
    alter table orders alter created_at type ${type};
    alter table refunds alter created_at type ${type};
    alter table seller_transfers alter updated_at type ${type}`);
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

it.each(["timestamptz", "timestamp"])(
  "lets counts and evidence read as much of a large ledger as of a small one, with times of type %s",
  async (type) => {
    // Of a still smaller table, Postgres reads all pages: they are fewer than the index's.
    const small = await pagesAt(20_000, type);
    const large = await pagesAt(400_000, type);
    expect(large.withoutIndexes).toBeGreaterThan(10 * small.withoutIndexes);
    const lacking = "config/postgres/indexes.sql: npm run generate";
    expect(large.healthy, lacking).toBeLessThan(2 * small.healthy); // Of 20 times as many rows.
    // A few pages for each count, for its evidence, and for the list of tables.
    expect(large.healthy, lacking).toBeLessThan(20 * checks.length);
    expect(large.withStuckRows - large.healthy).toBeLessThan(25);
  },
);

const ofOrders = (admin: Sql) => admin`
  select indrelid::regclass::text as table from pg_index join pg_class on pg_class.oid = indexrelid
  where relname ~ '^veza_ledger_stuck_orders' order by 1`;

it("serves partitions that have inherited an index of the shop's", async () => {
  const { admin, adminUrl } = await databaseForTest();
  await admin.unsafe(`
    alter table orders rename to rest; alter table rest alter id drop identity;
    create table orders (like rest) partition by range (created_at);
    alter table orders attach partition rest default;
    create index on orders (created_at)`);
  await runSqlFiles(adminUrl, ["config/postgres/indexes.sql"]);
  expect(await ofOrders(admin)).toEqual([{ table: "orders" }, { table: "rest" }]);
});

it("serves the table that the sampler finds, and not the table that this session finds", async () => {
  const { admin, adminUrl } = await databaseForTest();
  await admin.unsafe(`create schema "The Shop"; create table "The Shop".orders (like orders);
    alter role veza_ledger_sampler in database ${targetOf(adminUrl).database} set search_path = "The Shop", public`);
  await runSqlFiles(adminUrl, ["config/postgres/indexes.sql"]);
  expect(await ofOrders(admin)).toEqual([{ table: '"The Shop".orders' }]);
});

it("drops the index of a check that is no more", async () => {
  const { admin, adminUrl } = await databaseForTest();
  await admin.unsafe("create index veza_ledger_gone on orders (created_at) where status = 'gone'");
  await runSqlFiles(adminUrl, ["config/postgres/indexes.sql"]);
  expect(await admin`select from pg_class where relname = 'veza_ledger_gone'`).toHaveLength(0);
});

it("leaves out a table whose columns it does not know, and serves the others", async () => {
  const { admin, adminUrl } = await databaseForTest();
  await admin.unsafe("alter table orders rename status to state");
  await runSqlFiles(adminUrl, ["config/postgres/indexes.sql"]);
  const made = await admin`select relname from pg_class where relkind = 'i' and relname ~ '^veza_ledger' order by 1`;
  const others = checks.filter(({ table }) => table !== "orders").map(({ id }) => `veza_ledger_${id}`);
  expect(made.map(({ relname }) => relname)).toEqual(others.sort());
});

it("serves a partitioned table, partitions of partitions and partitions of tomorrow, and is taken back", async () => {
  const { admin, adminUrl } = await databaseForTest();
  await admin.unsafe(`
    drop table orders;
    create table orders
      (id bigint, status text, hyperswitch_payment_id text, created_at timestamptz, updated_at timestamptz)
      partition by range (created_at);
    create table orders_2026 partition of orders for values from ('2026-01-01') to ('2027-01-01')
      partition by list (status);
    create table orders_2026_pending partition of orders_2026 for values in ('pending');
    create table orders_2026_rest partition of orders_2026 default;
    create table orders_rest partition of orders default`);
  /** The valid indexes of a check on orders, and whether one is attached twice or not at all. */
  const indexes = () => admin`
    select indrelid::regclass::text as table, indisvalid as is_valid, relispartition as is_attached
    from pg_index join pg_class on pg_class.oid = indexrelid
    where indrelid::regclass::text ~ '^orders' and pg_get_expr(indpred, indrelid) ~ 'pending' order by 1`;
  const files = (name: string) => runSqlFiles(adminUrl, [`config/postgres/${name}.sql`]);
  const all = ["orders", "orders_2026", "orders_2026_pending", "orders_2026_rest", "orders_rest"];
  const expected = (tables: string[]) =>
    tables.map((table) => ({ table, is_valid: true, is_attached: table !== "orders" }));

  await files("indexes");
  expect(await indexes()).toEqual(expected(all));
  await admin.unsafe("create table orders_2027 partition of orders for values from ('2027-01-01') to ('2028-01-01')");
  await files("indexes");
  expect(await indexes()).toEqual(expected([...all.slice(0, 4), "orders_2027", "orders_rest"]));
  await files("indexes.rollback");
  expect(await indexes()).toEqual([]);
});
