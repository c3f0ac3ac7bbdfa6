-- Takes schema.sql back. The totals and the record of what was counted are lost: after the next schema.sql every
-- counter starts at 0 again, and a delivery that is retried across this point is counted twice.

\set ON_ERROR_STOP on

drop schema if exists ledger_metrics cascade;
