// The SQL of docs/amounts.md: the function and the view that the sampler reads money from.
import { checks, rowsOf } from "../lib/counts/checks.ts";
import { columnsOf, tables } from "./declared-rights.ts";

/**
 * SQL: has the sampler read the money in the rows that each check counts, where its tables have these two columns. The
 * function runs as a role that may read these columns and nothing else: whatever the application has put behind its
 * tables runs as nobody who may do more.
 */
export function amountsSql(): string {
  const money = ["amount_cents", "currency"];
  const selects = checks.map((check) => {
    const rows = rowsOf(check).replaceAll(" and ", "\n  and "); // Short lines, for the page.
    return `select '${check.id}', currency::text, amount_cents::numeric / 100.0\n${rows}`;
  });
  const grants = tables.map(
    (table) =>
      `grant select (${[...columnsOf(table), ...money].join(", ")}) on public.${table}\n  to veza_ledger_amounts;`,
  );
  return `begin;
set local search_path = pg_catalog, pg_temp;
do $$ begin
  if to_regrole('veza_ledger_amounts') is null then create role veza_ledger_amounts nologin; end if;
end $$;
grant veza_ledger_amounts to current_user;
grant usage on schema public to veza_ledger_amounts;
${grants.join("\n")}

create or replace function ledger_metrics.amounts() returns table ("check" text, currency text, amount numeric)
  language sql stable set search_path = pg_catalog, public, pg_temp as $$
${selects.join("\nunion all\n")}
$$;
grant usage, create on schema ledger_metrics to veza_ledger_amounts;
alter function ledger_metrics.amounts() owner to veza_ledger_amounts;
alter function ledger_metrics.amounts() security definer;
revoke create on schema ledger_metrics from veza_ledger_amounts;
create or replace view ledger_metrics.amounts_at_risk as select * from ledger_metrics.amounts();
commit;`;
}
