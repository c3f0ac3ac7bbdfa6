import postgres from "postgres";
import { checks } from "../lib/checks.ts";
import { startPostgres } from "./postgres.ts";
import { runSqlFiles } from "./sql.ts";

// npm run bench:scale [-- <rows> …]: what a tick costs on ledgers of different sizes, with plain indexes and with ours.
const sizes = process.argv.slice(2).map(Number);
if (sizes.length === 0) sizes.push(10_000, 1_000_000, 10_000_000);

/** Of the ledger's rows, 8 in 10 are orders. All are settled but a few minutes' worth: nothing is stuck. */
const fill = (rows: number) => `
  insert into orders (status, hyperswitch_payment_id, created_at)
    select (array['paid', 'shipped', 'cancelled'])[1 + n % 3], 'pay_' || n, now() - n * interval '3 seconds' - interval '1 hour'
    from generate_series(1, ${rows * 0.8}) as n;
  insert into orders (status, hyperswitch_payment_id, created_at)
    select 'pending', 'pay_new_' || n, now() - n * interval '3 seconds' from generate_series(1, 50) as n;
  insert into refunds (status, hyperswitch_refund_id, created_at)
    select (array['succeeded', 'failed'])[1 + n % 2], 'ref_' || n, now() - n * interval '30 seconds' - interval '1 hour'
    from generate_series(1, ${rows * 0.1}) as n;
  insert into refunds (status, hyperswitch_refund_id, created_at)
    select 'pending', nullif('ref_new_' || n % 2, 'ref_new_0'), now() - n * interval '3 seconds' from generate_series(1, 10) as n;
  insert into seller_transfers (status, created_at, updated_at)
    select (array['completed', 'reversed'])[1 + n % 2], at, at
    from generate_series(1, ${rows * 0.1}) as n, lateral (select now() - n * interval '30 seconds' as at) as time;
  vacuum analyze orders; vacuum analyze refunds; vacuum analyze seller_transfers`;

const plainIndexes = `
  create index plain_orders on orders (status, created_at);
  create index plain_refunds on refunds (status, created_at);
  create index plain_transfers on seller_transfers (status, updated_at)`;
const dropPlainIndexes = "drop index plain_orders; drop index plain_refunds; drop index plain_transfers";

interface Cost {
  buffers: number;
  ms: number;
  indexBytes: number;
}

/** The five queries of a tick: pages of 8 KiB touched, in all, and the median time of 11 ticks. */
async function costOfTick(sql: postgres.Sql): Promise<Cost> {
  const buffers: number[] = [];
  for (const check of checks) {
    const [row] = await sql.unsafe(`explain (analyze, buffers, format json) ${check.sql}`);
    const [{ Plan }] = row?.["QUERY PLAN"] ?? [{}];
    buffers.push(Plan["Shared Hit Blocks"] + Plan["Shared Read Blocks"]);
  }
  const times: number[] = [];
  for (let tick = 0; tick < 11; tick += 1) {
    const startedAt = performance.now();
    await Promise.all(checks.map((check) => sql.unsafe(check.sql)));
    times.push(performance.now() - startedAt);
  }
  const [sizes] = await sql`
    select sum(pg_relation_size(indexrelid))::float8 as bytes from pg_stat_user_indexes
    where indexrelname like 'plain%' or indexrelname like 'veza%'`;
  const ms = times.toSorted((a, b) => a - b)[5] ?? Number.NaN;
  return { buffers: buffers.reduce((sum, some) => sum + some, 0), ms, indexBytes: sizes?.bytes ?? 0 };
}

const server = await startPostgres(0, [
  "-c",
  "shared_buffers=1GB",
  "-c",
  "maintenance_work_mem=512MB",
  "-c",
  "max_wal_size=8GB",
]);
try {
  console.log("rows        indexes            pages/tick   ms/tick   index size   of the tables");
  for (const rows of sizes) {
    const name = `ledger_${rows}`;
    const url = server.url.replace(/\w+$/, name);
    const admin = postgres(server.url, { max: 1 });
    await admin.unsafe(`create database ${name}`);
    await runSqlFiles(url, ["local/ledger.sql"]);
    const sql = postgres(url, { max: 1, onnotice: () => {}, fetch_types: false });
    for (const statement of fill(rows).split(";")) await sql.unsafe(statement);
    const [table] = await sql`
      select sum(pg_table_size(relid))::float8 as bytes from pg_stat_user_tables`;
    const report = (kind: string, { buffers, ms, indexBytes }: Cost) =>
      console.log(
        [
          rows.toLocaleString("en").padEnd(12),
          kind.padEnd(18),
          String(buffers).padStart(10),
          ms.toFixed(2).padStart(10),
          `${(indexBytes / 1024).toFixed(0)} KiB`.padStart(13),
          `${((100 * indexBytes) / table?.bytes).toFixed(3)} %`.padStart(12),
        ].join(" "),
      );
    if (rows <= 1_000_000) report("none", await costOfTick(sql));
    await sql.unsafe(plainIndexes);
    report("(status, time)", await costOfTick(sql));
    await sql.unsafe(dropPlainIndexes);
    await runSqlFiles(url, ["config/postgres/indexes.sql"]);
    report("indexes.sql", await costOfTick(sql));
    await sql.end();
    await admin.unsafe(`drop database ${name} with (force)`);
    await admin.end();
  }
} finally {
  await server.stop();
}
