-- Written by `npm run generate` from lib/counts/checks.ts: one partial index for each check, over the rows in its
-- state. A check then reads these rows and no others, however large the table is. Optional, safe to run again. As the
-- owner of the tables:
--   psql -v schema=public -f config/postgres/indexes.sql postgres://...
-- CONCURRENTLY blocks no writes, and fails in a transaction. After an interruption, drop the invalid index and run this
-- again. A partitioned table needs the statement without CONCURRENTLY: writes wait while its index is built. What is
-- below a view needs an index in its own columns. If a check's condition has changed, run indexes.rollback.sql first.

create index concurrently if not exists veza_ledger_stuck_orders on :"schema".orders (created_at)
  where status operator(pg_catalog.=) 'pending'
  and hyperswitch_payment_id operator(pg_catalog.<>) '';

create index concurrently if not exists veza_ledger_stuck_refunds on :"schema".refunds (created_at)
  where status operator(pg_catalog.=) 'pending'
  and hyperswitch_refund_id operator(pg_catalog.<>) '';

create index concurrently if not exists veza_ledger_failed_transfers on :"schema".seller_transfers (updated_at)
  where status operator(pg_catalog.=) 'permanently_failed';

create index concurrently if not exists veza_ledger_orphan_refunds on :"schema".refunds (created_at)
  where status operator(pg_catalog.=) 'pending'
  and (hyperswitch_refund_id is null or hyperswitch_refund_id operator(pg_catalog.=) '');

create index concurrently if not exists veza_ledger_pending_reversals on :"schema".seller_transfers (updated_at)
  where status operator(pg_catalog.=) 'reversal_pending';
