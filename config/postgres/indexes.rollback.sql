-- Written by `npm run generate`. Takes indexes.sql back, without blocking writes. The checks work, and read more.
--   psql -v schema=public -f config/postgres/indexes.rollback.sql postgres://...

drop index concurrently if exists :"schema".veza_ledger_stuck_orders;
drop index concurrently if exists :"schema".veza_ledger_stuck_refunds;
drop index concurrently if exists :"schema".veza_ledger_failed_transfers;
drop index concurrently if exists :"schema".veza_ledger_orphan_refunds;
drop index concurrently if exists :"schema".veza_ledger_pending_reversals;
