-- One partial index for each check, so that it reads the rows that it counts and no others, however large the tables are.
-- Optional, and safe to run again. CONCURRENTLY does not block writes, and may not run in a transaction: use
--   psql "$DATABASE_URL" -f config/postgres/indexes.sql
-- as the owner of the tables. When it is interrupted, drop the index that is left invalid and run it again.

create index concurrently if not exists veza_ledger_stuck_orders on orders (created_at)
  where status = 'pending' and hyperswitch_payment_id <> '';
create index concurrently if not exists veza_ledger_stuck_refunds on refunds (created_at)
  where status = 'pending' and hyperswitch_refund_id <> '';
create index concurrently if not exists veza_ledger_orphan_refunds on refunds (created_at)
  where status = 'pending' and (hyperswitch_refund_id is null or hyperswitch_refund_id = '');
create index concurrently if not exists veza_ledger_failed_transfers on seller_transfers (updated_at)
  where status = 'permanently_failed';
create index concurrently if not exists veza_ledger_pending_reversals on seller_transfers (updated_at)
  where status = 'reversal_pending';
