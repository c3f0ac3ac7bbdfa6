-- The reconciler's outbox: deliveries that wait, are parked, or were sent in the last 14 days, or under an id of one's
-- own in the last year. It is in the database of the repairs, so that both commit together, and in the schema public,
-- whatever the search_path. Safe to run again, and over the table of an earlier version: run it before the new client
-- starts. outbox.rollback.sql takes it away again. Plain SQL, with no command of psql: a migration may run it, without
-- begin and commit if your tool has a transaction of its own.

begin;
-- While this waits for its lock, repairs wait behind it. It fails instead; run it again.
set local lock_timeout = '5s';

-- An earlier version made the table where the search_path said, and another table here would hide its deliveries.
do $$
declare
  elsewhere constant text := (
    select min(format('%I.%I', nspname, relname)) from pg_class join pg_namespace on pg_namespace.oid = relnamespace
    where relname = 'ledger_metrics_outbox' and relkind = 'r' and nspname <> 'public');
begin
  if elsewhere is not null and to_regclass('public.ledger_metrics_outbox') is null then
    raise exception 'the outbox is public.ledger_metrics_outbox, and an earlier version made %', elsewhere
      using hint = format('Stop the earlier client, and: alter table %s set schema public', elsewhere);
  end if;
end $$;

create table if not exists public.ledger_metrics_outbox (
  id text primary key check (length(id) between 1 and 256 and id !~ '[^\x21-\x2d\x2f-\x7e]'),
  -- Text, to be read and corrected by hand; every attempt sends the same bytes.
  body text not null check (octet_length(body) <= 262144),
  created_at timestamptz not null default now(),
  attempts integer not null default 0,
  next_attempt_at timestamptz not null default now(),
  last_error text,
  parked_at timestamptz
);
alter table public.ledger_metrics_outbox
  add column if not exists claimed_until timestamptz,
  add column if not exists sent_at timestamptz, add column if not exists first_sent_at timestamptz,
  add column if not exists seq bigint not null generated always as identity,
  add column if not exists digest text; -- Clients of before 0.2.0 fail without it.
-- Leaves room on each page for the claimed versions of its rows, so that claims need no new index entries.
alter table public.ledger_metrics_outbox set (fillfactor = 50);

comment on table public.ledger_metrics_outbox is
  'Reconciler events for veza-ledger-metrics. Waiting: sent_at and parked_at are null. '
  'Sent rows stay for 14 days, or for a year under an id of one''s own.';
comment on column public.ledger_metrics_outbox.claimed_until is 'Not null: being sent. Due again from this time on.';
comment on column public.ledger_metrics_outbox.sent_at is 'Not null: the receiver said then that it is counted.';
comment on column public.ledger_metrics_outbox.first_sent_at is 'The first claim. Parked 13 days later, not sent.';
comment on column public.ledger_metrics_outbox.parked_at is 'Not null: waits for a person; last_error says why.';
comment on column public.ledger_metrics_outbox.seq is 'The order of the inserts, and of rows due together.';
-- What was never tried, the newest last; then what has failed, the least often failed first. The claims of send.go read
-- it forwards and backwards, so that none of them sorts: its columns are in their order.
create index if not exists ledger_metrics_outbox_next on public.ledger_metrics_outbox (attempts, next_attempt_at, seq)
  where sent_at is null and parked_at is null;
create index if not exists ledger_metrics_outbox_parked on public.ledger_metrics_outbox (parked_at)
  where parked_at is not null;
create index if not exists ledger_metrics_outbox_sent on public.ledger_metrics_outbox (sent_at)
  where sent_at is not null;
-- What purge.go deletes after 14 days, without the ids of one's own, which stay for a year.
create index if not exists ledger_metrics_outbox_chance on public.ledger_metrics_outbox (sent_at)
  where sent_at is not null and id ~ '^evt-[0-9a-f-]{32,36}$';
-- Earlier versions'.
drop index if exists public.ledger_metrics_outbox_due, public.ledger_metrics_outbox_waiting;

-- For alerts about deliveries that do not arrive: the rights that config/postgres/roles.sql gives, whichever of the two
-- files runs first.
do $$ begin
  if to_regrole('veza_ledger_sampler') is not null and to_regrole('veza_ledger_oncall') is not null then
    if not has_schema_privilege('veza_ledger_sampler', 'public', 'usage') then
      grant usage on schema public to veza_ledger_sampler, veza_ledger_oncall;
    end if;
    -- generated: outbox
    grant select (created_at, parked_at, sent_at)
      on public.ledger_metrics_outbox to veza_ledger_sampler, veza_ledger_oncall;
    grant select (id, attempts, next_attempt_at, last_error, claimed_until)
      on public.ledger_metrics_outbox to veza_ledger_oncall;
    -- end of outbox
  end if;
end $$;

-- The sampler reads the outbox only of who could as well change the ledger. The ledger is not in every database: this
-- guesses where it is by the names of its tables, in any schema. It says nothing where there is none of them, or where
-- the outbox's owner has a table of such a name for another purpose.
do $$
declare
  maker constant oid := (select relowner from pg_class where oid = 'public.ledger_metrics_outbox'::regclass);
  ledger constant text[] := array[
    -- generated: names
    'orders', 'refunds', 'seller_transfers'
    -- end of names
  ];
begin
  raise notice 'public.ledger_metrics_outbox is in the database %, and belongs to %',
    current_database(), pg_get_userbyid(maker);
  if to_regrole('veza_ledger_sampler') is not null
    and not (select rolsuper from pg_roles where oid = maker)
    and maker <> (select datdba from pg_database where datname = current_database())
    and not (select coalesce(bool_or(relowner = maker), true) from pg_class
      where relname = any (ledger) and relkind in ('r', 'p', 'v', 'm', 'f'))
  then
    raise warning 'the sampler does not read public.ledger_metrics_outbox: % owns no table of the ledger',
      pg_get_userbyid(maker)
      using hint = format('put the owner of the ledger''s tables in place of OWNER: '
        'begin; alter table public.ledger_metrics_outbox owner to OWNER; '
        'grant select, insert, update, delete on public.ledger_metrics_outbox to %I; commit', pg_get_userbyid(maker));
  end if;
end $$;

commit;
