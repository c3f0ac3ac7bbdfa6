-- Many healthy rows, and a few that are stuck.

-- The installation has accepted the rows of before: here, these are the demo.
update ledger_metrics.first_day set until = now();

insert into orders (status, hyperswitch_payment_id, created_at)
select 'paid', 'pay_' || n, now() - n * interval '1 minute' from generate_series(1, 5000) as n;
insert into orders (status, hyperswitch_payment_id, created_at)
select 'pending', 'demo_pay_' || n, now() - n * interval '2 hours' from generate_series(1, 4) as n;

insert into refunds (status, hyperswitch_refund_id, created_at)
select 'succeeded', 'ref_' || n, now() - n * interval '10 minutes' from generate_series(1, 500) as n;
insert into refunds (status, hyperswitch_refund_id, created_at)
select 'pending', 'demo_ref_' || n, now() - n * interval '2 hours' from generate_series(1, 3) as n;
insert into refunds (status, hyperswitch_refund_id, created_at)
values ('pending', null, now() - interval '12 minutes'), ('pending', '', now() - interval '9 minutes');

insert into seller_transfers (status, created_at, updated_at)
select 'completed', at, at
from (select now() - n * interval '5 minutes' as at from generate_series(1, 2000) as n) as past;
insert into seller_transfers (status, updated_at)
values ('permanently_failed', now() - interval '3 days'),
  ('reversal_pending', now()); -- Young, and replaced at each sweep: a 0 that the newest row proves.

-- The local stack runs both functions in one process, with one login. People paste the runbook's queries with theirs.
alter role veza_ledger password 'local';
alter role veza_ledger_oncall password 'local';
