-- Takes outbox.sql back. Deliveries that are still in it are lost: look before.

drop table if exists ledger_metrics_outbox;
