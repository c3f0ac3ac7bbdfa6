-- The reconciler's outbox: deliveries that are not confirmed yet. In the database of the repairs, so that both commit
-- together. Safe to run again. outbox.rollback.sql takes it away again.

begin;

create table if not exists ledger_metrics_outbox (
  id text primary key check (length(id) between 1 and 256 and id !~ '[^\x21-\x2d\x2f-\x7e]'),
  -- Text, to be read and mended by hand; every attempt sends the same bytes.
  body text not null check (octet_length(body) <= 262144),
  created_at timestamptz not null default now(),
  attempts integer not null default 0,
  next_attempt_at timestamptz not null default now(),
  last_error text,
  parked_at timestamptz
);
comment on table ledger_metrics_outbox is
  'Reconciler events on their way to veza-ledger-metrics. A row goes when its delivery is counted.';
comment on column ledger_metrics_outbox.parked_at is
  'Not null: the receiver refused it for good, and last_error says why. It waits for a person.';

create index if not exists ledger_metrics_outbox_due on ledger_metrics_outbox (next_attempt_at) where parked_at is null;

commit;
