import postgres from "postgres";
import { runSqlFiles } from "../commands/sql.ts";
import { startPostgres } from "../local/postgres.ts";
import { askAsTick, fillLedger, pagesOfTick } from "./ledger.ts";

// npm run bench:scale [-- <rows> …]: what the counts and the evidence of a tick cost on ledgers of different sizes,
// with plain indexes and with indexes.sql.
const sizes = process.argv.slice(2).map(Number);
if (sizes.length === 0) sizes.push(10_000, 1_000_000, 10_000_000);

const plainIndexes = `
  create index plain_orders on orders (status, created_at);
  create index plain_refunds on refunds (status, created_at);
  create index plain_transfers on seller_transfers (status, updated_at)`;
const dropPlainIndexes = "drop index plain_orders; drop index plain_refunds; drop index plain_transfers";

interface Cost {
  pages: number;
  ms: number;
  indexBytes: number;
}

/** The pages and the median time of 11 ticks, and the size of all indexes that serve them. */
async function costOfTick(sql: postgres.Sql): Promise<Cost> {
  const pages = await pagesOfTick(sql);
  const times: number[] = [];
  for (let tick = 0; tick < 11; tick += 1) {
    const startedAt = performance.now();
    await askAsTick(sql);
    times.push(performance.now() - startedAt);
  }
  const [sizes] = await sql`
    select sum(pg_relation_size(indexrelid))::float8 as bytes from pg_stat_user_indexes
    where indexrelname like 'plain%' or indexrelname like 'veza%'`;
  const ms = times.toSorted((a, b) => a - b)[5] ?? Number.NaN;
  return { pages, ms, indexBytes: sizes?.bytes ?? 0 };
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
    const url = server.superuserUrl.replace(/\w+$/, name);
    const admin = postgres(server.superuserUrl, { max: 1 });
    await admin.unsafe(`create database ${name}`);
    await runSqlFiles(url, ["local/ledger.sql"]);
    const sql = postgres(url, { max: 1, onnotice: () => {}, fetch_types: false });
    await fillLedger(sql, rows);
    const [table] = await sql`
      select sum(pg_table_size(relid))::float8 as bytes from pg_stat_user_tables`;
    const report = (kind: string, { pages, ms, indexBytes }: Cost) =>
      console.log(
        [
          rows.toLocaleString("en").padEnd(12),
          kind.padEnd(18),
          String(pages).padStart(10),
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
