import { Gauge, Registry } from "prom-client";
import { codeOf, type Database, isConnectionLost, withDeadline } from "./database.ts";

/** One ledger check: a gauge and the query behind it, which an engineer can paste into psql as it stands. */
export interface Check {
  /** Value of the label `check`, and the check's name in logs. */
  id: string;
  metric: string;
  help: string;
  /**
   * Returns one row. `count` is the number of rows, `oldest` the Unix time in seconds of the oldest of them that has a
   * finite time. The others say whether the count can be believed: `hides_rows` whether row-level security may keep rows
   * from this role, and `time_type`, where minutes matter, the type of the time.
   */
  sql: string;
  /** The count alone, where that needs fewer columns: asked when the database refuses the other. */
  countSql?: string;
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
 *
 * bigint and numeric come as text, to the last digit: how many digits a float shows is up to the database's settings.
 * A time without a zone is compared in the session's zone, so its oldest is converted in the same zone.
 */
export const checks: readonly Check[] = [
  {
    id: "stuck_orders",
    metric: "veza_ledger_stuck_orders_pending",
    help: "Orders pending for over 30 minutes although the payment provider knows them; -1 when the count failed.",
    sql: `select count(*), extract(epoch from (min(created_at) filter (where isfinite(created_at)))::timestamptz)::numeric as oldest,
  pg_typeof(min(created_at)) as time_type, row_security_active('orders') as hides_rows
from orders
where status = 'pending' and hyperswitch_payment_id <> '' and created_at < now() - interval '30 minutes'`,
  },
  {
    id: "stuck_refunds",
    metric: "veza_ledger_stuck_refunds_pending",
    help: "Refunds pending for over 30 minutes although the payment provider accepted them; -1 when the count failed.",
    sql: `select count(*), extract(epoch from (min(created_at) filter (where isfinite(created_at)))::timestamptz)::numeric as oldest,
  pg_typeof(min(created_at)) as time_type, row_security_active('refunds') as hides_rows
from refunds
where status = 'pending' and hyperswitch_refund_id <> '' and created_at < now() - interval '30 minutes'`,
  },
  {
    id: "failed_transfers",
    metric: "veza_ledger_failed_transfers_at_max_retry",
    help: "Seller transfers that the retry worker has given up on; -1 when the count failed.",
    sql: `select count(*), extract(epoch from (min(updated_at) filter (where isfinite(updated_at)))::timestamptz)::numeric as oldest,
  row_security_active('seller_transfers') as hides_rows
from seller_transfers
where status = 'permanently_failed'`,
    countSql: `select count(*), row_security_active('seller_transfers') as hides_rows
from seller_transfers
where status = 'permanently_failed'`,
  },
  {
    id: "orphan_refunds",
    metric: "veza_ledger_orphan_refund_rows",
    help: "Refunds written over 5 minutes ago that never reached the payment provider; -1 when the count failed.",
    sql: `select count(*), extract(epoch from (min(created_at) filter (where isfinite(created_at)))::timestamptz)::numeric as oldest,
  pg_typeof(min(created_at)) as time_type, row_security_active('refunds') as hides_rows
from refunds
where status = 'pending' and (hyperswitch_refund_id is null or hyperswitch_refund_id = '')
  and created_at < now() - interval '5 minutes'`,
  },
  {
    id: "pending_reversals",
    metric: "veza_ledger_reversal_pending_transfers",
    help: "Seller transfers whose reversal has been pending for over 30 minutes; -1 when the count failed.",
    sql: `select count(*), extract(epoch from (min(updated_at) filter (where isfinite(updated_at)))::timestamptz)::numeric as oldest,
  pg_typeof(min(updated_at)) as time_type, row_security_active('seller_transfers') as hides_rows
from seller_transfers
where status = 'reversal_pending' and updated_at < now() - interval '30 minutes'`,
  },
];

/** A measured count, and the oldest row's Unix time in seconds: 0 when nothing was counted, undefined when unknown. */
export interface Count {
  count: number;
  oldestSeconds: number | undefined;
}

/** What became of one check: its count, or the reason for having none. */
export type Outcome = { check: Check } & (Count | { error: unknown });

/**
 * Runs the five checks, or those in `which`, pipelined on one connection: one round trip, and a second one when this
 * process first learns that a count has to be asked for alone. Never rejects; a check that fails, or has no answer when
 * `deadline` aborts, yields its error and leaves the others alone. A connection that could not be had fails all of them.
 */
export function runChecks(connecting: Promise<Database>, deadline: AbortSignal, which = checks): Promise<Outcome[]> {
  return Promise.all(
    which.map(async (check) => {
      try {
        return { check, ...(await runCheck(await connecting, check, deadline)) };
      } catch (error) {
        return { check, error };
      }
    }),
  );
}

/** The checks that had to be asked for the count alone, last time: both are asked at once then, in the same round trip. */
const refused = new Set<Check>();

async function runCheck(database: Database, check: Check, deadline: AbortSignal): Promise<Count> {
  const { sql, countSql } = check;
  const ask = async (statement: string) =>
    countIn((await withDeadline(database, deadline, (session) => session.unsafe(statement), isConnectionLost))[0]);
  const countAlone = countSql && refused.has(check) ? ask(countSql) : undefined;
  countAlone?.catch(() => {}); // Awaited below, or not needed.
  try {
    const count = await ask(sql);
    refused.delete(check);
    return count;
  } catch (error) {
    // Class 42 and 22: the statement does not suit this schema, or a value in it. Not a lock, a time-out or a lost session.
    if (!countSql || !/^(42|22)/.test(codeOf(error))) throw error;
    refused.add(check);
    return await (countAlone ?? ask(countSql));
  }
}

/** Takes an answer for a count only when it is one, and when nothing in it says that it may be wrong. */
function countIn(row: Record<string, unknown> | undefined): Count {
  if (row?.hides_rows !== false) throw new Error("row-level security may hide rows from this role");
  if (row.time_type === "date") throw new Error("the column is a date: it cannot tell minutes");
  const count = /^\d+$/.test(String(row.count)) ? Number(row.count) : Number.NaN;
  if (!Number.isSafeInteger(count)) throw new Error("the query returned no count");
  if (count === 0) return { count, oldestSeconds: 0 };
  return { count, oldestSeconds: typeof row.oldest === "string" ? Number(row.oldest) : undefined };
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
    help: "Unix time of the oldest row that the check counted; 0 when it counted none, absent when it is unknown.",
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
      if (outcome.oldestSeconds !== undefined) oldest.set({ check: id }, outcome.oldestSeconds);
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
