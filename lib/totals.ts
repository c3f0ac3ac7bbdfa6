import { setImmediate } from "node:timers/promises";
import type { Sql } from "postgres";
import { type Connections, type Database, withDeadline } from "./database.ts";
import { deadline, twice, withAnyOf } from "./deadline.ts";
import { type Increment, reconcilerMetric, reconcilerRegistry, type Total } from "./events.ts";
import { isRefusal, type PushgatewayTarget, push } from "./pushgateway.ts";

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

/** More than come in: each delivery adds one. */
const maxPurged = 100;

/**
 * Records a delivery and adds its increments to the totals, or does neither: one statement and one round trip, atomic without
 * a transaction. One that is known already counts as an attempt and nothing else.
 *
 * Increments are written in one fixed order. In the order of arrival, two statements that change the same two rows could wait
 * for each other: a deadlock.
 *
 * Forgets deliveries that are over 14 days old besides, at most 100. Standard Webhooks' longest schedule of retries ends
 * after about three days, so no replay comes that late.
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
    ), purged as (
      delete from ledger_metrics.deliveries where id in (
        select old.id from ledger_metrics.deliveries as old, given
        where received_at < now() - interval '14 days' and old.id <> given.id
        order by received_at limit ${maxPurged}
        for update of old skip locked
      )
    )
    select "bodyDigest", "isNew" from written`);
  if (row?.isNew) return "recorded";
  return row?.bodyDigest === delivery.bodyDigest ? "duplicate" : "conflict";
}

/** Key of the publishers' lock: any two numbers, the same for all. */
const lockKey = "1986361953, 1";

/** The lock yields no row while somebody waits for it. The totals are as of the time when the lock was got. */
export const lockAndReadTotals = `
  begin isolation level read committed read write;
  select pg_advisory_xact_lock(${lockKey}) where not exists (
    select from pg_locks where locktype = 'advisory' and (classid, objid, objsubid) = (${lockKey}, 2) and not granted
      and database = (select oid from pg_database where datname = current_database()));
  select name, labels, value::float8 from ledger_metrics.totals`;

const pushTimeoutMs = 1_500;
/** In turns of the event loop: Node tells of a connection that ended right behind an answer three turns after it. */
const turnsToNoticeTheEnd = 5;

/**
 * Publishes the totals, including everything committed before this call. Resolves to true when this call has pushed them,
 * and to false when it has left that to another one.
 *
 * They are read and pushed under a lock that lets one publisher at a time do both: a push of older totals after newer ones
 * would look like a counter reset, and increase() would count everything again. One publisher more may wait for the lock. A
 * call that finds one waiting resolves to false: the waiter reads the totals later, and so includes this call's.
 *
 * A publisher that fails may have pushed older totals all the same: its push arrives late, or it was stopped and lost its
 * session, and with it the lock. So it publishes once more at once, unless the gateway refuses or `deadline` has aborted.
 * Rejects as the second attempt does: the lock is not to be had within the role's lock_timeout, the totals cannot be read,
 * the push fails or takes over 1.5 s, or the connection is lost. Never on a replica, which knows nothing of the lock.
 */
export function publishTotals(
  connections: Connections,
  gateway: PushgatewayTarget,
  stage: string | undefined,
  deadline: AbortSignal,
): Promise<boolean> {
  const attempt = () => connections.use((database) => publishOnce(database, gateway, stage, deadline));
  return twice(attempt, (error) => isRefusal(error) || deadline.aborted);
}

async function publishOnce(
  database: Database,
  gateway: PushgatewayTarget,
  stage: string | undefined,
  publishDeadline: AbortSignal,
): Promise<boolean> {
  const ask = (statements: string) => withDeadline(database, publishDeadline, (sql) => sql.unsafe(statements));
  try {
    const [, lock, totals] = (await ask(lockAndReadTotals)) as unknown as [unknown, unknown[], Total[]];
    if (lock.length > 0) {
      const metrics = await reconcilerRegistry(totals).metrics();
      for (let turn = 0; turn < turnsToNoticeTheEnd; turn += 1) await setImmediate();
      const limits = [publishDeadline, database.lost, deadline("the Pushgateway", pushTimeoutMs)];
      await withAnyOf(limits, (signal) => push(gateway, { job: "veza_reconciler", stage }, metrics, signal));
    }
    // An answer tells that the connection, and so the lock, was kept until now.
    await ask("commit");
    return lock.length > 0;
  } catch (error) {
    await ask("rollback").catch(() => {}); // When that fails too, it is for the same reason, or a later one.
    throw error;
  }
}
