import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type postgres from "postgres";
import { deliver } from "../commands/deliver.ts";
import { type Check, checks, stateOf } from "../lib/counts/checks.ts";
import { inSql } from "../lib/counts/interval.ts";
import { deadlineFor } from "../lib/deadline.ts";
import { fetchFailure } from "../lib/gateway/fetch-failure.ts";
import { errorFields } from "../lib/log.ts";
import { keepConnections } from "../lib/postgres/connections.ts";
import { withDeadline } from "../lib/postgres/database.ts";
import { parseDatabaseUrl } from "../lib/settings/settings.ts";
import type { phases, SentEvent } from "../lib/totals/events.ts";

type Phase = (typeof phases)[number];

/** The status that a repaired row has. */
const repairedStatus: Record<Phase, string> = {
  stuck_orders: "paid",
  stuck_refunds: "succeeded",
  orphan_refunds: "failed",
};

/** SQL: repairs the oldest row in the state that the phase's check watches. */
function repairOf(phase: Phase): string {
  const check = checks.find(({ id }) => id === phase) as Check;
  const { table, time } = check;
  return `update ${table} set status = '${repairedStatus[phase]}', updated_at = now() where id = (
    select id from ${table} where ${stateOf(check)} order by ${time} limit 1) returning id`;
}

/** New trouble, so that the demo never runs dry. */
const breakages: Record<Phase, string> = {
  stuck_orders: `insert into orders (status, hyperswitch_payment_id, created_at)
    values ('pending', 'demo_pay_' || gen_random_uuid(), ${justStuck("stuck_orders")})`,
  stuck_refunds: `insert into refunds (status, hyperswitch_refund_id, created_at)
    values ('pending', 'demo_ref_' || gen_random_uuid(), ${justStuck("stuck_refunds")})`,
  orphan_refunds: `insert into refunds (status, created_at) values ('pending', ${justStuck("orphan_refunds")})`,
};

/** SQL: a minute before the time from which on the phase's check does not count a row. */
function justStuck(phase: Phase): string {
  return `now() - ${inSql(checks.find(({ id }) => id === phase)?.stuckAfter)} - interval '1 minute'`;
}

/** A worker of reversals that does its work. */
const reversals = `update seller_transfers set status = 'reversed' where status = 'reversal_pending';
  insert into seller_transfers (status) values ('reversal_pending')`;

const sweepEverySeconds = 15;
/** The phase of orphan refunds has its turn every 5 hours: more than five of them in a day would be a page. */
const sweepsPerOrphan = 1_200;
const retryAfterMs = 3_000;

/**
 * Plays a reconciler on the demo ledger until `stop` aborts. Every 15 s it repairs a row of one phase, breaks another
 * row, and puts its events into the outbox, in one transaction. A sender posts what is in the outbox, the oldest
 * delivery first, and again under the same id until the receiver has confirmed it. It stands for the Go client, with
 * the same table, and leaves deliveries of others alone. Left out: several senders, parking, and purging.
 */
export async function simulateReconciler(
  adminUrl: string,
  receiverUrl: string,
  secret: string,
  warn: (message: string, fields: object) => void,
  stop: AbortSignal,
): Promise<void> {
  const target = parseDatabaseUrl(adminUrl);
  const connections = keepConnections("veza-demo-reconciler")(async () => target);
  const ask = <T>(work: (sql: postgres.Sql) => PromiseLike<T>) =>
    connections.use((database) => withDeadline(database, deadlineFor("Postgres", 5_000), work));
  const pause = (ms: number) => sleep(ms, true, { signal: stop }).catch(() => false);

  async function keepSweeping(): Promise<void> {
    for (let sweep = 1; await pause(sweepEverySeconds * 1000); sweep += 1) {
      const phase = sweep % sweepsPerOrphan === 0 ? "orphan_refunds" : sweep % 2 ? "stuck_orders" : "stuck_refunds";
      await ask((sql) => sql.begin((transaction) => simulateSweep(transaction, phase))).catch((error) =>
        warn("simulated sweep failed", errorFields(error)),
      );
    }
  }

  /** Claims a delivery, so that the Go example does not post it too, and posts it. Resolves to false without one. */
  async function sendOldest(): Promise<boolean> {
    const [due] = await ask(
      (sql) => sql`
      update ledger_outbox.deliveries set claimed_until = now() + interval '1 minute',
        first_sent_at = coalesce(first_sent_at, now())
      where id = (
        select id from ledger_outbox.deliveries
        where sent_at is null and parked_at is null and (claimed_until is null or claimed_until <= now())
          and id like 'demo\\_sweep\\_%'
        order by seq limit 1 for update skip locked
      ) returning id, body,
        (select count(*)::int from ledger_outbox.deliveries where sent_at is null and parked_at is null) as waiting`,
    );
    if (!due) return false;
    const { id, body, waiting } = due;
    const answer = await deliver(receiverUrl, secret, id, body).catch((error) => fetchFailure(error));
    if (typeof answer !== "string" && answer.status === 200) {
      await ask(
        (sql) => sql`update ledger_outbox.deliveries set sent_at = now(), claimed_until = null where id = ${id}`,
      );
      return true;
    }
    await ask((sql) => sql`update ledger_outbox.deliveries set claimed_until = null where id = ${id}`);
    const reason = typeof answer === "string" ? answer : `the receiver answered ${answer.status}`;
    warn(`${waiting} in the outbox`, { reason });
    await pause(retryAfterMs);
    return true;
  }

  async function keepSending(): Promise<void> {
    while (!stop.aborted) {
      const isBusy = await sendOldest().catch(async (error) => {
        warn("outbox not read", errorFields(error));
        await pause(retryAfterMs);
        return true;
      });
      if (!isBusy) await pause(1_000);
    }
  }

  await Promise.all([keepSweeping(), keepSending()]);
  await connections.closeFree();
}

/** Repairs one row, breaks another, and enqueues the events that a reconciler would post. */
async function simulateSweep(sql: postgres.TransactionSql, phase: Phase): Promise<void> {
  const startedAt = performance.now();
  const repaired = await sql.unsafe(repairOf(phase));
  const broken = phase === "orphan_refunds" ? phase : Math.random() < 0.5 ? "stuck_orders" : "stuck_refunds";
  await sql.unsafe(breakages[broken]);
  await sql.unsafe(reversals);
  const timestamp = new Date().toISOString();
  const seconds = Number(((performance.now() - startedAt) / 1000).toFixed(3));
  const actions = repaired.map((): SentEvent => ({ type: "reconciler.action", timestamp, data: { phase } }));
  const orphans = repaired.map((): SentEvent => ({ type: "reconciler.orphan_refund", timestamp }));
  const events: SentEvent[] = [
    ...actions,
    ...(phase === "orphan_refunds" ? orphans : []),
    { type: "reconciler.sweep", timestamp, data: { duration_seconds: seconds } },
  ];
  const id = `demo_sweep_${randomUUID().slice(0, 8)}`;
  await sql`insert into ledger_outbox.deliveries (id, body) values (${id}, ${JSON.stringify(events)})`;
}
