import { type Family, family } from "../gateway/exposition.ts";
import type { Evidence } from "../postgres/question.ts";

// The money in the rows that the checks count, where the owner has said what it is: docs/amounts.md.

export const amountMetric = "veza_ledger_amount_at_risk";

export const amountFamily: Family = family(
  "gauge",
  amountMetric,
  "Money in the rows counted, by the owner's function.",
);

export const amounts: Evidence = {
  of: "amounts",
  // A label cannot be null: the gateway would refuse the push. 500 are 100 currencies in each of five checks.
  question: `
  select "check", coalesce(left(currency::text, 20), '') as currency, sum(amount) as amount
  from ledger_metrics.amounts_at_risk group by 1, 2 order by count(*) desc limit 500`,
  seriesIn: ({ check, currency, amount }) => [[amountMetric, { check, currency }, amount]],
};
