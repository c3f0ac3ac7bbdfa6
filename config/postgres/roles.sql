-- The logins and their rights: all of them, PUBLIC's are not needed. install.sql includes this. The logins get no
-- password: set one for each that you use, as by \password veza_ledger_sampler in psql.
--
-- For developers: `npm run generate` writes the lines between "generated" and "end of" from
-- commands/declared-rights.ts. A right that is taken out of this file stays where it was granted.

-- The logins, and how many connections each may have. veza_ledger is for both functions in one process. A login is ours
-- by its comment: another application's may have such a name. The logins are the server's: of two runs for two
-- databases, one waits, here or at the comment below.
set local lock_timeout = '15s';
do $$
declare
  problem text;
begin
  select string_agg(rolname, ', ') into problem from pg_roles
  where rolname in ('veza_ledger_sampler', 'veza_ledger_receiver', 'veza_ledger_oncall', 'veza_ledger')
    and shobj_description(oid, 'pg_authid') is distinct from 'a login of veza-ledger-metrics';
  if problem is not null then
    raise exception 'not a login of veza-ledger-metrics, by its comment: %', problem
      using hint = 'Rename it. If it is one: comment on role ... is ''a login of veza-ledger-metrics''';
  end if;
  -- generated: logins
  if to_regrole('veza_ledger_sampler') is null then
    create role veza_ledger_sampler login connection limit 3;
    comment on role veza_ledger_sampler is 'a login of veza-ledger-metrics';
  end if;
  if to_regrole('veza_ledger_receiver') is null then
    create role veza_ledger_receiver login connection limit 20;
    comment on role veza_ledger_receiver is 'a login of veza-ledger-metrics';
  end if;
  if to_regrole('veza_ledger_oncall') is null then
    create role veza_ledger_oncall login connection limit 10;
    comment on role veza_ledger_oncall is 'a login of veza-ledger-metrics';
  end if;
  if to_regrole('veza_ledger') is null then
    create role veza_ledger login connection limit 23 in role veza_ledger_sampler, veza_ledger_receiver;
    comment on role veza_ledger is 'a login of veza-ledger-metrics';
  end if;
  -- end of logins
exception when unique_violation then
  null; -- The run for another database was first, and has made them all.
end $$;
comment on role veza_ledger_sampler is 'a login of veza-ledger-metrics';
set local lock_timeout = '2s';

-- RDS takes no password for a member of rds_iam.
\if :iam
  grant rds_iam to veza_ledger_sampler, veza_ledger_receiver;
\endif

-- Settings for people, who use psql. The functions set theirs in each transaction.
alter role veza_ledger_oncall set default_transaction_read_only = on;
alter role veza_ledger_oncall set search_path = pg_catalog, pg_temp;
alter role veza_ledger_oncall set row_security = off;
alter role veza_ledger_oncall set statement_timeout = '10s';
alter role veza_ledger_oncall set lock_timeout = '2s';
alter role veza_ledger_oncall set idle_in_transaction_session_timeout = '1min';
alter role veza_ledger_oncall in database :"DBNAME" set timezone = :'timezone';

-- When AWS ends a receiver, its connection stays open: Postgres closes it after a minute. Unlike the other settings,
-- this one cannot be set for a transaction. It exists from PostgreSQL 14 on.
do $$ begin
  if current_setting('server_version_num')::integer >= 140000 then
    alter role veza_ledger_receiver set idle_session_timeout = '1min';
    alter role veza_ledger set idle_session_timeout = '1min';
  end if;
end $$;

-- Whoever grants on a table needs its owner's rights. If this login may give itself these, it has them until the end of
-- this file. A membership that is there already stays as it is.
do $$
declare
  is_16 constant boolean := current_setting('server_version_num')::integer >= 160000;
  owner name;
begin
  set local ledger_metrics.lent = '';
  for owner in
    select distinct pg_get_userbyid(relowner) from pg_class join pg_namespace on pg_namespace.oid = relnamespace
    where nspname = current_setting('ledger_metrics.schema') and relname in (
        -- generated: tables
        'orders', 'refunds', 'seller_transfers'
        -- end of tables
      )
      and not pg_has_role(relowner, 'usage') and not exists (
        select from pg_auth_members
        where roleid = relowner and member = quote_ident(current_user)::regrole and (grantor = member or not is_16))
  loop
    execute format('grant %I to %I', owner, current_user) || case when is_16 then ' with inherit true' else '' end;
    perform set_config('ledger_metrics.lent',
      current_setting('ledger_metrics.lent') || format('revoke %I from %I;', owner, current_user), true);
  end loop;
end $$;

-- What they may read of the ledger: these columns.
grant connect on database :"DBNAME" to veza_ledger_sampler, veza_ledger_receiver, veza_ledger_oncall, veza_ledger;
grant usage on schema :"schema" to veza_ledger_sampler, veza_ledger_oncall;
-- generated: ledger
grant select (id, status, hyperswitch_payment_id, created_at, updated_at)
  on :"schema".orders to veza_ledger_sampler, veza_ledger_oncall;
grant select (id, status, hyperswitch_refund_id, created_at, updated_at)
  on :"schema".refunds to veza_ledger_sampler, veza_ledger_oncall;
grant select (id, status, updated_at, created_at)
  on :"schema".seller_transfers to veza_ledger_sampler, veza_ledger_oncall;
-- end of ledger

-- Postgres only warns of some grants that have no effect. Here that is an error, so that nothing is left half done.
do $$
declare
  problem text;
begin
  select string_agg(format('%s may not read %s', login, pg_class.oid::regclass), ', ') into problem
  from pg_class join pg_namespace on pg_namespace.oid = relnamespace,
    unnest('{veza_ledger_sampler,veza_ledger_oncall}'::regrole[]) as login
  where nspname = current_setting('ledger_metrics.schema') and relname in (
      -- generated: tables again
      'orders', 'refunds', 'seller_transfers'
      -- end of tables again
    ) and not (has_database_privilege(login, current_database(), 'connect')
      and has_schema_privilege(login, nspname, 'usage')
      and has_column_privilege(login, pg_class.oid, 'status', 'select'));
  if problem is not null then
    raise exception 'the grants have no effect: %', problem
      using hint = 'Have whoever owns the database, the schema and the tables run this, or grant their roles to you.';
  end if;
end $$;

-- What they may do in ledger_metrics.
revoke all on schema ledger_metrics from public;
revoke all on all tables in schema ledger_metrics from public;
revoke execute on function ledger_metrics.amounts() from public;
grant usage on schema ledger_metrics to veza_ledger_sampler, veza_ledger_receiver, veza_ledger_oncall;
-- generated: ledger_metrics
grant select on ledger_metrics.deliveries to veza_ledger_receiver, veza_ledger_oncall;
grant insert, update (attempts), delete on ledger_metrics.deliveries to veza_ledger_receiver;
grant insert (stage), update (single) on ledger_metrics.stage to veza_ledger_receiver;
grant select on ledger_metrics.stage to veza_ledger_receiver, veza_ledger_sampler, veza_ledger_oncall;
grant select on ledger_metrics.totals to veza_ledger_sampler, veza_ledger_receiver, veza_ledger_oncall;
grant insert, update (value, ahead) on ledger_metrics.totals to veza_ledger_receiver;
grant update on ledger_metrics.publisher to veza_ledger_sampler, veza_ledger_receiver;
grant select on ledger_metrics.first_day to veza_ledger_sampler, veza_ledger_oncall;
grant select on ledger_metrics.accepted_now to veza_ledger_sampler, veza_ledger_oncall;
grant select, insert ("check", id, until, why) on ledger_metrics.accepted to veza_ledger_oncall;
grant select on ledger_metrics.amounts_at_risk to veza_ledger_sampler, veza_ledger_oncall;
grant execute on function ledger_metrics.amounts() to veza_ledger_sampler, veza_ledger_oncall;
-- end of ledger_metrics

-- Two rights that an administrator who is no superuser may be unable to grant. Publishing needs plpgsql, which PUBLIC
-- may use unless somebody has revoked that. pg_read_all_stats shows people on call who holds a lock.
do $$ begin
  if (select rolsuper from pg_roles where rolname = current_user) then
    grant usage on language plpgsql to veza_ledger_sampler, veza_ledger_receiver;
  end if;
  if not pg_has_role('veza_ledger_oncall', 'pg_read_all_stats', 'member') then
    grant pg_read_all_stats to veza_ledger_oncall;
  end if;
exception when insufficient_privilege then
  raise warning 'veza_ledger_oncall is no member of pg_read_all_stats: it does not see what others run';
end $$;

-- Takes back the rights of the tables' owner that this login has given to itself above.
do $$ begin
  execute current_setting('ledger_metrics.lent');
end $$;
