import { acceptedFamilies, measureAccepted } from "./accepted.ts";
import { type Family, family, type Series } from "./exposition.ts";
import { type Ask, measure } from "./question.ts";

// What relations tell that a ledger may have: the money at risk, the rows that a person has accepted, the outbox.

export const optionalMetric = {
  amount: "veza_ledger_amount_at_risk",
  outboxRows: "veza_ledger_outbox_rows",
  outboxOldest: "veza_ledger_outbox_oldest_timestamp_seconds",
} as const;
const { amount, outboxRows, outboxOldest } = optionalMetric;

export const optionalFamilies: Family[] = [
  ...acceptedFamilies,
  family("gauge", amount, "Money in the rows that the check counts, by the owner's view."),
  family("gauge", outboxRows, "Deliveries in the reconciler's outbox that are waiting or parked."),
  family("gauge", outboxOldest, "Unix time of the oldest waiting delivery; 0 when none is waiting."),
];

/** The optional relations that this session can read. `askWitness` tells. */
export type Optional = Record<"hasAmounts" | "hasAccepted" | "hasOutbox", boolean>;

const amounts = `
  select '${amount}' as name, jsonb_build_object('check', "check", 'currency', currency) as labels, sum(amount) as value
  from ledger_metrics.amounts_at_risk group by "check", currency`;

const outbox = `
  select '${outboxRows}' as name, '{"state": "parked"}'::jsonb as labels, count(*)::numeric as value
  from ledger_metrics_outbox where parked_at is not null
  union all select '${outboxRows}', '{"state": "waiting"}', count(*)
  from ledger_metrics_outbox where parked_at is null and sent_at is null
  union all select '${outboxOldest}', '{}', coalesce(extract(epoch from min(created_at)), 0)
  from ledger_metrics_outbox where parked_at is null and sent_at is null`;

/** Asks, in the counts' round trip, what these relations say. Never rejects: what cannot be measured is absent. */
export async function measureOptional(ask: Ask, { hasAmounts, hasAccepted, hasOutbox }: Optional): Promise<Series[]> {
  const questions = [...(hasAmounts ? [amounts] : []), ...(hasOutbox ? [outbox] : [])];
  return (await Promise.all([measure(ask, questions), hasAccepted ? measureAccepted(ask) : []])).flat();
}
