import type { Sql } from "postgres";
import { type Database, transaction } from "./database.ts";
import { reconcilerMetric, reconcilerRegistry, type Sample } from "./events.ts";
import { type PushgatewayTarget, push } from "./pushgateway.ts";

/**
 * What became of a delivery: `recorded` now, a `duplicate` of one with the same body, or in `conflict` with one that
 * had another body. Only `recorded` has changed the totals.
 */
export type Recorded = "recorded" | "duplicate" | "conflict";

/**
 * Records a delivery and adds its samples to the totals, or does neither: one statement, so it is atomic without a
 * transaction. A delivery that is known already only has its attempts counted.
 *
 * The samples are added in one fixed order. In the order of arrival, two deliveries that change the same two series
 * could wait for each other: a deadlock.
 */
export async function recordDelivery(
  sql: Sql,
  delivery: { id: string; bodyDigest: string; samples: Sample[] },
): Promise<Recorded> {
  const [row] = await sql<{ body_digest: string; attempts: number }[]>`
    with delivery as (
      insert into ledger_metrics.deliveries as known (id, body_digest)
      values (${delivery.id}, ${delivery.bodyDigest})
      on conflict (id) do update set attempts = known.attempts + 1
      returning body_digest, attempts
    ), added as (
      insert into ledger_metrics.samples as total (name, labels, value)
      select sample.name, sample.labels, sample.value
      from delivery, jsonb_to_recordset(${delivery.samples as never}::jsonb)
        as sample (name text, labels jsonb, value numeric)
      where delivery.attempts = 1
      order by sample.name, sample.labels
      on conflict (name, labels) do update set value = case
        when total.name = ${reconcilerMetric.lastRun} then greatest(total.value, excluded.value)
        else total.value + excluded.value
      end
    )
    select body_digest, attempts from delivery`;
  if (row?.attempts === 1) return "recorded";
  return row?.body_digest === delivery.bodyDigest ? "duplicate" : "conflict";
}

/**
 * Reads the totals and puts them on the Pushgateway, under a lock that lets one publisher at a time do both: a push of
 * older totals after one of newer ones would look like a counter reset, and increase() would count everything again.
 *
 * Rejects when the lock cannot be had within the role's lock_timeout, when the totals cannot be read, when the push
 * fails, or when `limit` aborts or the connection (and with it the lock) is lost. No request of ours is open
 * by then; only bytes that the network holds back could still arrive.
 */
export async function publishTotals(
  database: Database,
  gateway: PushgatewayTarget,
  stage: string | undefined,
  limit: AbortSignal,
): Promise<void> {
  let pushing: Promise<void> | undefined;
  try {
    await transaction(database, limit, async (sql) => {
      // Sent together, run one after the other: the second statement sees all that was committed before the lock came.
      const [, rows] = await Promise.all([
        sql`select pg_advisory_xact_lock(hashtextextended('ledger_metrics.publish', 0))`,
        sql<{ name: string; labels: Record<string, string>; value: string }[]>`
          select name, labels, value from ledger_metrics.samples`,
      ]);
      const totals = rows.map(({ name, labels, value }) => ({ name, labels, value: Number(value) }));
      const registry = await reconcilerRegistry(totals);
      const stop = AbortSignal.any([limit, database.lost]);
      pushing = push(gateway, { job: "veza_reconciler", stage }, registry, stop);
      await pushing;
    });
  } finally {
    await pushing?.catch(() => {});
  }
}

/**
 * Forgets deliveries received over 14 days ago, at most 1,000 a call, the oldest first. Standard Webhooks' longest
 * schedule of retries ends after about three days, so no retry can come that late.
 */
export async function purgeDeliveries(sql: Sql): Promise<void> {
  await sql`
    delete from ledger_metrics.deliveries where id in (
      select id from ledger_metrics.deliveries
      where received_at < now() - interval '14 days'
      order by received_at limit 1000
      for update skip locked
    )`;
}
