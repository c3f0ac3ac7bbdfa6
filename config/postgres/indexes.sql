-- Written by `npm run indexes` from lib/checks.ts: one partial index for each check, over the rows in its state. A
-- check then reads these rows and no others, however large the table is. Optional, safe to run again. As the owner:
--   psql "$DATABASE_URL" -f config/postgres/indexes.sql
-- CONCURRENTLY blocks no writes, and fails in a transaction. After an interruption, drop the invalid index and run it
-- again.

create index concurrently if not exists veza_ledger_stuck_orders on orders (created_at)
  where status = 'pending' and hyperswitch_payment_id <> '';
create index concurrently if not exists veza_ledger_stuck_refunds on refunds (created_at)
  where status = 'pending' and hyperswitch_refund_id <> '';
create index concurrently if not exists veza_ledger_failed_transfers on seller_transfers (updated_at)
  where status = 'permanently_failed';
create index concurrently if not exists veza_ledger_orphan_refunds on refunds (created_at)
  where status = 'pending' and (hyperswitch_refund_id is null or hyperswitch_refund_id = '');
create index concurrently if not exists veza_ledger_pending_reversals on seller_transfers (updated_at)
  where status = 'reversal_pending';
