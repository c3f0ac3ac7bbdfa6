import { columnsOf, tables } from "../commands/declared-rights.ts";
import { checks, rowsOf } from "../lib/counts/checks.ts";

const selects = checks.map(
  (check) => `select '${check.id}', currency::text, amount_cents::numeric / 100.0\n${rowsOf(check)}`,
);
const grants = tables.map((table) => {
  const columns = [...columnsOf(table), "amount_cents", "currency"].join(", ");
  return `grant select (${columns}) on public.${table}\n  to veza_ledger_amounts;`;
});

/** config/postgres/amounts.sql: the function and the view that the sampler reads money from. */
export const amounts = `\
-- Written by \`npm run generate\` from lib/counts/checks.ts: the money in the rows that each check counts. Optional.
-- docs/amounts.md says what to change in a copy of this file. As the login that ran install.sql:
--   psql -f YOUR_COPY.sql postgres://...
-- It may be run again. The function runs as a role that may read these columns and nothing else: whatever the
-- application has put behind its tables runs as nobody who may do more.

\\set ON_ERROR_STOP on

begin;
set local search_path = pg_catalog, pg_temp;
set local standard_conforming_strings = on;
do $$ begin
  if to_regrole('veza_ledger_amounts') is null then
    create role veza_ledger_amounts nologin;
    comment on role veza_ledger_amounts is 'a login of veza-ledger-metrics';
  end if;
  if shobj_description(to_regrole('veza_ledger_amounts'), 'pg_authid')
      is distinct from 'a login of veza-ledger-metrics' then
    raise exception 'not a login of veza-ledger-metrics, by its comment: veza_ledger_amounts'
      using hint = 'Rename it. If it is one: comment on role ... is ''a login of veza-ledger-metrics''';
  end if;
end $$;
grant veza_ledger_amounts to current_user;
grant usage on schema public to veza_ledger_amounts;
${grants.join("\n")}

create or replace function ledger_metrics.amounts() returns table ("check" text, currency text, amount numeric)
  language sql stable set search_path = pg_catalog, pg_temp as $$
${selects.join("\nunion all\n").replaceAll("ledger.", "public.").replaceAll(" and ", "\n  and ")}
$$;
grant usage, create on schema ledger_metrics to veza_ledger_amounts;
alter function ledger_metrics.amounts() owner to veza_ledger_amounts;
alter function ledger_metrics.amounts() security definer;
revoke create on schema ledger_metrics from veza_ledger_amounts;
create or replace view ledger_metrics.amounts_at_risk as select * from ledger_metrics.amounts();
commit;
`;
