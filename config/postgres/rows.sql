-- The rows that each check counts, with those that fire first; what accepts them; and the orphan refunds that the
-- reconciler has failed. They have the rights of whoever calls them. Their bodies are texts, so that they stop no
-- migration: a column that is missing breaks the functions of its table, when they are called. Nothing of the
-- application is looked up here.
set local check_function_bodies = off;
-- The ledger's schema stands in the place of `ledger`: with their names in full, the search_path leads nowhere else.
select replace(replace($rows$
-- generated: functions
drop function if exists ledger_metrics.stuck_orders();
create function ledger_metrics.stuck_orders()
  returns table (
    id text, since timestamptz, fires boolean, accepted_until timestamptz, accepted_because text,
    hyperswitch_payment_id text
  )
  language sql stable
  set search_path = pg_catalog, pg_temp set timezone = TIMEZONE set row_security = off
  as $body$
  select counted.id, since, is_overdue and not is_of_first_day and accepted.id is null,
    greatest(accepted.until, first_day.until),
    coalesce(accepted.why, case when is_of_first_day then 'was stuck on the first day' end),
    hyperswitch_payment_id
  from (
    select id::text as id, created_at::timestamptz as since,
      coalesce(created_at < now() - interval '40 minutes', false) as is_overdue,
      coalesce(created_at <= (select began_at - interval '30 minutes'
        from ledger_metrics.first_day where until > now()), false) as is_of_first_day,
      hyperswitch_payment_id::text
    from ledger.orders
    where status = 'pending'
      and hyperswitch_payment_id <> ''
      and created_at < now() - interval '30 minutes'
  ) as counted
    left join ledger_metrics.first_day on is_of_first_day
    left join ledger_metrics.accepted_now as accepted on "check" = 'stuck_orders' and accepted.id = counted.id
  order by 3 desc, since nulls first, counted.id
$body$;

drop function if exists ledger_metrics.stuck_refunds();
create function ledger_metrics.stuck_refunds()
  returns table (
    id text, since timestamptz, fires boolean, accepted_until timestamptz, accepted_because text,
    hyperswitch_refund_id text
  )
  language sql stable
  set search_path = pg_catalog, pg_temp set timezone = TIMEZONE set row_security = off
  as $body$
  select counted.id, since, is_overdue and not is_of_first_day and accepted.id is null,
    greatest(accepted.until, first_day.until),
    coalesce(accepted.why, case when is_of_first_day then 'was stuck on the first day' end),
    hyperswitch_refund_id
  from (
    select id::text as id, created_at::timestamptz as since,
      coalesce(created_at < now() - interval '40 minutes', false) as is_overdue,
      coalesce(created_at <= (select began_at - interval '30 minutes'
        from ledger_metrics.first_day where until > now()), false) as is_of_first_day,
      hyperswitch_refund_id::text
    from ledger.refunds
    where status = 'pending'
      and hyperswitch_refund_id <> ''
      and created_at < now() - interval '30 minutes'
  ) as counted
    left join ledger_metrics.first_day on is_of_first_day
    left join ledger_metrics.accepted_now as accepted on "check" = 'stuck_refunds' and accepted.id = counted.id
  order by 3 desc, since nulls first, counted.id
$body$;

drop function if exists ledger_metrics.failed_transfers();
create function ledger_metrics.failed_transfers()
  returns table (
    id text, since timestamptz, fires boolean, accepted_until timestamptz, accepted_because text,
    created_at timestamptz
  )
  language sql stable
  set search_path = pg_catalog, pg_temp set timezone = TIMEZONE set row_security = off
  as $body$
  select counted.id, since, is_overdue and not is_of_first_day and accepted.id is null,
    greatest(accepted.until, first_day.until),
    coalesce(accepted.why, case when is_of_first_day then 'was stuck on the first day' end),
    created_at
  from (
    select id::text as id, updated_at::timestamptz as since,
      coalesce(true, false) as is_overdue,
      coalesce(updated_at <= (select began_at - interval '0 minutes'
        from ledger_metrics.first_day where until > now()), false) as is_of_first_day,
      created_at::timestamptz
    from ledger.seller_transfers
    where status = 'permanently_failed'
  ) as counted
    left join ledger_metrics.first_day on is_of_first_day
    left join ledger_metrics.accepted_now as accepted on "check" = 'failed_transfers' and accepted.id = counted.id
      and accepted_at >= coalesce(case when since <= now() then since end, '-infinity')
  order by 3 desc, since nulls first, counted.id
$body$;

drop function if exists ledger_metrics.orphan_refunds();
create function ledger_metrics.orphan_refunds()
  returns table (
    id text, since timestamptz, fires boolean, accepted_until timestamptz, accepted_because text
  )
  language sql stable
  set search_path = pg_catalog, pg_temp set timezone = TIMEZONE set row_security = off
  as $body$
  select counted.id, since, is_overdue and not is_of_first_day and accepted.id is null,
    greatest(accepted.until, first_day.until),
    coalesce(accepted.why, case when is_of_first_day then 'was stuck on the first day' end)
  from (
    select id::text as id, created_at::timestamptz as since,
      coalesce(created_at < now() - interval '10 minutes', false) as is_overdue,
      coalesce(created_at <= (select began_at - interval '5 minutes'
        from ledger_metrics.first_day where until > now()), false) as is_of_first_day
    from ledger.refunds
    where status = 'pending'
      and (hyperswitch_refund_id is null or hyperswitch_refund_id = '')
      and created_at < now() - interval '5 minutes'
  ) as counted
    left join ledger_metrics.first_day on is_of_first_day
    left join ledger_metrics.accepted_now as accepted on "check" = 'orphan_refunds' and accepted.id = counted.id
  order by 3 desc, since nulls first, counted.id
$body$;

drop function if exists ledger_metrics.pending_reversals();
create function ledger_metrics.pending_reversals()
  returns table (
    id text, since timestamptz, fires boolean, accepted_until timestamptz, accepted_because text,
    created_at timestamptz
  )
  language sql stable
  set search_path = pg_catalog, pg_temp set timezone = TIMEZONE set row_security = off
  as $body$
  select counted.id, since, is_overdue and not is_of_first_day and accepted.id is null,
    greatest(accepted.until, first_day.until),
    coalesce(accepted.why, case when is_of_first_day then 'was stuck on the first day' end),
    created_at
  from (
    select id::text as id, updated_at::timestamptz as since,
      coalesce(updated_at < now() - interval '40 minutes', false) as is_overdue,
      coalesce(updated_at <= (select began_at - interval '30 minutes'
        from ledger_metrics.first_day where until > now()), false) as is_of_first_day,
      created_at::timestamptz
    from ledger.seller_transfers
    where status = 'reversal_pending'
      and updated_at < now() - interval '30 minutes'
  ) as counted
    left join ledger_metrics.first_day on is_of_first_day
    left join ledger_metrics.accepted_now as accepted on "check" = 'pending_reversals' and accepted.id = counted.id
      and accepted_at >= coalesce(case when since <= now() then since end, '-infinity')
  order by 3 desc, since nulls first, counted.id
$body$;

drop function if exists ledger_metrics.failed_orphan_refunds();
create function ledger_metrics.failed_orphan_refunds()
  returns table (id text, since timestamptz, failed_at timestamptz)
  language sql stable
  set search_path = pg_catalog, pg_temp set timezone = TIMEZONE set row_security = off
  as $body$
  select id::text, created_at::timestamptz, updated_at::timestamptz from ledger.refunds
  where status = 'failed'
    and (hyperswitch_refund_id is null or hyperswitch_refund_id = '')
    and updated_at > now() - interval '14 days'
  order by updated_at desc, created_at
$body$;

drop function if exists ledger_metrics.accept(text, text[], text, timestamptz);
create function ledger_metrics.accept("check" text, ids text[], why text, until timestamptz)
  returns table (accepted_id text, accepted_until timestamptz, accepted_because text, accepted_by text)
  language plpgsql set search_path = pg_catalog, pg_temp
  as $body$
#variable_conflict use_column
declare
  accepts constant boolean := until > now();
  refused text;
begin
  if coalesce("check", '') not in (
    'stuck_orders', 'stuck_refunds', 'failed_transfers', 'orphan_refunds', 'pending_reversals'
  ) then
    raise exception 'Nothing is accepted: there is no check %.', coalesce("check", 'null')
      using hint = $$There are: stuck_orders, stuck_refunds, failed_transfers, orphan_refunds, pending_reversals.$$;
  elsif coalesce(cardinality(ids), 0) = 0 then
    raise exception 'Nothing is accepted: the list of ids is empty.';
  end if;
  -- An id that two rows have, as in a view of two tables, does not say which of them is meant.
  execute format('select string_agg(coalesce(given.id, ''null''), '', '') from unnest($1) as given (id)
    left join (select id, count(*) as rows from %s group by id) as known on known.id = given.id
    where rows is distinct from 1',
    case when accepts then format('ledger_metrics.%I()', "check")
      else format('ledger_metrics.accepted_now where "check" = %L', "check") end) into refused using ids;
  if refused is not null then
    raise exception 'Nothing is accepted: % has no row, or several, with the id %.',
      case when accepts then "check" else 'what is accepted' end, refused
      using hint = format('select * from ledger_metrics.%I() lists its rows.', "check");
  end if;
  return query
    insert into ledger_metrics.accepted as written ("check", id, until, why)
    select distinct accept."check", given.id, accept.until, accept.why from unnest(ids) as given (id)
    returning written.id, written.until, written.why, written.accepted_by;
end
$body$;

revoke execute on function
  ledger_metrics.stuck_orders(),
  ledger_metrics.stuck_refunds(),
  ledger_metrics.failed_transfers(),
  ledger_metrics.orphan_refunds(),
  ledger_metrics.pending_reversals(),
  ledger_metrics.failed_orphan_refunds(),
  ledger_metrics.accept(text, text[], text, timestamptz) from public;
grant execute on function
  ledger_metrics.stuck_orders(),
  ledger_metrics.stuck_refunds(),
  ledger_metrics.failed_transfers(),
  ledger_metrics.orphan_refunds(),
  ledger_metrics.pending_reversals(),
  ledger_metrics.failed_orphan_refunds(),
  ledger_metrics.accept(text, text[], text, timestamptz) to veza_ledger_oncall;
-- end of functions
$rows$, 'ledger.', quote_ident(:'schema') || '.'), 'TIMEZONE', quote_literal(:'timezone'))
\gexec
