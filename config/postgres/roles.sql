-- A role for each function with no more than it needs, and veza_ledger for both where they share a login. Safe to run
-- again. Run it after schema.sql, in the ledger's database, as a role that may create roles and owns the tables, with
-- the ledger's tables on the search_path. It sets no passwords: use \password veza_ledger_sampler in psql, or let the
-- secret's rotation set them.
--
-- Rotation with alternating users makes a second login, veza_ledger_sampler_clone or veza_ledger_receiver_clone. It
-- inherits the grants and none of the settings: run this again after the first rotation.
--
-- The time-outs belong to the roles because poolers refuse them as start-up parameters. The sampler's statements run
-- one after the other: statement_timeout times their number fits into the sampler's 8 s for Postgres.

begin;

do $$
declare
  login text;
  setting text;
  value text;
begin
  if not exists (select from pg_roles where rolname = 'veza_ledger_sampler') then
    create role veza_ledger_sampler login connection limit 3;
  end if;
  if not exists (select from pg_roles where rolname = 'veza_ledger_receiver') then
    create role veza_ledger_receiver login connection limit 20;
  end if;
  if not exists (select from pg_roles where rolname = 'veza_ledger') then
    create role veza_ledger login connection limit 23 in role veza_ledger_sampler, veza_ledger_receiver;
  end if;

  if not exists (select from pg_roles where rolname = 'veza_ledger_oncall') then
    create role veza_ledger_oncall login connection limit 10;
  end if;

  for login, setting, value in
    select rolname, given.setting, given.value
    from (values
      ('veza_ledger_sampler', 'default_transaction_read_only', 'on'),
      ('veza_ledger_sampler', 'synchronous_commit', 'on'),
      ('veza_ledger_sampler', 'default_transaction_isolation', 'read committed'),
      ('veza_ledger_sampler', 'statement_timeout', '1500ms'),
      ('veza_ledger_sampler', 'lock_timeout', '500ms'),
      ('veza_ledger_sampler', 'idle_in_transaction_session_timeout', '10s'),
      -- A policy that hides rows makes a count fail. Otherwise it would be too small, and nobody would know.
      ('veza_ledger_sampler', 'row_security', 'off'),
      -- For times without a zone. Go writes them in its process's zone, and in a container that is UTC. The server's
      -- default is the zone of the host on which it was set up.
      ('veza_ledger_sampler', 'timezone', 'UTC'),

      -- A delivery is answered when it is on the disk, whatever the database's default is.
      ('veza_ledger_receiver', 'synchronous_commit', 'on'),
      -- Under a stricter default of the database's, deliveries at the same time would fail each other.
      ('veza_ledger_receiver', 'default_transaction_isolation', 'read committed'),
      ('veza_ledger_receiver', 'statement_timeout', '3s'),
      ('veza_ledger_receiver', 'lock_timeout', '2s'),
      ('veza_ledger_receiver', 'idle_in_transaction_session_timeout', '10s'),
      -- A receiver that AWS takes away leaves its connection behind. The role's connection limit is well above the receiver's
      -- concurrency.
      ('veza_ledger_receiver', 'idle_session_timeout', '1min'),

      -- For both functions in one process: what either of the two needs, and the shorter of the time-outs.
      ('veza_ledger', 'synchronous_commit', 'on'),
      ('veza_ledger', 'default_transaction_isolation', 'read committed'),
      ('veza_ledger', 'statement_timeout', '1500ms'),
      ('veza_ledger', 'lock_timeout', '500ms'),
      ('veza_ledger', 'idle_in_transaction_session_timeout', '10s'),
      ('veza_ledger', 'idle_session_timeout', '1min'),
      ('veza_ledger', 'row_security', 'off'),
      ('veza_ledger', 'timezone', 'UTC')
    ) as given (role, setting, value)
    join pg_roles on rolname in (given.role, given.role || '_clone')
    -- A zone that somebody has chosen stays.
    where not (given.setting = 'timezone' and exists (
      select from pg_db_role_setting, unnest(setconfig) as chosen where setrole = pg_roles.oid and chosen ilike 'timezone=%'))
  loop
    execute format('alter role %I set %I = %L', login, setting, value);
  end loop;
end
$$;

-- The sampler and people on call read the ledger, and so may use its schema. Everybody may use the schema public.
do $$
declare
  name text;
begin
  for name in
    select distinct nspname from pg_class join pg_namespace on pg_namespace.oid = relnamespace
    where pg_class.oid in (to_regclass('orders'), to_regclass('refunds'), to_regclass('seller_transfers'))
      and nspname <> 'public'
  loop
    execute format('grant usage on schema %I to veza_ledger_sampler, veza_ledger_oncall', name);
  end loop;
end
$$;

-- The sampler reads the columns that the checks need, and the totals.
grant select (status, hyperswitch_payment_id, created_at) on orders to veza_ledger_sampler;
grant select (status, hyperswitch_refund_id, created_at) on refunds to veza_ledger_sampler;
grant select (status, updated_at) on seller_transfers to veza_ledger_sampler;
grant usage on schema ledger_metrics to veza_ledger_sampler, veza_ledger_receiver;
grant select on ledger_metrics.totals to veza_ledger_sampler;
grant select on ledger_metrics.amounts_at_risk to veza_ledger_sampler;

-- The receiver sees its own schema only. Deleting is for deliveries that are past their 14 days.
grant select, insert, update (attempts), delete on ledger_metrics.deliveries to veza_ledger_receiver;
grant select, insert, update (value) on ledger_metrics.totals to veza_ledger_receiver;

commit;

-- For people: what the runbook's queries read, and no more. \password veza_ledger_oncall gives it a password.
-- A person's own login can have its rights too, by `grant veza_ledger_oncall to alice`, but then not its time-outs.
-- In a transaction of its own: a ledger without one of these columns still gets the functions' roles. Then change the
-- column here and in the runbook. Add the columns in which your schema keeps amounts and error texts.
begin;

alter role veza_ledger_oncall set default_transaction_read_only = on;
alter role veza_ledger_oncall set statement_timeout = '10s';
alter role veza_ledger_oncall set lock_timeout = '2s';
alter role veza_ledger_oncall set idle_in_transaction_session_timeout = '1min';
-- A row that a policy hides is an error, and not one row less; times without a zone are read in the sampler's.
alter role veza_ledger_oncall set row_security = off;
alter role veza_ledger_oncall set timezone = 'UTC';

grant select (id, status, hyperswitch_payment_id, created_at, updated_at) on orders to veza_ledger_oncall;
grant select (id, status, hyperswitch_refund_id, created_at, updated_at) on refunds to veza_ledger_oncall;
grant select (id, status, created_at, updated_at) on seller_transfers to veza_ledger_oncall;
grant usage on schema ledger_metrics to veza_ledger_oncall;
grant select on ledger_metrics.deliveries, ledger_metrics.totals to veza_ledger_oncall;

-- To see who holds a lock. Not every owner may give it; without it, the lock shows and its owner's query does not.
do $$
begin
  grant pg_read_all_stats to veza_ledger_oncall;
exception
  when insufficient_privilege then raise notice 'veza_ledger_oncall will not see the queries of others';
end
$$;

commit;
