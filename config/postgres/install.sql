-- Makes the schema ledger_metrics, the logins and their rights, in the ledger's database. An administrator runs it
-- (docs/settings.md says who may), and again after each upgrade: it makes what is not there.
--
--   psql -v schema=public -v timezone=UTC -f config/postgres/install.sql postgres://...
--
-- -v schema     the sampler's LEDGER_SCHEMA: where the ledger's tables are, or views with their names
-- -v timezone   the sampler's LEDGER_TIMEZONE
-- -v iam=yes    on RDS and Aurora: the functions log in with IAM, and no longer with a password. This holds for these
--               logins in every database of the server
--
-- It is one transaction: if a statement fails, nothing is changed. No function of the application runs, and no row of
-- it is read. uninstall.sql takes all of it back.

\set ON_ERROR_STOP on

-- These two are given each time: a default would let a later run look in another schema, or read another zone.
\if :{?schema}
\else
  do $$ begin raise exception 'psql needs -v schema=..., the sampler''s LEDGER_SCHEMA, such as public'; end $$;
\endif
\if :{?timezone}
\else
  do $$ begin raise exception 'psql needs -v timezone=..., the sampler''s LEDGER_TIMEZONE, such as UTC'; end $$;
\endif
\if :{?iam}
\else
  \set iam no
\endif

begin isolation level read committed, read write;
set local search_path = pg_catalog, pg_temp; -- So each name of the application is written in full.
set local standard_conforming_strings = on;
set local statement_timeout = '1min';
set local lock_timeout = '2s';
set local idle_in_transaction_session_timeout = '10s'; -- A psql that is cut off leaves no lock behind.
set local client_min_messages = warning;
set local ledger_metrics.schema = :'schema'; -- For blocks between $$, where psql fills in nothing.

\ir schema.sql
\ir roles.sql
\ir rows.sql

commit;

\echo 'Installed: the schema ledger_metrics, the logins and their rights.'
\echo 'What was stuck before the first run fires no alert for 14 days. veza_ledger_oncall sees these rows by'
\echo '  select * from ledger_metrics.stuck_orders() where not fires;'
