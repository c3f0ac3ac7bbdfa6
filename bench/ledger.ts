import type postgres from "postgres";
import { takeSample } from "../lib/counts/sample.ts";
import { deadlineFor } from "../lib/deadline.ts";
import type { Database } from "../lib/postgres/database.ts";
import { endReading } from "../lib/postgres/transaction.ts";

const settled = (rows: number) => `
  insert into orders (status, hyperswitch_payment_id, created_at)
    select (array['paid', 'shipped', 'cancelled'])[1 + n % 3], 'pay_' || n,
      now() - n * interval '3 seconds' - interval '1 hour'
    from generate_series(1, ${rows * 0.8}) as n;
  insert into refunds (status, hyperswitch_refund_id, created_at)
    select (array['succeeded', 'failed'])[1 + n % 2], 'ref_' || n, now() - n * interval '30 seconds' - interval '1 hour'
    from generate_series(1, ${rows * 0.1}) as n;
  insert into seller_transfers (status, created_at, updated_at)
    select (array['completed', 'reversed'])[1 + n % 2], at, at
    from generate_series(1, ${rows * 0.1}) as n, lateral (select now() - n * interval '30 seconds' as at) as time`;

/** 10,000 rows of the last 15 minutes. No check counts one within the next 4 minutes. */
const inProgress = `
  insert into orders (status, hyperswitch_payment_id, created_at)
    select 'pending', 'pay_new_' || n, now() - n * interval '0.1 seconds' from generate_series(1, 8000) as n;
  insert into refunds (status, hyperswitch_refund_id, created_at)
    select 'pending', 'ref_new_' || n, now() - n * interval '1 second' from generate_series(1, 900) as n;
  insert into refunds (status, created_at)
    select 'pending', now() - n * interval '0.1 seconds' from generate_series(1, 100) as n;
  insert into seller_transfers (status, updated_at)
    select 'reversal_pending', now() - n * interval '0.9 seconds' from generate_series(1, 1000) as n`;

const vacuum = "vacuum analyze orders; vacuum analyze refunds; vacuum analyze seller_transfers";

/** Adds settled rows to a ledger, 8 in 10 of them orders, and 10,000 rows in progress. Nothing is stuck. */
export async function fillLedger(sql: postgres.Sql, rows: number): Promise<void> {
  // VACUUM has to be alone.
  for (const statement of [settled(rows), inProgress, vacuum].join(";").split(";")) await sql.unsafe(statement);
}

const ledger = { schema: "public", timeZone: "UTC" };

/** Takes a sample on `sql`, as a tick does. Returns all questions that it asked. Throws when a check fails. */
export async function askAsTick(sql: postgres.Sql): Promise<string[]> {
  const asked: string[] = [];
  const unsafe = (statement: string) => {
    // Without its settings, its proof and its end.
    asked.push(statement.replace(/^.* as is_replica;\n/s, "").replace(`;\n${endReading}`, ""));
    return sql.unsafe(statement);
  };
  const close = async () => {};
  const database = {
    sql: { unsafe },
    ledger,
    lost: new AbortController().signal,
    close,
  } as unknown as Database;
  const { outcomes } = await takeSample(
    { use: (work) => work(database), closeFree: close },
    deadlineFor("Postgres", 60_000),
  );
  for (const outcome of outcomes) if ("error" in outcome) throw outcome.error;
  return asked;
}

/** The number of pages of 8 KiB, cached or read, that all statements of a tick touch, for counts and evidence. */
export async function pagesOfTick(sql: postgres.Sql): Promise<number> {
  // A session that asks a statement for the first time reads the catalog too. So one session asks each twice.
  const session = await sql.reserve();
  let pages = 0;
  for (const statement of await askAsTick(session)) {
    const [row] = await session.unsafe(`explain (analyze, buffers, format json) ${statement}`);
    const [{ Plan }] = row?.["QUERY PLAN"] ?? [{}];
    pages += Plan["Shared Hit Blocks"] + Plan["Shared Read Blocks"];
  }
  session.release();
  return pages;
}
