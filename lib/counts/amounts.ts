import { type Family, family } from "../gateway/exposition.ts";
import type { Evidence } from "../postgres/question.ts";

// The money in the rows that the checks count, where the owner has said what it is: docs/amounts.md.

export const amountMetric = "veza_ledger_amount_at_risk";

export const amountFamily: Family = family(
  "gauge",
  amountMetric,
  "Money in the rows counted, by the owner's function.",
);

/** 100 currencies in each of five checks. */
const maxAmounts = 500;

export const amounts: Evidence = {
  of: "amounts",
  // One row more than shows says that there are others. A label cannot be null: the gateway would refuse the push.
  question: `
  select "check", coalesce(left(currency::text, 20), '') as currency, sum(amount) as amount,
    row_number() over (order by count(*) desc) as place
  from ledger_metrics.amounts_at_risk group by 1, 2 order by place limit ${maxAmounts + 1}`,
  seriesIn: ({ check, currency, amount, place }) =>
    place > maxAmounts ? [] : [[amountMetric, { check, currency }, amount]],
  leftOut: (rows) =>
    rows.length > maxAmounts ? `over ${maxAmounts} amounts: those of the fewest rows are absent` : undefined,
};
