-- Takes outbox.sql back. Refuses while a delivery waits or is parked: its events would never be counted.

begin;
set local search_path = pg_catalog, pg_temp;
set local lock_timeout = '5s';

do $$ begin
  -- Not a view of that name, whose functions would run here.
  if exists (select from pg_class where oid = to_regclass('public.ledger_metrics_outbox') and relkind = 'r') then
    lock table public.ledger_metrics_outbox in access exclusive mode;
    if exists (select from public.ledger_metrics_outbox where sent_at is null) then
      raise exception 'ledger_metrics_outbox has deliveries that are not counted; send them, or delete them, first';
    end if;
    drop table public.ledger_metrics_outbox;
  end if;
end $$;

set local search_path to default;
commit;
