-- One role for each function, with no more than it needs. Safe to run again; run it after schema.sql, in the ledger's
-- database, as a role that may create roles and owns the tables. The ledger's tables have to be on the search_path.
-- Passwords are not set here: use \password veza_ledger_sampler in psql, or let the secret's rotation set them.
--
-- The time-outs belong to the roles because poolers refuse them as start-up parameters. The sampler's five statements
-- run one after the other: five times 1.5 s have to fit into its 8 s.

begin;

do $$
begin
  if not exists (select from pg_roles where rolname = 'veza_ledger_sampler') then
    create role veza_ledger_sampler login connection limit 3;
  end if;
  if not exists (select from pg_roles where rolname = 'veza_ledger_receiver') then
    create role veza_ledger_receiver login connection limit 20;
  end if;
end
$$;

alter role veza_ledger_sampler set default_transaction_read_only = on;
alter role veza_ledger_sampler set statement_timeout = '1500ms';
alter role veza_ledger_sampler set lock_timeout = '500ms';
alter role veza_ledger_sampler set idle_in_transaction_session_timeout = '10s';

alter role veza_ledger_receiver set statement_timeout = '3s';
alter role veza_ledger_receiver set lock_timeout = '2s';
alter role veza_ledger_receiver set idle_in_transaction_session_timeout = '10s';
-- Under a stricter default of the database's, deliveries at the same time would fail each other.
alter role veza_ledger_receiver set default_transaction_isolation = 'read committed';
-- A receiver that AWS takes away leaves its two connections behind. Its connection limit has to be at least twice the
-- receiver's concurrency.
alter role veza_ledger_receiver set idle_session_timeout = '1min';

-- The sampler reads the columns that the checks name, and the totals.
grant select (status, hyperswitch_payment_id, created_at) on orders to veza_ledger_sampler;
grant select (status, hyperswitch_refund_id, created_at) on refunds to veza_ledger_sampler;
grant select (status, updated_at) on seller_transfers to veza_ledger_sampler;
grant usage on schema ledger_metrics to veza_ledger_sampler, veza_ledger_receiver;
grant select on ledger_metrics.samples to veza_ledger_sampler;
grant select on ledger_metrics.pushes to veza_ledger_sampler;

-- The receiver sees its own schema only. Deleting is for deliveries that are past their 14 days.
grant select, insert, update (attempts), delete on ledger_metrics.deliveries to veza_ledger_receiver;
grant select, insert, update (value) on ledger_metrics.samples to veza_ledger_receiver;
grant select, usage on ledger_metrics.pushes to veza_ledger_receiver;

commit;
