import { expose, keyOf, type Series, series } from "../gateway/exposition.ts";
import { reconcilerFamilies, reconcilerMetric, runs, zeros } from "./events.ts";

const { orphanRefunds, held: countersHeld, heldOrphans } = reconcilerMetric;

/** Looks up values by series; 0 for a series that is not among these. */
function valueIn(totals: Series[]): (wanted: Series) => number {
  const values = new Map(totals.map((total) => [keyOf(total), total.value]));
  return (wanted) => values.get(keyOf(wanted)) ?? 0;
}

/**
 * Returns the counters that are shown higher (`value`) than Postgres has them (`total`): it has lost what it had
 * committed, as after a failover. A last run may fall: a forged time would silence VezaLedgerReconcilerDead.
 */
export function heldCounters(totals: Series[], shown: Series[]): (Series & { total: number })[] {
  const totalOf = valueIn(totals);
  const shownOf = valueIn(shown);
  return zeros
    .filter(({ name }) => !runs.includes(name))
    .map((zero) => ({ ...zero, value: shownOf(zero), total: totalOf(zero) }))
    .filter(({ value, total }) => value > total);
}

/** How many counters these series are: those of a histogram are one. */
function countOf(held: Series[]): number {
  const names = held.map(({ name, labels: { le: _, ...labels } }) => {
    return keyOf({ name: name.replace(/_(bucket|sum|count)$/, ""), labels, value: 0 });
  });
  return new Set(names).size;
}

/**
 * The totals in Prometheus' text format. A counter in `held` keeps the value that the gateway shows. A series without a
 * total is 0, so that its first event shows. An orphan refund that comes while the counter of orphan refunds is held
 * does not raise that counter. The gauge `veza_reconciler_orphan_refunds_held` falls by one instead, and an alert
 * reads both.
 */
export function exposeTotals(totals: Series[], held: Series[] = []): Promise<string> {
  const totalOf = valueIn(totals);
  const shownOf = valueIn([...totals, ...held]); // Of two values for a series, the later counts.
  const all = zeros.map((zero) => ({ ...zero, value: shownOf(zero) }));
  const orphans = series(orphanRefunds, {}, 0);
  const gauges = [
    series(countersHeld, {}, countOf(held)),
    series(heldOrphans, {}, shownOf(orphans) - totalOf(orphans)),
  ];
  return expose(reconcilerFamilies, [...all, ...gauges]);
}
