"""The statements of docs/outbox.md that a sender needs."""

CLAIM = """
with due as materialized (
  select id from public.ledger_metrics_outbox where sent_at is null and parked_at is null
    and next_attempt_at <= now() and (claimed_until is null or claimed_until <= now())
  order by next_attempt_at, seq limit 100 for update skip locked
), claimed as (
  update public.ledger_metrics_outbox as outbox set claimed_until = now() + interval '1 minute'
  from due where outbox.id = due.id returning outbox.*
) select id, body, claimed_until from claimed order by next_attempt_at, seq
"""

MARK = """
update public.ledger_metrics_outbox as outbox set claimed_until = null,
  attempts = attempts + (state <> 'untried')::int,
  last_error = case state when 'untried' then last_error else error end,
  sent_at = case state when 'sent' then now() end,
  first_sent_at = coalesce(first_sent_at, case state when 'sent' then now() end),
  parked_at = case state when 'parked' then now() end,
  next_attempt_at = case state when 'failed' then now() + interval '1 second'
    * greatest(retry_after, least(2 ^ least(attempts, 9) / 2, 60) * (1 + random() / 4)) else next_attempt_at end
from jsonb_to_recordset($1::jsonb)
  as tried (id text, claimed_until timestamptz, state text, error text, retry_after float8)
where outbox.id = tried.id and outbox.claimed_until = tried.claimed_until returning outbox.id
"""

DELETE = """
delete from public.ledger_metrics_outbox where id in (
  select id from public.ledger_metrics_outbox where sent_at < now() - interval '14 days'
  order by sent_at limit 1000 for update skip locked) returning id
"""
