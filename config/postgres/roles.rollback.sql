-- Takes roles.sql back: the grants in this database, then the roles. Run it before schema.rollback.sql, as whoever ran
-- roles.sql.

begin;

revoke select (status, hyperswitch_payment_id, created_at) on orders from veza_ledger_sampler;
revoke select (status, hyperswitch_refund_id, created_at) on refunds from veza_ledger_sampler;
revoke select (status, updated_at) on seller_transfers from veza_ledger_sampler;
revoke all on schema ledger_metrics from veza_ledger_sampler, veza_ledger_receiver;
revoke all on ledger_metrics.deliveries, ledger_metrics.samples, ledger_metrics.pushes
  from veza_ledger_sampler, veza_ledger_receiver;
drop role if exists veza_ledger, veza_ledger_clone, veza_ledger_sampler_clone, veza_ledger_receiver_clone;
drop role veza_ledger_sampler, veza_ledger_receiver;

commit;
