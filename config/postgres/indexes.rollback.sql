-- Written by `npm run generate`. Takes indexes.sql back, without blocking writes, except on a partitioned table. The
-- checks work, and read more.

\set ON_ERROR_STOP on

select format('drop index %s%I.%I', case relkind when 'i' then 'concurrently ' end, nspname, relname)
from pg_class join pg_namespace on pg_namespace.oid = relnamespace
where relkind in ('i', 'I') and not relispartition and relname ~ '^veza_ledger_' \gexec
