import { Gauge, Registry } from "prom-client";
import { type Database, isConnectionLost, within } from "./database.ts";

/** One ledger check: a gauge and the query behind it, which an engineer can paste into psql as it stands. */
export interface Check {
  /** Value of the label `check`, and the check's name in logs. */
  id: string;
  metric: string;
  help: string;
  /** Returns one row: `count`, and `oldest` as Unix time in seconds, 0 when nothing was counted. */
  sql: string;
}

export const oldestItemMetric = "veza_ledger_oldest_item_timestamp_seconds";
export const checkSuccessMetric = "veza_ledger_check_success";
export const sampleTimestampMetric = "veza_ledger_sample_timestamp_seconds";
export const sampleDurationMetric = "veza_ledger_sample_duration_seconds";

/**
 * The five checks. The thresholds are constants on purpose, and not those of the reconciler: it repairs, these report
 * to people, and an alert that fires while the reconciler is already at work is correct.
 *
 * The cut-off is part of the SQL, so there are no parameters: all five fit in one round trip, and any pooler takes them.
 * Each stays a statement of its own, because a combined one would fail as a whole.
 */
export const checks: readonly Check[] = [
  {
    id: "stuck_orders",
    metric: "veza_ledger_stuck_orders_pending",
    help: "Orders pending for over 30 minutes although the payment provider knows them; -1 when the count failed.",
    sql: `select count(*)::int as count, coalesce(extract(epoch from min(created_at)), 0)::float8 as oldest
from orders
where status = 'pending' and hyperswitch_payment_id <> '' and created_at < now() - interval '30 minutes'`,
  },
  {
    id: "stuck_refunds",
    metric: "veza_ledger_stuck_refunds_pending",
    help: "Refunds pending for over 30 minutes although the payment provider accepted them; -1 when the count failed.",
    sql: `select count(*)::int as count, coalesce(extract(epoch from min(created_at)), 0)::float8 as oldest
from refunds
where status = 'pending' and hyperswitch_refund_id <> '' and created_at < now() - interval '30 minutes'`,
  },
  {
    id: "failed_transfers",
    metric: "veza_ledger_failed_transfers_at_max_retry",
    help: "Seller transfers that the retry worker has given up on; -1 when the count failed.",
    sql: `select count(*)::int as count, coalesce(extract(epoch from min(updated_at)), 0)::float8 as oldest
from seller_transfers
where status = 'permanently_failed'`,
  },
  {
    id: "orphan_refunds",
    metric: "veza_ledger_orphan_refund_rows",
    help: "Refunds written over 5 minutes ago that never reached the payment provider; -1 when the count failed.",
    sql: `select count(*)::int as count, coalesce(extract(epoch from min(created_at)), 0)::float8 as oldest
from refunds
where status = 'pending' and (hyperswitch_refund_id is null or hyperswitch_refund_id = '')
  and created_at < now() - interval '5 minutes'`,
  },
  {
    id: "pending_reversals",
    metric: "veza_ledger_reversal_pending_transfers",
    help: "Seller transfers whose reversal has been pending for over 30 minutes; -1 when the count failed.",
    sql: `select count(*)::int as count, coalesce(extract(epoch from min(updated_at)), 0)::float8 as oldest
from seller_transfers
where status = 'reversal_pending' and updated_at < now() - interval '30 minutes'`,
  },
];

/** What became of one check: a measured count with the oldest row's Unix time in seconds, or the reason for having none. */
export type Outcome = { check: Check } & ({ count: number; oldestSeconds: number } | { error: unknown });

/**
 * Runs the five checks, pipelined on one connection: one round trip. Never rejects; a check that fails, or has no
 * answer when `limit` aborts, yields its error and leaves the other four alone. A connection that could not be had
 * fails all five.
 */
export function runChecks(connecting: Promise<Database>, limit: AbortSignal): Promise<Outcome[]> {
  return Promise.all(
    checks.map(async (check) => {
      try {
        const [row] = await within(await connecting, limit, (sql) => sql.unsafe(check.sql), isConnectionLost);
        if (!Number.isInteger(row?.count) || !Number.isFinite(row?.oldest))
          throw new Error("the query returned no count");
        return { check, count: row?.count, oldestSeconds: row?.oldest };
      } catch (error) {
        return { check, error };
      }
    }),
  );
}

/**
 * Turns the outcomes of one tick into a registry: per check a count, -1 when unknown, whether it succeeded, and the
 * oldest row's timestamp, absent when unknown. A timestamp, not an age, so that the age keeps growing even if the
 * sampler dies. So it is for the tick itself: `sampledAtSeconds` is the Unix time at which it started, before it counted.
 */
export function ledgerRegistry(outcomes: Outcome[], sampledAtSeconds: number, durationSeconds: number): Registry {
  const registry = new Registry();
  const registers = [registry];
  const oldest = new Gauge({
    name: oldestItemMetric,
    help: "Unix time of the oldest row that the check counted; 0 when it counted none, absent when it failed.",
    labelNames: ["check"],
    registers,
  });
  const success = new Gauge({
    name: checkSuccessMetric,
    help: "1 when the check has a count, 0 when the count failed and is -1.",
    labelNames: ["check"],
    registers,
  });
  for (const outcome of outcomes) {
    const { id, metric, help } = outcome.check;
    const count = new Gauge({ name: metric, help, registers });
    success.set({ check: id }, "error" in outcome ? 0 : 1);
    if ("error" in outcome) {
      count.set(-1);
    } else {
      count.set(outcome.count);
      oldest.set({ check: id }, outcome.oldestSeconds);
    }
  }
  new Gauge({
    name: sampleTimestampMetric,
    help: "Unix time at which the tick started, by the sampler's clock; the counts are no older than that.",
    registers,
  }).set(sampledAtSeconds);
  new Gauge({
    name: sampleDurationMetric,
    help: "Seconds from the start of the tick until the last check had its answer.",
    registers,
  }).set(durationSeconds);
  return registry;
}
