-- The login of the reconcilers that people start beside the demo's own, such as the Go client's example.
create role demo_reconciler login password 'local';
grant select, update on orders to demo_reconciler;
grant usage on schema ledger_outbox to demo_reconciler;
grant select, insert, update, delete on ledger_outbox.deliveries to demo_reconciler;
