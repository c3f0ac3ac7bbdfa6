import { type Family, family } from "./exposition.ts";
import type { Evidence } from "./question.ts";

// The money in the rows that the checks count, where the owner has said what it is: docs/amounts.md.

export const amountMetric = "veza_ledger_amount_at_risk";

export const amountFamily: Family = family(
  "gauge",
  amountMetric,
  "Money in the rows that the check counts, by the owner's view.",
);

export const amounts: Evidence = {
  of: "amounts",
  question: `
  select "check", currency, sum(amount) as amount from ledger_metrics.amounts_at_risk group by "check", currency`,
  seriesIn: ({ check, currency, amount }) => [[amountMetric, { check, currency }, amount]],
};
