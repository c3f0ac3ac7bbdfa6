import type postgres from "postgres";
import { checks, questionOf } from "../lib/checks.ts";

const healthy = (rows: number) => `
  insert into orders (status, hyperswitch_payment_id, created_at)
    select (array['paid', 'shipped', 'cancelled'])[1 + n % 3], 'pay_' || n,
      now() - n * interval '3 seconds' - interval '1 hour'
    from generate_series(1, ${rows * 0.8}) as n;
  insert into orders (status, hyperswitch_payment_id, created_at)
    select 'pending', 'pay_new_' || n, now() - n * interval '3 seconds' from generate_series(1, 50) as n;
  insert into refunds (status, hyperswitch_refund_id, created_at)
    select (array['succeeded', 'failed'])[1 + n % 2], 'ref_' || n, now() - n * interval '30 seconds' - interval '1 hour'
    from generate_series(1, ${rows * 0.1}) as n;
  insert into refunds (status, hyperswitch_refund_id, created_at)
    select 'pending', nullif('ref_new_' || n % 2, 'ref_new_0'), now() - n * interval '3 seconds'
    from generate_series(1, 10) as n;
  insert into seller_transfers (status, created_at, updated_at)
    select (array['completed', 'reversed'])[1 + n % 2], at, at
    from generate_series(1, ${rows * 0.1}) as n, lateral (select now() - n * interval '30 seconds' as at) as time;
  vacuum analyze orders; vacuum analyze refunds; vacuum analyze seller_transfers`;

/** Adds settled rows to a ledger, 8 in 10 of them orders, and 60 pending rows of the last minutes. Nothing is stuck. */
export async function fillLedger(sql: postgres.Sql, rows: number): Promise<void> {
  for (const statement of healthy(rows).split(";")) await sql.unsafe(statement); // VACUUM has to be alone.
}

/** How many pages of 8 KiB, cached or read, the statements of a tick touch, all together. */
export async function pagesOfTick(sql: postgres.Sql): Promise<number> {
  let pages = 0;
  for (const check of checks) {
    const [row] = await sql.unsafe(
      `explain (analyze, buffers, format json) ${questionOf(check, { withOldest: true })}`,
    );
    const [{ Plan }] = row?.["QUERY PLAN"] ?? [{}];
    pages += Plan["Shared Hit Blocks"] + Plan["Shared Read Blocks"];
  }
  return pages;
}
