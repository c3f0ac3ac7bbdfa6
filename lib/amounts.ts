import { type Family, family } from "./exposition.ts";
import { log } from "./log.ts";
import type { Evidence } from "./question.ts";

// The money in the rows that the checks count, where the owner has said what it is: docs/amounts.md.

export const amountMetric = "veza_ledger_amount_at_risk";

export const amountFamily: Family = family(
  "gauge",
  amountMetric,
  "Money in the rows that the check counts, by the owner's view.",
);

const maxCurrencies = 100;
const reason = `over ${maxCurrencies} currencies: the amounts of the others are absent`;

/** The currencies with the most rows. One more row, without an amount, says that there are others. */
export const amounts: Evidence = {
  of: "amounts",
  question: `
  with sums as (
    select "check", currency, sum(amount) as amount, sum(count(*)) over (partition by currency) as of_currency
    from (select "check", left(currency::text, 20) as currency, amount from ledger_metrics.amounts_at_risk) as rows
    group by "check", currency
  ), placed as (select sums.*, dense_rank() over (order by of_currency desc, currency) as place from sums)
  select "check", currency, amount, false as is_cut from placed where place <= ${maxCurrencies}
  union all select null, null, null, true where exists (select from placed where place > ${maxCurrencies})`,
  seriesIn: ({ check, currency, amount, is_cut }) => {
    if (is_cut) log("warn", "evidence not read", { of: "amounts", reason });
    return [[amountMetric, { check, currency }, amount]];
  },
};
