-- Over clients/go/outbox.sql: the sampler counts what waits there. Its queries also know the column of sent deliveries.

alter table ledger_metrics_outbox add column if not exists sent_at timestamptz;
grant select on ledger_metrics_outbox to veza_ledger_sampler;
