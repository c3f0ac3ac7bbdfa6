// Random deliveries, how they are sent, and what they have to add up to.

import { setTimeout as sleep } from "node:timers/promises";
import type { Sql } from "postgres";
import { expect } from "vitest";
import { signedHeaders } from "../../commands/deliver.ts";
import { phases } from "../../lib/totals/events.ts";
import { startStopwatch } from "../helpers/stopwatch.ts";

/** Values by series, written as on the gateway. */
export type Totals = Record<string, number>;

export interface Delivery {
  id: string;
  size: number;
  adds: Totals;
  /** What became of each time it was sent. */
  answers: string[];
}

const isConfirmed = ({ answers }: Delivery) => answers.some((answer) => answer.startsWith("200"));

const lastRun = "veza_reconciler_last_run_timestamp";
const phaseLastRun = "veza_reconciler_phase_last_run_timestamp_seconds";
const sweep = "veza_reconciler_sweep_duration_seconds";
const bounds = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2];

/** What all of these have to add up to: worked out here once more, and not by the code under test. */
export function sumOf(parts: Totals[]): Totals {
  const totals: Totals = {};
  for (const [series, value] of parts.flatMap(Object.entries<number>)) {
    const before = totals[series] ?? 0;
    totals[series] = series.includes("_last_run_") ? Math.max(before, value) : before + value;
  }
  return totals;
}

/** 1 to 200 events. Durations are multiples of 1/4 s, so that their sums are exact. */
export function randomDelivery(id: string, random: () => number): { delivery: Delivery; body: string } {
  const parts: Totals[] = [];
  const events = Array.from({ length: 1 + Math.floor(random() * 200) }, () => {
    const seconds = Math.floor(Date.now() / 1000 - random() * 86_400);
    const timestamp = new Date(seconds * 1000).toISOString();
    const kind = random();
    if (kind < 0.4) {
      const phase = phases[Math.floor(random() * phases.length)];
      parts.push({ [`veza_reconciler_actions_total{phase="${phase}"}`]: 1 });
      return { type: "reconciler.action", timestamp, data: { phase } };
    }
    if (kind < 0.7) {
      parts.push({ veza_reconciler_orphan_refunds_total: 1 });
      return { type: "reconciler.orphan_refund", timestamp };
    }
    const duration = Math.floor(random() * 240) / 4;
    const reached = [...bounds.filter((bound) => duration <= bound), "+Inf"];
    parts.push(Object.fromEntries(reached.map((bound) => [`${sweep}_bucket{le="${bound}"}`, 1])));
    parts.push({ [`${sweep}_sum`]: duration, [`${sweep}_count`]: 1, [lastRun]: seconds });
    const phase = phases[Math.floor(random() * 2 * phases.length)]; // Of half of the sweeps.
    if (phase) parts.push({ [`${phaseLastRun}{phase="${phase}"}`]: seconds });
    return { type: "reconciler.sweep", timestamp, data: { duration_seconds: duration, ...(phase && { phase }) } };
  });
  return { delivery: { id, size: events.length, adds: sumOf(parts), answers: [] }, body: JSON.stringify(events) };
}

/**
 * Sends a delivery once, signed now, and adds the outcome to its answers. Resolves to how long that took. A sender
 * whose patience is under 20 s hangs up early, and never learns the outcome.
 */
export async function send(url: string, secret: string, { id, answers }: Delivery, body: string, patience = 20_000) {
  const stopwatch = startStopwatch();
  const headers = signedHeaders(secret, id, new Date(), body);
  try {
    const signal = AbortSignal.timeout(patience);
    const response = await fetch(url, { method: "POST", headers, body, signal });
    const { status = "not confirmed" } = JSON.parse((await response.text()) || "{}");
    answers.push(`${response.status} ${status}`);
  } catch (error) {
    const isLate = (error as Error).name === "TimeoutError";
    answers.push(isLate ? (patience < 20_000 ? "hung up" : "no answer") : "lost");
  }
  return stopwatch();
}

/** Sends until it is confirmed, or so often; sometimes twice at once, and sometimes once more afterwards. */
export async function sendUntilConfirmed(
  attempts: number,
  random: () => number,
  delivery: Delivery,
  sendOnce: (patience?: number) => Promise<void>,
): Promise<void> {
  for (let attempt = 0; attempt < attempts && !isConfirmed(delivery); attempt += 1) {
    // Backs off at random: that is what many senders look like together.
    if (attempt > 0) await sleep(random() * 200);
    const patience = random() < 0.05 ? Math.ceil(random() * 200) : undefined;
    await Promise.all([sendOnce(patience), random() < 0.1 && sendOnce()]);
  }
  if (random() < 0.2) await sendOnce();
}

/**
 * Confirmed deliveries are recorded, and the totals in Postgres are the sums of the recorded ones. Resolves to these
 * sums.
 */
export async function expectTheRecordedCounted(admin: Sql, deliveries: Delivery[]): Promise<Totals> {
  const recorded = new Set((await admin`select id from ledger_metrics.deliveries`).map(({ id }) => id));
  expect(deliveries.filter((delivery) => isConfirmed(delivery) && !recorded.has(delivery.id))).toEqual([]);
  const counted = deliveries.filter(({ id }) => recorded.has(id));
  expect(counted).toHaveLength(recorded.size);
  const expected = sumOf(counted.map(({ adds }) => adds));
  const rows = await admin`
    select name || coalesce((
      select '{' || key || '="' || label || '"}' from jsonb_each_text(labels) as pair (key, label)), '') as series,
      value::float8 from ledger_metrics.totals`;
  expect(Object.fromEntries(rows.map(({ series, value }) => [series, value]))).toEqual(expected);
  return expected;
}
