import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import postgres from "postgres";
import { deliver } from "../commands/deliver.ts";
import { runSqlFiles } from "../commands/sql.ts";
import { errorFields, log } from "../lib/log.ts";

/** Builds the demo ledger in an empty database. */
export async function createDemoLedger(adminUrl: string): Promise<void> {
  await runSqlFiles(adminUrl, [
    "local/ledger.sql",
    "config/postgres/schema.sql",
    "config/postgres/roles.sql",
    "config/postgres/indexes.sql",
    "local/demo.sql",
  ]);
}

const repairs = {
  stuck_orders: `update orders set status = 'paid', updated_at = now() where id = (
    select id from orders where status = 'pending' and hyperswitch_payment_id <> ''
    order by created_at limit 1) returning id`,
  stuck_refunds: `update refunds set status = 'succeeded', updated_at = now() where id = (
    select id from refunds where status = 'pending' and hyperswitch_refund_id <> ''
    order by created_at limit 1) returning id`,
  orphan_refunds: `update refunds set status = 'failed', updated_at = now() where id = (
    select id from refunds where status = 'pending' and coalesce(hyperswitch_refund_id, '') = ''
    order by created_at limit 1) returning id`,
};

/** New trouble, so that the demo never runs dry. */
const breakages = [
  `insert into orders (status, hyperswitch_payment_id, created_at)
   values ('pending', 'pay_' || gen_random_uuid(), now() - interval '31 minutes')`,
  `insert into refunds (status, hyperswitch_refund_id, created_at)
   values ('pending', 'ref_' || gen_random_uuid(), now() - interval '31 minutes')`,
  "insert into refunds (status, created_at) values ('pending', now() - interval '6 minutes')",
];

/**
 * Plays a reconciler on the demo ledger until `stop` aborts. Every `everySeconds` it repairs a row of one phase, and
 * posts its events as one signed delivery; meanwhile something else breaks.
 */
export async function simulateReconciler(
  adminUrl: string,
  receiverUrl: string,
  secret: string,
  everySeconds: number,
  stop: AbortSignal,
): Promise<void> {
  const sql = postgres(adminUrl, { max: 1, onnotice: () => {} });
  const pause = () => sleep(everySeconds * 1000, true, { signal: stop }).catch(() => false);
  for (let sweep = 0; await pause(); sweep += 1) {
    const phase = (["stuck_orders", "stuck_refunds", "orphan_refunds"] as const)[sweep % 3] ?? "stuck_orders";
    try {
      const events = await simulateSweep(sql, phase);
      await deliver(receiverUrl, secret, `sweep_${randomUUID()}`, JSON.stringify(events));
    } catch (error) {
      log("warn", "simulated sweep failed", errorFields(error));
    }
  }
  await sql.end({ timeout: 1 });
}

/** Repairs one row, breaks another, and returns the events that a reconciler would post. */
async function simulateSweep(sql: postgres.Sql, phase: keyof typeof repairs): Promise<object[]> {
  const startedAt = performance.now();
  const repaired = await sql.unsafe(repairs[phase]);
  await sql.unsafe(breakages[Math.floor(Math.random() * breakages.length)] ?? "select 1");
  const timestamp = new Date().toISOString();
  const seconds = Number(((performance.now() - startedAt) / 1000).toFixed(3));
  return [
    ...repaired.map(() => ({ type: "reconciler.action", timestamp, data: { phase } })),
    ...(phase === "orphan_refunds" ? repaired.map(() => ({ type: "reconciler.orphan_refund", timestamp })) : []),
    { type: "reconciler.sweep", timestamp, data: { duration_seconds: seconds } },
  ];
}
