-- Takes roles.sql back: the grants in this database, then the roles. Run it before schema.rollback.sql, as the role
-- that ran roles.sql.

begin;

-- Revoking a right to a table revokes the right to its columns too.
revoke select on orders, refunds, seller_transfers from veza_ledger_sampler;
do $$
declare
  name text;
begin
  for name in
    select distinct nspname from pg_class join pg_namespace on pg_namespace.oid = relnamespace
    where pg_class.oid in (to_regclass('orders'), to_regclass('refunds'), to_regclass('seller_transfers'))
      and nspname <> 'public'
  loop
    execute format('revoke usage on schema %I from veza_ledger_sampler, veza_ledger_oncall', name);
  end loop;
end
$$;
revoke all on schema ledger_metrics from veza_ledger_sampler, veza_ledger_receiver;
revoke all on ledger_metrics.deliveries, ledger_metrics.totals, ledger_metrics.amounts_at_risk
  from veza_ledger_sampler, veza_ledger_receiver;
drop role if exists veza_ledger, veza_ledger_clone, veza_ledger_sampler_clone, veza_ledger_receiver_clone;
drop role veza_ledger_sampler, veza_ledger_receiver;

commit;

begin;

revoke select on orders, refunds, seller_transfers from veza_ledger_oncall;
revoke all on schema ledger_metrics from veza_ledger_oncall;
revoke all on ledger_metrics.deliveries, ledger_metrics.totals from veza_ledger_oncall;
drop role veza_ledger_oncall;

commit;
