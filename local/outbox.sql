-- The outbox of clients/go/outbox.sql is in this database, so the sampler may count what waits there.

grant select on ledger_metrics_outbox to veza_ledger_sampler;
