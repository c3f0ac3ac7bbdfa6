import { setImmediate } from "node:timers/promises";
import type { Sql } from "postgres";
import { type Database, withDeadline } from "./database.ts";
import { withAnyOf } from "./deadline.ts";
import { type Increment, reconcilerMetric, reconcilerRegistry, type Total } from "./events.ts";
import { type PushgatewayTarget, push } from "./pushgateway.ts";

/**
 * What became of a delivery: `recorded` now, a `duplicate` of one with the same body, or in `conflict` with one that
 * had another body. Only `recorded` has changed the totals.
 */
export type DeliveryStatus = "recorded" | "duplicate" | "conflict";

export interface Delivery {
  id: string;
  bodyDigest: string;
  /** What it adds to the totals, a series at most once. */
  increments: Increment[];
}

/**
 * Records a delivery and adds its increments to the totals, or does neither: one statement and one round trip, atomic without
 * a transaction. One that is known already counts as an attempt and nothing else.
 *
 * Increments are written in one fixed order. In the order of arrival, two statements that change the same two rows could wait
 * for each other: a deadlock.
 */
export async function recordDelivery(sql: Sql, delivery: Delivery): Promise<DeliveryStatus> {
  // A literal, since parameters would cost one more round trip. Nothing in base64 could end it.
  const literal = `'${Buffer.from(JSON.stringify(delivery)).toString("base64")}'`;
  const [row] = await sql.unsafe<{ bodyDigest: string; isNew: boolean }[]>(`
    with given as (
      select id, "bodyDigest", increments from jsonb_to_record(convert_from(decode(${literal}, 'base64'), 'utf8')::jsonb)
        as delivery (id text, "bodyDigest" text, increments jsonb)
    ), written as (
      insert into ledger_metrics.deliveries as known (id, body_digest) select id, "bodyDigest" from given
      on conflict (id) do update set attempts = known.attempts + 1
      returning body_digest as "bodyDigest", attempts = 1 as "isNew"
    ), added as (
      insert into ledger_metrics.totals as total (name, labels, value)
      select increment.* from given, jsonb_to_recordset(increments) as increment (name text, labels jsonb, value numeric)
      where (select "isNew" from written)
      order by name, labels
      on conflict (name, labels) do update set value = case total.name
        when '${reconcilerMetric.lastRun}' then greatest(total.value, excluded.value)
        else total.value + excluded.value
      end
    )
    select "bodyDigest", "isNew" from written`);
  if (row?.isNew) return "recorded";
  return row?.bodyDigest === delivery.bodyDigest ? "duplicate" : "conflict";
}

/** Key of the publishers' lock: any two numbers, the same for all. */
const lockKey = "1986361953, 1";
const readTotals = "select name, labels, value::float8 from ledger_metrics.totals";

/**
 * One round trip. The lock yields no row when somebody waits for it already. Each statement sees what is there when its turn
 * comes, and so the last one sees what was committed while the lock was waited for.
 */
const lockAndReadTotals = `
  begin isolation level read committed read write;
  select pg_advisory_xact_lock(${lockKey}) where not exists (
    select from pg_locks where locktype = 'advisory' and (classid, objid, objsubid) = (${lockKey}, 2) and not granted
      and database = (select oid from pg_database where datname = current_database()));
  ${readTotals}`;

/** Event-loop turns. When the connection has closed right after the answer, Node notices three turns later. */
const turnsToNoticeTheEnd = 5;
/** They take microseconds, unless the process was stopped meanwhile. */
const maxTurnsMs = 10;

/**
 * Publishes the totals, including everything committed before this call. Resolves to true when this call has pushed them,
 * and to false when it has left that to another one.
 *
 * They are read and pushed under a lock that lets one publisher at a time do both: a push of older totals after one of newer
 * ones would look like a counter reset, and increase() would count everything again. One publisher more may wait for the
 * lock. A call that finds one waiting resolves to false: the waiter reads the totals later, and so includes this call's.
 *
 * Rejects when the lock cannot be had within the role's lock_timeout, when the totals cannot be read, when the push fails,
 * or when `deadline` aborts or the connection (and with it the lock) is lost. No request of ours is open by then. Right before
 * the totals are sent, Postgres is asked whether the lock is still there: the process may have been stopped meanwhile.
 * A request that was given up can still arrive late, from the network or a frozen gateway. Rejects on a replica,
 * which knows nothing of the lock.
 *
 * The connection must be asked nothing else meanwhile: that would run inside this transaction.
 */
export function publishTotals(
  database: Database,
  gateway: PushgatewayTarget,
  stage: string | undefined,
  deadline: AbortSignal,
): Promise<boolean> {
  return withAnyOf([deadline, database.lost], async (signal) => {
    const ask = (statements: string) => withDeadline(database, deadline, (sql) => sql.unsafe(statements));
    try {
      const [, lock, totals] = (await ask(lockAndReadTotals)) as unknown as LockedTotals;
      const isPublisher = lock.length > 0;
      const confirmLock = async () => {
        let answeredAtMs: number;
        do {
          await ask("select 1");
          answeredAtMs = performance.now();
          for (let turn = 0; turn < turnsToNoticeTheEnd; turn += 1) await setImmediate();
          signal.throwIfAborted();
        } while (performance.now() - answeredAtMs > maxTurnsMs);
      };
      const group = { job: "veza_reconciler", stage };
      if (isPublisher) await push(gateway, group, reconcilerRegistry(totals), signal, confirmLock);
      // An answer tells that the connection, and so the lock, was kept until now.
      await ask("commit");
      return isPublisher;
    } catch (error) {
      await ask("rollback").catch(() => {}); // When that fails too, it is for the same reason, or a later one.
      throw error;
    }
  });
}

type LockedTotals = [begin: unknown, lock: unknown[], totals: Total[]];

const maxPurged = 1_000;

/**
 * Forgets deliveries received over 14 days ago, at most 1,000 a call, the oldest first. Standard Webhooks' longest
 * schedule of retries ends after about three days, so no retry can come that late. Resolves to whether that was all of
 * them.
 */
export async function purgeDeliveries(sql: Sql): Promise<boolean> {
  const { count } = await sql.unsafe(`
    delete from ledger_metrics.deliveries where id in (
      select id from ledger_metrics.deliveries
      where received_at < now() - interval '14 days'
      order by received_at limit ${maxPurged}
      for update skip locked
    )`);
  return count < maxPurged;
}
