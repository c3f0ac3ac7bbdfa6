-- The outbox of clients/go/outbox.sql is in this database. The sampler counts what waits there, and people on call look.

grant select on ledger_metrics_outbox to veza_ledger_sampler, veza_ledger_oncall;
