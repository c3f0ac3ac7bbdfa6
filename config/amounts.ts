import { checks, rowsOf } from "../lib/checks.ts";

/** SQL: the owner's view of the money in the rows that each check counts, where its tables have these two columns. */
export function amountsView(): string {
  const selects = checks.map((check, index) => {
    const [name, currency, amount] =
      index === 0 ? [`::text as "check"`, "::text as currency", " as amount"] : ["", "", ""];
    const counted = rowsOf(check).replaceAll(/^(?=.{121})(.*) and (?=\w+ < now)/gm, "$1\n  and ");
    return `select '${check.id}'${name}, currency${currency}, amount_cents / 100.0${amount}\n${counted}`;
  });
  return `create or replace view ledger_metrics.amounts_at_risk as\n${selects.join("\nunion all\n")};`;
}
