-- The receiver's durable totals. Safe to run again, at any time: it changes nothing that is there already, and no
-- delivery has to wait for it. Run it as a role that may create schemas, with
-- `npm run migrate` or psql. roles.sql comes next. schema.rollback.sql takes all of it away again.

\set ON_ERROR_STOP on

begin;

-- Deliveries that come after this would wait as long as this does.
set local lock_timeout = '1s';

create schema if not exists ledger_metrics;

create table if not exists ledger_metrics.deliveries (
  id text primary key,
  digest text not null,
  words text not null,
  received_at timestamptz not null default now(),
  attempts integer not null default 1
);
comment on table ledger_metrics.deliveries is
  'One row per webhook-id that was recorded: a retry finds its id here and is not counted again. Kept for 14 days.';
comment on column ledger_metrics.deliveries.digest is
  'The SHA-256, in hexadecimal, of what the delivery added.';
comment on column ledger_metrics.deliveries.words is
  'What the delivery added, for people: a refusal of other events under this id says it.';
comment on column ledger_metrics.deliveries.attempts is
  'How often the delivery came; only its first attempt changed anything else.';

-- CREATE INDEX IF NOT EXISTS would lock the table against deliveries before it looks.
do $$
begin
  if to_regclass('ledger_metrics.deliveries_received_at') is null then
    create index deliveries_received_at on ledger_metrics.deliveries (received_at);
  end if;
end
$$;

create table if not exists ledger_metrics.totals (
  name text not null,
  labels jsonb not null default '{}',
  -- numeric, so that a total does not depend on the order in which fractions were added.
  value numeric not null,
  ahead numeric not null default 0,
  primary key (name, labels)
);
comment on table ledger_metrics.totals is
  'The totals: one row per exposed series, as Prometheus shows it. Series that are still 0 have no row.';
comment on column ledger_metrics.totals.ahead is
  'How far value is ahead of what was recorded, after a repaired loss or a correction. Deliveries fill that up first.';

-- Rows that a person has accepted until a day: the alerts leave them out, the gauges do not. The roles let people on call
-- insert the first four columns, and delete. So nobody on call can set when a row was accepted.
create table if not exists ledger_metrics.accepted (
  "check" text not null,
  id text not null,
  until timestamptz not null,
  why text not null check (why ~ '\S'),
  accepted_at timestamptz not null default now(),
  accepted_by text not null default session_user,
  primary key ("check", id, accepted_at),
  constraint at_most_14_days check (until <= accepted_at + interval '336 hours')
);
comment on table ledger_metrics.accepted is
  'Rows of the ledger that somebody knows of: no alert tells of them until a day, at most 14 days ahead.';
comment on column ledger_metrics.accepted.id is 'The row''s id in the table of the check, as text.';
-- Each acceptance names a check of this version. Those of a check that a later version drops stay until they run out.
do $$
declare
  -- generated: names of the checks
  names text[] := '{stuck_orders, stuck_refunds, failed_transfers, orphan_refunds, pending_reversals}';
  -- end of names of the checks
begin
  if names::text is distinct from (select obj_description(oid, 'pg_constraint') from pg_constraint
    where conrelid = 'ledger_metrics.accepted'::regclass and conname = 'known_check') then
    alter table ledger_metrics.accepted drop constraint if exists known_check;
    execute format('alter table ledger_metrics.accepted add constraint known_check check ("check" = any (%L)) not valid;
      comment on constraint known_check on ledger_metrics.accepted is %L', names, names);
  end if;
end
$$;

-- The money in the rows that the checks count, as far as you want it shown. Empty until you replace it:
-- docs/amounts.md.
do $$
begin
  if to_regclass('ledger_metrics.amounts_at_risk') is null then
    create view ledger_metrics.amounts_at_risk as
      select null::text as "check", null::text as currency, null::numeric as amount where false;
  end if;
end
$$;

commit;
