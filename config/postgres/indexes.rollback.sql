-- Written by `npm run generate`. Takes indexes.sql back, without blocking writes. The checks work, and read more.

drop index concurrently if exists veza_ledger_stuck_orders;
drop index concurrently if exists veza_ledger_stuck_refunds;
drop index concurrently if exists veza_ledger_failed_transfers;
drop index concurrently if exists veza_ledger_orphan_refunds;
drop index concurrently if exists veza_ledger_pending_reversals;
