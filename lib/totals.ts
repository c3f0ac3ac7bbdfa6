import { hash } from "node:crypto";
import { setImmediate } from "node:timers/promises";
import type { Sql } from "postgres";
import { type Connections, type Database, withDeadline } from "./database.ts";
import { deadline, twice, withAnyOf } from "./deadline.ts";
import { exposeTotals, heldCounters, type Increment, reconcilerMetric, seriesKey, type Total } from "./events.ts";
import { comparePushTimeoutMs } from "./limits.ts";
import { log } from "./log.ts";
import { isRefusal, type PushgatewayTarget, push, readGroup } from "./pushgateway.ts";
import { Refusal } from "./refusal.ts";

/** What became of a delivery: `recorded` now, or a `duplicate` of a delivery that added the same. */
export type DeliveryStatus = "recorded" | "duplicate";

export interface Delivery {
  id: string;
  /** SHA-256 of the body in hexadecimal. An earlier version compared bodies, and its rows are there for 14 days. */
  bodyDigest: string;
  /** What it adds to the totals, a series at most once. */
  increments: Increment[];
}

/** Above 1, since each delivery adds one id. */
const maxPurged = 100;

/**
 * Records a delivery and adds its increments to the totals, or does neither: one statement, atomic without a
 * transaction. A replay counts as an attempt and changes nothing else. Throws a Refusal, 409, when the id is known for
 * other increments: these are lost, unless they are sent under another id.
 *
 * Increments are written in one fixed order: in the order of arrival, two deliveries could deadlock on the same two
 * rows.
 *
 * Also forgets up to 100 deliveries over 14 days old. Standard Webhooks' longest schedule of retries ends after about
 * three days, so no replay comes that late.
 */
export async function recordDelivery(sql: Sql, { id, bodyDigest, increments }: Delivery): Promise<DeliveryStatus> {
  const digest = digestOf(increments);
  // A literal, since parameters would cost another round trip. Nothing in base64 can end it.
  const literal = `'${Buffer.from(JSON.stringify({ id, digest, increments })).toString("base64")}'`;
  const [row] = await sql.unsafe<{ known: string; isNew: boolean }[]>(`
    with given as (
      select id, digest, increments
      from jsonb_to_record(convert_from(decode(${literal}, 'base64'), 'utf8')::jsonb)
        as delivery (id text, digest text, increments jsonb)
    ), written as (
      insert into ledger_metrics.deliveries as known (id, body_digest) select id, digest from given
      on conflict (id) do update set attempts = known.attempts + 1
      returning body_digest as known, attempts = 1 as "isNew"
    ), added as (
      insert into ledger_metrics.totals as total (name, labels, value)
      select increment.*
      from given, jsonb_to_recordset(increments) as increment (name text, labels jsonb, value numeric)
      where (select "isNew" from written)
      order by name, labels
      on conflict (name, labels) do update set ahead = greatest(0, total.ahead - excluded.value),
        value = case total.name
          when '${reconcilerMetric.lastRun}' then greatest(total.value, excluded.value)
          else total.value + greatest(0, excluded.value - total.ahead)
        end
    ), purged as (
      delete from ledger_metrics.deliveries where id in (
        select old.id from ledger_metrics.deliveries as old, given
        where received_at < now() - interval '14 days' and old.id <> given.id
        order by received_at limit ${maxPurged}
        for update of old skip locked
      )
    )
    select known, "isNew" from written`);
  if (!row) throw new Error("Postgres did not say whether it has recorded the delivery");
  if (row.isNew) return "recorded";
  if ([digest, bodyDigest].includes(row.known)) return "duplicate";
  throw new Refusal(409, `webhook-id: was recorded for other events: ${row.known} is counted, and ${digest} is not`);
}

/**
 * Identifies what a delivery adds, so that a body built anew with other timestamps is a replay. Leaves out the last
 * run, which depends on the time of receipt.
 */
function digestOf(increments: Increment[]): string {
  const sums = increments.filter(({ name }) => name !== reconcilerMetric.lastRun);
  const texts = sums.map(({ name, labels, value }) => JSON.stringify([name, labels, value]));
  return `sums:${hash("sha256", texts.sort().join())}`;
}

/** Key of the publishers' lock: two arbitrary numbers, the same for all publishers. */
export const lockKey = "1986361953, 1";

/**
 * The lock yields no row while another publisher waits for it. The totals are read after the lock was taken, and as
 * JSON: a role's extra_float_digits could round a float8, and its counter would be held.
 */
export const lockAndReadTotals = `
  begin isolation level read committed read write;
  select pg_advisory_xact_lock(${lockKey}) where not exists (
    select from pg_locks where locktype = 'advisory' and (classid, objid, objsubid) = (${lockKey}, 2) and not granted
      and database = (select oid from pg_database where datname = current_database()));
  select name, labels, to_jsonb(value) as value from ledger_metrics.totals`;

/** Turns of the event loop. Node notices after three that a connection has ended right behind an answer. */
const turnsToNoticeTheEnd = 5;

/**
 * Publishes the totals, including everything committed before this call. Resolves to true when this call has pushed,
 * and to false when it leaves that to a publisher that waits for the lock already, and so reads the totals later.
 *
 * No counter is pushed below what the gateway shows: increase() would count all of it again. What Postgres has lost is
 * held there until it was sent again, with a warning.
 *
 * The lock lets one publisher at a time read and push. A push of older totals after newer totals would be a fall, too.
 * A publisher that fails may still have pushed older totals: its push arrives late, or its process was stopped and lost
 * the session, and so the lock. So it publishes once more at once, unless the gateway refuses or `publishDeadline` has
 * aborted. Rejects as the second attempt does: the role's lock_timeout has passed, the totals cannot be read, page and
 * push fail or take over 1.5 s, or the connection is lost. Always rejects on a replica: its locks are its own.
 */
export function publishTotals(
  connections: Connections,
  gateway: PushgatewayTarget,
  stage: string | undefined,
  publishDeadline: AbortSignal,
): Promise<boolean> {
  const group = { job: "veza_reconciler", stage };
  const attempt = async (database: Database) => {
    const ask = (statements: string) => withDeadline(database, publishDeadline, (sql) => sql.unsafe(statements));
    try {
      const [, lock, totals] = (await ask(lockAndReadTotals)) as unknown as [unknown, unknown[], Total[]];
      const compareAndPush = async (signal: AbortSignal) => {
        const held = heldCounters(totals, (await readGroup(gateway, group, signal)).shown);
        const metrics = await exposeTotals(totals, held);
        for (let turn = 0; turn < turnsToNoticeTheEnd; turn += 1) await setImmediate();
        await push(gateway, group, metrics, signal);
        return held;
      };
      const signals = [publishDeadline, database.lost, deadline("the Pushgateway", comparePushTimeoutMs)];
      const held = lock.length > 0 ? await withAnyOf(signals, compareAndPush) : [];
      await ask("commit"); // An answer proves that the connection, and so the lock, was kept until now.
      const by = held.map(({ name, labels, value, total }) => [seriesKey(name, labels), value - total]);
      if (held.length > 0) log("warn", "counters held", { by: Object.fromEntries(by) });
      return lock.length > 0;
    } catch (error) {
      await ask("rollback").catch(() => {}); // Fails for the same reason, if at all.
      throw error;
    }
  };
  const isFinal = (error: unknown) => isRefusal(error) || publishDeadline.aborted;
  return twice(() => connections.use(attempt), isFinal);
}
