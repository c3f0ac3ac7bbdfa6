import type { Sql } from "postgres";
import { type Database, within } from "./database.ts";
import { reconcilerMetric, reconcilerRegistry, type Sample } from "./events.ts";
import { type PushgatewayTarget, push } from "./pushgateway.ts";

/**
 * What became of a delivery: `recorded` now, a `duplicate` of one with the same body, or in `conflict` with one that
 * had another body. Only `recorded` has changed the totals.
 */
export type Recorded = "recorded" | "duplicate" | "conflict";

export interface Delivery {
  id: string;
  bodyDigest: string;
  /** What it adds to the totals. */
  samples: Sample[];
}

/**
 * Records deliveries and adds their samples to the totals, or does neither: one statement and one round trip, atomic
 * without a transaction. One that is known already, or a further one with the same id, counts as an attempt and nothing
 * else. Resolves to what became of each, in the same order.
 *
 * Ids and samples are written in one fixed order. In the order of arrival, two statements that change the same two rows
 * could wait for each other: a deadlock.
 */
export async function recordDeliveries(sql: Sql, deliveries: Delivery[]): Promise<Recorded[]> {
  const sameId = Map.groupBy(deliveries, ({ id }) => id);
  const given = [...sameId.values()].map((same) => ({ ...same[0], times: same.length }));
  // A literal, since parameters would cost one more round trip. Nothing in base64 could end it.
  const literal = `'${Buffer.from(JSON.stringify(given)).toString("base64")}'`;
  const rows = await sql.unsafe<{ id: string; body_digest: string; is_new: boolean }[]>(`
    with given as (
      select id, "bodyDigest", times, samples
      from jsonb_to_recordset(convert_from(decode(${literal}, 'base64'), 'utf8')::jsonb)
        as delivery (id text, "bodyDigest" text, times int, samples jsonb)
    ), written as (
      insert into ledger_metrics.deliveries as known (id, body_digest, attempts)
      select id, "bodyDigest", times from given order by id
      on conflict (id) do update set attempts = known.attempts + excluded.attempts
      returning id, body_digest, attempts
    ), outcome as (
      select id, body_digest, attempts = times as is_new, samples from written join given using (id)
    ), added as (
      insert into ledger_metrics.samples as total (name, labels, value)
      select name, labels, case name when '${reconcilerMetric.lastRun}' then max(value) else sum(value) end
      from outcome, jsonb_to_recordset(samples) as sample (name text, labels jsonb, value numeric)
      where is_new
      group by name, labels
      order by name, labels
      on conflict (name, labels) do update set value = case total.name
        when '${reconcilerMetric.lastRun}' then greatest(total.value, excluded.value)
        else total.value + excluded.value
      end
    )
    select id, body_digest, is_new from outcome`);
  const outcomeOf = new Map(rows.map((row) => [row.id, row]));
  return deliveries.map((delivery) => {
    const outcome = outcomeOf.get(delivery.id);
    if (outcome?.is_new && sameId.get(delivery.id)?.[0] === delivery) return "recorded";
    return outcome?.body_digest === delivery.bodyDigest ? "duplicate" : "conflict";
  });
}

/** One round trip. Each statement sees what is there when its turn comes: the last two, when the lock was waited for. */
const lockAndReadTotals = `
  begin isolation level read committed read write;
  select (last_value + is_called::int)::float8 as count from ledger_metrics.pushes;
  select pg_advisory_xact_lock(hashtextextended('ledger_metrics.publish', 0));
  select (last_value + is_called::int)::float8 as count from ledger_metrics.pushes;
  select name, labels, value from ledger_metrics.samples`;

/**
 * Sees to it that the totals, with all that was committed before this call, are on the Pushgateway. They are read and
 * pushed under a lock that lets one publisher at a time do both: a push of older totals after one of newer ones would
 * look like a counter reset, and increase() would count everything again.
 *
 * With `mayShare`, those that wait for the lock share a push. When two were made while this call waited for it, there is
 * nothing left to push: the second one began when the first had ended, and so read the totals after this call had come.
 * For that, all who share have to push to the same gateway and stage. The sampler does not: its push heals what it meets.
 *
 * Rejects when the lock cannot be had within the role's lock_timeout, when the totals cannot be read, when the push
 * fails, or when `limit` aborts or the connection (and with it the lock) is lost. No request of ours is open by then; what
 * the network or a frozen gateway holds back of one that was given up could still arrive. Rejects on a replica, which
 * knows nothing of the lock.
 *
 * The connection must be asked nothing else meanwhile: that would run inside this transaction.
 */
export async function publishTotals(
  database: Database,
  gateway: PushgatewayTarget,
  stage: string | undefined,
  limit: AbortSignal,
  { mayShare }: { mayShare: boolean },
): Promise<void> {
  const stop = AbortSignal.any([limit, database.lost]);
  const end = (statements: string) => within(database, stop, (sql) => sql.unsafe(statements));
  try {
    const results = await within(database, limit, (sql) => sql.unsafe(lockAndReadTotals));
    const [, [before], , [now], rows] = results as unknown as [unknown, [Pushes], unknown, [Pushes], TotalRow[]];
    if (mayShare && now.count - before.count >= 2) {
      await end("commit");
      return;
    }
    const totals = rows.map((row) => ({ ...row, value: Number(row.value) }));
    await push(gateway, { job: "veza_reconciler", stage }, await reconcilerRegistry(totals), stop);
    // An answer tells that the connection, and so the lock, was kept until now.
    await end(mayShare ? "select nextval('ledger_metrics.pushes'); commit" : "commit");
  } catch (error) {
    await end("rollback").catch(() => {}); // When that fails too, it is for the same reason, or a later one.
    throw error;
  }
}

/** How many pushes were made that others may share; none of them is under way any more. */
interface Pushes {
  count: number;
}

const maxPurged = 1_000;

interface TotalRow {
  name: string;
  labels: Record<string, string>;
  /** numeric, which postgres.js leaves as text. */
  value: string;
}

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
