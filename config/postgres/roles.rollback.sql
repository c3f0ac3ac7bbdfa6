-- Takes roles.sql back: the grants in this database, then the roles. Run it before schema.rollback.sql, as the role
-- that ran roles.sql.

\set ON_ERROR_STOP on

begin;

-- Where roles.sql found the ledger.
select set_config('search_path', substr(entry, length('search_path=') + 1), true)
from pg_db_role_setting, unnest(setconfig) as entry
where setrole = 'veza_ledger_sampler'::regrole and entry like 'search_path=%'
  and setdatabase in (0, (select oid from pg_database where datname = current_database()))
order by setdatabase desc limit 1;

-- Revoking a right to a table revokes the right to its columns too.
revoke select on orders, refunds, seller_transfers from veza_ledger_sampler, veza_ledger_oncall;
do $$
declare
  name text;
begin
  for name in
    select distinct relnamespace::regnamespace from pg_class
    where oid in (to_regclass('orders'), to_regclass('refunds'), to_regclass('seller_transfers'))
  loop
    execute format('revoke usage on schema %s from veza_ledger_sampler, veza_ledger_oncall', name);
  end loop;
  execute format('revoke connect on database %I from veza_ledger_sampler, veza_ledger_receiver, veza_ledger_oncall',
    current_database());
end
$$;
do $$
begin
  if to_regclass('ledger_metrics_outbox') is not null then
    revoke all on ledger_metrics_outbox from veza_ledger_sampler, veza_ledger_oncall;
  end if;
end
$$;
revoke all on schema ledger_metrics from veza_ledger_sampler, veza_ledger_receiver, veza_ledger_oncall;
revoke all on ledger_metrics.deliveries, ledger_metrics.totals, ledger_metrics.amounts_at_risk, ledger_metrics.accepted
  from veza_ledger_sampler, veza_ledger_receiver, veza_ledger_oncall;
revoke all on all sequences in schema ledger_metrics from veza_ledger_sampler, veza_ledger_receiver;
drop role if exists veza_ledger, veza_ledger_clone, veza_ledger_sampler_clone, veza_ledger_receiver_clone;
drop role veza_ledger_sampler, veza_ledger_receiver, veza_ledger_oncall;

commit;
