-- The reconciler's outbox: deliveries that wait, are parked, or were sent in the last 14 days, or under an id of one's
-- own in the last year. It is in the database of the repairs, so that both commit together, and in a schema of its own,
-- which belongs to who runs this. Safe to run again. Plain SQL, with no command of psql: a migration may run it,
-- without begin and commit if your tool has a transaction of its own.

begin;
-- Functions and operators that others have made in public are not looked for.
set local search_path = pg_catalog, pg_temp;
-- While this waits for its lock, repairs wait behind it. It fails instead; run it again.
set local lock_timeout = '5s';

-- Whoever owns the schema, or may create in it, may have code run with the rights of those who enqueue.
do $$ begin
  if to_regnamespace('ledger_outbox') is null then
    create schema ledger_outbox;
  end if;
  if not exists (
    select from pg_namespace join pg_roles on pg_roles.oid = nspowner
    where nspname = 'ledger_outbox' and rolname = current_user
      and not exists (select from aclexplode(nspacl) where privilege_type = 'CREATE' and grantee <> nspowner)
  ) then
    raise exception 'somebody else has made the schema ledger_outbox, or may create in it'
      using hint = '\dn+ ledger_outbox shows who. If that is you by another login, run this as that one.';
  end if;
end $$;

create table if not exists ledger_outbox.deliveries (
  id text primary key check (length(id) between 1 and 256 and id !~ '[^\x21-\x2d\x2f-\x7e]'),
  -- Text, to be read and corrected by hand; every attempt sends the same bytes.
  body text not null check (octet_length(body) <= 262144),
  created_at timestamptz not null default now(),
  attempts integer not null default 0,
  next_attempt_at timestamptz not null default now(),
  last_error text,
  parked_at timestamptz,
  claimed_until timestamptz,
  sent_at timestamptz,
  first_sent_at timestamptz,
  seq bigint not null generated always as identity
) with (fillfactor = 50); -- Room on each page for claimed versions of its rows: a claim needs no new index entry.

comment on table ledger_outbox.deliveries is
  'Reconciler events for veza-ledger-metrics. Waiting: sent_at and parked_at are null. '
  'Sent rows stay for 14 days, or for a year under an id of one''s own.';
comment on column ledger_outbox.deliveries.claimed_until is 'Not null: being sent. Due again from this time on.';
comment on column ledger_outbox.deliveries.sent_at is 'Not null: the receiver said then that it is counted.';
comment on column ledger_outbox.deliveries.first_sent_at is 'The first claim. Parked 13 days later, not sent.';
comment on column ledger_outbox.deliveries.parked_at is 'Not null: waits for a person; last_error says why.';
comment on column ledger_outbox.deliveries.seq is 'The order of the inserts, and of rows due together.';

-- What was never tried, the newest last; then what has failed, the least often failed first. The claims of send.go read
-- it forwards and backwards, so that none of them sorts: its columns are in their order.
create index if not exists deliveries_next on ledger_outbox.deliveries (attempts, next_attempt_at, seq)
  where sent_at is null and parked_at is null;
create index if not exists deliveries_parked on ledger_outbox.deliveries (parked_at)
  where parked_at is not null;
create index if not exists deliveries_sent on ledger_outbox.deliveries (sent_at)
  where sent_at is not null;
-- What purge.go deletes after 14 days, without the ids of one's own, which stay for a year.
create index if not exists deliveries_chance on ledger_outbox.deliveries (sent_at)
  where sent_at is not null and id ~ '^evt-[0-9a-f-]{32,36}$';

-- For alerts about deliveries that do not arrive. If veza-ledger-metrics is installed later, run this file again.
do $$ begin
  if to_regrole('veza_ledger_sampler') is not null and to_regrole('veza_ledger_oncall') is not null then
    grant usage on schema ledger_outbox to veza_ledger_sampler, veza_ledger_oncall;
    -- generated: outbox
    grant select (created_at, parked_at, sent_at)
      on ledger_outbox.deliveries to veza_ledger_sampler, veza_ledger_oncall;
    grant select (id, attempts, next_attempt_at, last_error, claimed_until)
      on ledger_outbox.deliveries to veza_ledger_oncall;
    -- end of outbox
  end if;
end $$;

-- For a migration that goes on in this transaction.
set local search_path to default;
commit;
