-- The reconciler's outbox: deliveries that wait, are parked, or were sent in the last 14 days, or under an id of one's
-- own in the last year. It is in the database of the repairs, so that both commit together, and in the schema public.
-- Safe to run again. outbox.rollback.sql takes it away. Plain SQL, with no command of psql: a migration may run it,
-- without begin and commit if your tool has a transaction of its own.

begin;
-- Functions and operators that others have made in public are not looked for.
set local search_path = pg_catalog, pg_temp;
-- While this waits for its lock, repairs wait behind it. It fails instead; run it again.
set local lock_timeout = '5s';

create table if not exists public.ledger_metrics_outbox (
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

-- Whoever owns the table may have code run with the rights of those who enqueue.
do $$
declare
  owner constant oid := (select relowner from pg_class where oid = 'public.ledger_metrics_outbox'::regclass);
begin
  if owner <> current_user::regrole and not (select rolsuper from pg_roles where oid = owner) then
    raise exception 'public.ledger_metrics_outbox belongs to %, and not to who runs this', owner::regrole
      using hint = 'Run this as its owner. If it is not the reconciler''s, have it dropped first.';
  end if;
end $$;

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

-- For alerts about deliveries that do not arrive. veza-ledger-metrics' own installation grants the same, whichever of
-- the two comes first.
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

-- For a migration that goes on in this transaction.
set local search_path to default;
commit;
