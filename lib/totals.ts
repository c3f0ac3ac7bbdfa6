import { reconcilerMetric, zeros } from "./events.ts";
import { expose, type Family, family, keyOf, type Series, series } from "./exposition.ts";

const { actions, orphanRefunds, sweepDuration, lastRun, held: countersHeld } = reconcilerMetric;

/** The exposed metrics, in the order of exposition. */
export const reconcilerFamilies: Family[] = [
  family("counter", actions, "Rows that the reconciler repaired, by phase of its sweep."),
  family("counter", orphanRefunds, "Orphan refunds that the reconciler marked as failed."),
  family("histogram", sweepDuration, "Duration of a sweep of the reconciler, in seconds."),
  family("gauge", lastRun, "Unix time at which the reconciler's latest sweep ended; 0 before the first."),
  family("gauge", countersHeld, "Series held at what the gateway showed, since Postgres has lost events; 0 otherwise."),
];

/** Looks up values by series; 0 for a series that is not among these. */
function valueIn(totals: Series[]): (wanted: Series) => number {
  const values = new Map(totals.map((total) => [keyOf(total), total.value]));
  return (wanted) => values.get(keyOf(wanted)) ?? 0;
}

/**
 * Returns the counters that are shown higher (`value`) than Postgres has them (`total`): it has lost what it had
 * committed, as after a failover. The last run may fall: a forged time would silence VezaLedgerReconcilerDead.
 */
export function heldCounters(totals: Series[], shown: Series[]): (Series & { total: number })[] {
  const [totalOf, shownOf] = [valueIn(totals), valueIn(shown)];
  return zeros
    .filter(({ name }) => name !== lastRun)
    .map((zero) => ({ ...zero, value: shownOf(zero), total: totalOf(zero) }))
    .filter(({ value, total }) => value > total);
}

/** The totals in Prometheus' text format, held or not. A series without a total is 0, so that its first event shows. */
export function exposeTotals(totals: Series[], held: Series[] = []): Promise<string> {
  const valueAt = valueIn([...totals, ...held]);
  const all = zeros.map((zero) => ({ ...zero, value: valueAt(zero) }));
  return expose(reconcilerFamilies, [...all, series(countersHeld, {}, held.length)]);
}
