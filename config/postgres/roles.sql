-- The logins and their rights. An administrator runs it right after schema.sql, which begins the transaction:
--
--   psql -v ON_ERROR_STOP=1 -v schema=public -f config/postgres/schema.sql -f config/postgres/roles.sql postgres://...
--
-- -v schema     the schema with the ledger's tables, written as in the sampler's LEDGER_SCHEMA. It may be several, such
--               as veza_ledger_views,public: each table is taken from the first of them that has it
-- -v timezone   the sampler's LEDGER_TIMEZONE, which veza_ledger_oncall gets for psql
-- -v iam=yes    on RDS and Aurora: the functions log in with IAM, and no longer with a password. This holds for the
--               logins in each database of the server, for veza_ledger, and for the logins that AWS' rotation makes
--
-- Without the first two, they are those of the run before. In the first run, they are public and UTC, as for the
-- sampler.
--
-- All rights of these logins are here. They need nothing that PUBLIC has, except for the right to plpgsql, where the
-- administrator is no superuser. The logins that AWS' rotation makes are members of these, and need nothing more.
--
-- The logins get no password here: set one for each that you use, as by \password veza_ledger_sampler in psql.
--
-- For developers: `npm run generate` writes the lines between "generated" and "end of" from
-- commands/declared-rights.ts. A right that is taken out of this file stays where it was granted: write a revoke for
-- it, as there is one for delete below.

\set ON_ERROR_STOP on
\if :{?iam}
\else
  \set iam no
\endif

-- Alone, this file stops here, before it changes anything. No search_path is set yet: each name says where it is.
do $$ begin
  if pg_catalog.current_setting('ledger_metrics.transaction', true) operator(pg_catalog.=) 'begun by schema.sql' then
    return;
  end if;
  raise exception 'schema.sql has not begun this transaction'
    using hint = 'Give both files to one psql: -f config/postgres/schema.sql -f config/postgres/roles.sql';
end $$;

-- What is not given is as in the run before, by a function that it has made.
\if :{?schema}
\else
select coalesce(pg_catalog.max(pg_catalog.regexp_replace(setting, '^search_path=pg_catalog, (.*), pg_temp$', '\1')),
  'public') as schema
from pg_catalog.pg_proc, pg_catalog.unnest(proconfig) as setting
where pg_proc.oid operator(pg_catalog.=) pg_catalog.to_regprocedure('ledger_metrics.stuck_orders()')::pg_catalog.oid
  and setting operator(pg_catalog.~) '^search_path=pg_catalog, .*, pg_temp$'
\gset
\endif
\if :{?timezone}
\else
select coalesce(pg_catalog.max(pg_catalog.regexp_replace(setting, '^timezone=', '', 'i')), 'UTC') as timezone
from pg_catalog.pg_proc, pg_catalog.unnest(proconfig) as setting
where pg_proc.oid operator(pg_catalog.=) pg_catalog.to_regprocedure('ledger_metrics.stuck_orders()')::pg_catalog.oid
  and setting operator(pg_catalog.~*) '^timezone='
\gset
\endif

-- From here on, `schema` is as SQL has names: "Veza". A name that came in quotes stays as it is.
select pg_catalog.string_agg(
  case when pg_catalog.left(name, 1) operator(pg_catalog.=) '"' then name else pg_catalog.quote_ident(name) end,
  ', ' order by nth) as schema
from pg_catalog.unnest(pg_catalog.string_to_array(pg_catalog.replace(:'schema', ', ', ','), ','))
  with ordinality as given (name, nth)
\gset
-- For the blocks below: psql fills in no variables there.
select pg_catalog.set_config('ledger_metrics.timezone', :'timezone', true) as given_timezone,
  pg_catalog.set_config('ledger_metrics.iam', :'iam', true) as given_iam
\gset

-- Whoever grants on a table needs its owner's rights, and sees its schema only with a right to that. This login gives
-- them to itself until the end of this file, if it may, and if no membership that it has given itself is there already.
set local search_path = pg_catalog, :schema, pg_temp;
do $$
declare
  -- With each argument as text, no function of the ledger's schema can fit better than Postgres' own.
  path constant text := current_setting('search_path'::text);
  names constant text[] := array[
    -- generated: owned
    'orders', 'refunds', 'seller_transfers'
    -- end of owned
  ];
  is_16 boolean;
  owners oid[];
  owner text;
begin
  set local search_path = pg_catalog, pg_temp;
  is_16 := current_setting('server_version_num')::integer >= 160000;
  owners := array(
    select distinct relowner from pg_class join pg_namespace on pg_namespace.oid = relnamespace
    where relname = any (names) and quote_ident(nspname) = any (regexp_split_to_array(path, ' *, *'))
      and not pg_has_role(relowner, 'usage') and not exists (
        select from pg_auth_members
        where roleid = relowner and member = to_regrole(quote_ident(current_user))
          and (grantor = member or not is_16)
      )
  );
  begin
    for owner in select quote_ident(rolname) from pg_roles where oid = any (owners) loop
      execute format('grant %s to %I', owner, current_user) || case when is_16 then ' with inherit true' else '' end;
    end loop;
  exception when insufficient_privilege then
    owners := '{}';
  end;
  perform set_config('ledger_metrics.member_of', owners::text, true);
end $$;

-- Stops with a message if a table is not there, or if this login may not grant rights on it. Only here and at the
-- grants below are names looked up in the application's schema. No function of the application runs.
set local search_path = pg_catalog, :schema, pg_temp;
do $$
declare
  -- With each argument as text, as above.
  path constant text := current_setting('search_path'::text);
  names constant text[] := array[
    -- generated: names
    'orders', 'refunds', 'seller_transfers'
    -- end of names
  ];
  found constant regclass[] := array[
    -- generated: found
    to_regclass('orders'::text),
    to_regclass('refunds'::text),
    to_regclass('seller_transfers'::text)
    -- end of found
  ];
  problem text;
  remedy text;
begin
  set local search_path = pg_catalog, pg_temp;
  select format('As a superuser, or as whoever made that owner: grant %s to %I%s',
    string_agg(distinct quote_ident(pg_get_userbyid(relowner)), ', '), current_user,
    case when current_setting('server_version_num')::integer >= 160000 then ' with inherit true' else '' end)
  into remedy from pg_class join pg_namespace on pg_namespace.oid = relnamespace
  where relname = any (names) and quote_ident(nspname) = any (regexp_split_to_array(path, ' *, *'))
    and not pg_has_role(relowner, 'usage')
  having count(*) > 0;
  select string_agg(name, ', ') into problem from unnest(names, found) as given (name, oid) where oid is null;
  if problem is not null then
    raise exception 'in the database %, % sees no % in the schema %', current_database(), current_user, problem,
      regexp_replace(path, '^pg_catalog, |, pg_temp$', '', 'g')
      using hint = coalesce(remedy,
        'Is this the database, and the login? Give -v schema what the sampler has as LEDGER_SCHEMA.');
  end if;
  -- Before the grants, whose own errors do not say what helps.
  select string_agg(format('%s of %I', oid::regclass, pg_get_userbyid(relowner)), ', ') into problem
  from pg_class where oid = any (found) and not pg_has_role(relowner, 'usage');
  if problem is not null then
    raise exception '% may not grant rights on %', current_user, problem using hint = remedy;
  end if;
end $$;

-- The logins are the server's. Whoever runs this for another database waits until the commit, here if it makes them,
-- and else at the comment below; and so for longer than a psql that is cut off keeps its transaction.
set local lock_timeout = '15s';

-- The logins, and how many connections each may have. veza_ledger is for both functions in one process. A role of the
-- application's may have one of these names: the rollback drops what a login owns.
do $$
declare
  problem text;
begin
  select string_agg(distinct rolname, ', ') into problem
  from pg_shdepend join pg_roles on refclassid = 'pg_authid'::regclass and refobjid = pg_roles.oid
  where deptype = 'o' and dbid in (0, (select oid from pg_database where datname = current_database()))
    and rolname in ('veza_ledger_sampler', 'veza_ledger_receiver', 'veza_ledger_oncall', 'veza_ledger');
  if problem is not null then
    raise exception 'of another application, since they own something here: %', problem
      using hint = 'The logins of this service own nothing. Rename that role.';
  end if;
  -- generated: logins
  if to_regrole('veza_ledger_sampler') is null then
    create role veza_ledger_sampler login connection limit 3;
  end if;
  if to_regrole('veza_ledger_receiver') is null then
    create role veza_ledger_receiver login connection limit 20;
  end if;
  if to_regrole('veza_ledger_oncall') is null then
    create role veza_ledger_oncall login connection limit 10;
  end if;
  if to_regrole('veza_ledger') is null then
    create role veza_ledger login connection limit 23 in role veza_ledger_sampler, veza_ledger_receiver;
  end if;
  -- end of logins
exception when unique_violation then
  null; -- Whoever runs this for another database of the server was first, and has made them all.
end $$;

-- Of two changes of a login at once, Postgres refuses one. Of the statements here about a login, a comment is the only
-- one that locks it against another of its kind.
comment on role veza_ledger_sampler is 'veza-ledger-metrics: counts rows every minute';
set local lock_timeout = '2s';

-- The logins that log in with IAM. RDS takes no password for a member of rds_iam, so only -v iam=yes asks for it.
-- Nobody else may become one, not even to grant it: RDS would refuse the administrator's own password.
do $$
declare
  given constant text := current_setting('ledger_metrics.iam', true);
  logins regrole[];
  problem text;
begin
  if given not in ('yes', 'no') then
    raise exception '-v iam is %, and has to be yes or no', quote_literal(given);
  end if;
  if given = 'yes' then
    if to_regrole('rds_iam') is null then
      raise exception 'there is no role rds_iam on this server'
        using hint = 'Only RDS and Aurora have it. Elsewhere, leave out -v iam=yes: the functions have passwords.';
    end if;
    logins := array(
      select login from unnest('{veza_ledger_sampler,veza_ledger_receiver}'::regrole[]) as login
      where not pg_has_role(login, 'rds_iam', 'member')
    );
    select string_agg(distinct format('%s to %I', grantee::regrole, datname), ', ') into problem
    from pg_database, aclexplode(datacl) as acl
    where grantee = any (logins) and privilege_type = 'CONNECT' and datname <> current_database();
    if problem is not null then
      raise exception 'with IAM, RDS would refuse the passwords of logins that are in use elsewhere: %', problem
        using hint = 'Leave out -v iam=yes, and keep passwords here. Or have the functions there log in with IAM, and '
          'then, as the master: grant rds_iam to veza_ledger_sampler, veza_ledger_receiver';
    end if;
    if logins <> '{}' then
      execute 'grant rds_iam to ' || array_to_string(logins, ', ');
    end if;
  elsif to_regrole('rds_iam') is not null then
    select string_agg(login::text, ', ') into problem
    from unnest('{veza_ledger_sampler,veza_ledger_receiver}'::regrole[]) as login
    where pg_has_role(login, 'rds_iam', 'member');
    if problem is not null then
      raise warning 'RDS takes no password from %, since they are members of rds_iam', problem
        using hint = 'Functions that have passwords cannot log in: have them log in with IAM, as docs/deploy.md says. '
          'If they do, run these files with -v iam=yes.';
    end if;
  end if;
exception when insufficient_privilege then
  raise exception '% may not grant rds_iam', current_user
    using hint = 'Run these files without -v iam=yes; then, as the master: '
      'grant rds_iam to veza_ledger_sampler, veza_ledger_receiver';
end $$;

-- Postgres' own error about a zone has no hint.
do $$
declare
  before constant text := current_setting('timezone');
  given constant text := current_setting('ledger_metrics.timezone', true);
begin
  if given is not null then
    perform set_config('timezone', given, true);
    perform set_config('timezone', before, true);
  end if;
exception when invalid_parameter_value then
  raise exception 'this server knows no time zone %', given
    using hint = 'Give -v timezone what the sampler has as LEDGER_TIMEZONE: a name of pg_timezone_names.';
end $$;

-- Settings for people, who use psql. The functions set theirs in each transaction.
alter role veza_ledger_oncall set default_transaction_read_only = on;
alter role veza_ledger_oncall set row_security = off;
alter role veza_ledger_oncall set statement_timeout = '10s';
alter role veza_ledger_oncall set lock_timeout = '2s';
alter role veza_ledger_oncall set idle_in_transaction_session_timeout = '1min';
alter role veza_ledger_oncall in database :"DBNAME" set timezone = :'timezone';
alter role veza_ledger_oncall in database :"DBNAME" set search_path = pg_catalog, :schema, pg_temp;

-- When AWS ends a receiver, its connection stays open: Postgres closes it after a minute. Unlike the other
-- settings, this one cannot be set for a transaction. It exists from PostgreSQL 14 on.
do $$ begin
  if current_setting('server_version_num')::integer >= 140000 then
    alter role veza_ledger_receiver set idle_session_timeout = '1min';
    alter role veza_ledger set idle_session_timeout = '1min';
  end if;
end $$;

grant connect on database :"DBNAME" to veza_ledger_sampler, veza_ledger_receiver, veza_ledger_oncall, veza_ledger;

-- What they may read of the ledger: these columns. Names are looked up in its schema for these grants, which run no
-- code.
set local search_path = pg_catalog, :schema, pg_temp;
grant usage on schema :schema to veza_ledger_sampler, veza_ledger_oncall;
-- generated: ledger
grant select (id, status, hyperswitch_payment_id, created_at, updated_at)
  on orders to veza_ledger_sampler, veza_ledger_oncall;
grant select (id, status, hyperswitch_refund_id, created_at, updated_at)
  on refunds to veza_ledger_sampler, veza_ledger_oncall;
grant select (id, status, updated_at, created_at) on seller_transfers to veza_ledger_sampler, veza_ledger_oncall;
-- end of ledger

-- If a grant has no effect, Postgres may only warn. This makes it an error, so that nothing is left half done.
do $$
declare
  ledger constant regclass[] := array[
    -- generated: tables
    'orders'::regclass,
    'refunds'::regclass,
    'seller_transfers'::regclass
    -- end of tables
  ];
  problem text;
  owner_of_outbox name;
  is_outbox boolean;
begin
  set local search_path = pg_catalog, pg_temp;
  select string_agg(distinct format('%s may not use the schema %I', login, nspname), ', ') into problem
  from pg_class join pg_namespace on pg_namespace.oid = relnamespace,
    unnest('{veza_ledger_sampler,veza_ledger_oncall}'::regrole[]) as login
  where pg_class.oid = any (ledger) and not has_schema_privilege(login, relnamespace, 'usage');
  if problem is not null then
    raise exception '%', problem using hint = 'Have the owner of that schema grant usage on it.';
  end if;
  select string_agg(format('%s may not connect', login), ', ') into problem
  from unnest('{veza_ledger_sampler,veza_ledger_receiver,veza_ledger_oncall,veza_ledger}'::regrole[]) as login
  where not has_database_privilege(login, current_database(), 'connect');
  if problem is not null then
    raise exception '%', problem using hint = 'Have the owner of the database grant connect on it.';
  end if;

  -- The reconciler's outbox, if clients/go/outbox.sql has made it in this database. Before PostgreSQL 15, anybody may
  -- make something of its name in public.
  select pg_get_userbyid(relowner), relkind = 'r' and relowner in (
      select relowner from pg_class where oid = any (ledger)
      union all select datdba from pg_database where datname = current_database()
      union all select oid from pg_roles where rolsuper
    ) into owner_of_outbox, is_outbox
  from pg_class join pg_namespace on pg_namespace.oid = relnamespace
  where nspname = 'public' and relname = 'ledger_metrics_outbox';
  if is_outbox then
    grant usage on schema public to veza_ledger_sampler, veza_ledger_oncall;
    -- generated: outbox
    grant select (created_at, parked_at, sent_at)
      on public.ledger_metrics_outbox to veza_ledger_sampler, veza_ledger_oncall;
    grant select (id, attempts, next_attempt_at, last_error, claimed_until)
      on public.ledger_metrics_outbox to veza_ledger_oncall;
    -- end of outbox
  elsif owner_of_outbox is not null then
    raise warning 'public.ledger_metrics_outbox belongs to %, and is not read', owner_of_outbox
      using hint = 'It has to be a table of a superuser, or of who owns the database or a table of the ledger.';
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
grant select on ledger_metrics.accepted to veza_ledger_sampler, veza_ledger_oncall;
grant insert ("check", id, up_to, until, why) on ledger_metrics.accepted to veza_ledger_oncall;
grant select on ledger_metrics.amounts_at_risk to veza_ledger_sampler, veza_ledger_oncall;
grant execute on function ledger_metrics.amounts() to veza_ledger_sampler, veza_ledger_oncall;
-- end of ledger_metrics

-- What is accepted stays on record. An earlier version let people on call delete.
revoke delete on ledger_metrics.accepted from veza_ledger_oncall;

-- The rows that each check counts, with those that fire first; what accepts them; and the orphan refunds that the
-- reconciler has failed. They have the rights of whoever calls them. Their bodies are texts, so that they stop no
-- migration: a column that is missing breaks the functions of its table, when they are called. Nothing of the
-- application is looked up here.
set local check_function_bodies = off;
-- generated: functions
drop function if exists ledger_metrics.stuck_orders();
create function ledger_metrics.stuck_orders()
  returns table (
    id text, since timestamptz, fires boolean, accepted_until timestamptz, accepted_because text,
    hyperswitch_payment_id text
  )
  language sql stable
  set search_path = pg_catalog, :schema, pg_temp set timezone = :'timezone' set row_security = off
  as $body$
  with counted as (
    select id::text as id, created_at::timestamptz as since, hyperswitch_payment_id::text,
      created_at operator(pg_catalog.<) now() - interval '40 minutes' as is_overdue,
      not (created_at operator(pg_catalog.>) (
          select coalesce(pg_catalog.max(least(up_to, accepted_at - interval '30 minutes')), '-infinity')
          from (
          select * from (
            select * from ledger_metrics.accepted
            where "check" operator(pg_catalog.=) 'stuck_orders' and id is null
            order by accepted_at desc limit 1
          ) as newest where until operator(pg_catalog.>) now()
          ) as moment
        ) or created_at operator(pg_catalog.<) '1971-01-01' or created_at is null) as is_before
    from orders
    where status operator(pg_catalog.=) 'pending'
      and hyperswitch_payment_id operator(pg_catalog.<>) ''
      and created_at operator(pg_catalog.<) now() - interval '30 minutes'
  ), ids as materialized (
    select distinct on (id) * from ledger_metrics.accepted as given
    where "check" operator(pg_catalog.=) 'stuck_orders' and until operator(pg_catalog.>) now()
    and accepted_at operator(pg_catalog.=) (
      select pg_catalog.max(accepted_at) from ledger_metrics.accepted as same
      where same."check" operator(pg_catalog.=) 'stuck_orders' and same.id operator(pg_catalog.=) given.id
    )
  ), once as (
    select id from counted where id in (select id from ids) group by id having count(*) operator(pg_catalog.=) 1
  ), moment as (
    select * from (
      select * from ledger_metrics.accepted
      where "check" operator(pg_catalog.=) 'stuck_orders' and id is null
      order by accepted_at desc limit 1
    ) as newest where until operator(pg_catalog.>) now()
  )
  select counted.id, since, coalesce(is_overdue and not is_before and ids.id is null, false) as fires,
    greatest(ids.until, moment.until) as accepted_until, coalesce(ids.why, moment.why) as accepted_because,
    hyperswitch_payment_id
  from counted
    left join ids on ids.id operator(pg_catalog.=) counted.id and ids.id in (select id from once)
    left join moment on is_before
  order by fires desc, since nulls first, counted.id
$body$;
revoke execute on function ledger_metrics.stuck_orders() from public;
grant execute on function ledger_metrics.stuck_orders() to veza_ledger_oncall;
drop function if exists ledger_metrics.stuck_refunds();
create function ledger_metrics.stuck_refunds()
  returns table (
    id text, since timestamptz, fires boolean, accepted_until timestamptz, accepted_because text,
    hyperswitch_refund_id text
  )
  language sql stable
  set search_path = pg_catalog, :schema, pg_temp set timezone = :'timezone' set row_security = off
  as $body$
  with counted as (
    select id::text as id, created_at::timestamptz as since, hyperswitch_refund_id::text,
      created_at operator(pg_catalog.<) now() - interval '40 minutes' as is_overdue,
      not (created_at operator(pg_catalog.>) (
          select coalesce(pg_catalog.max(least(up_to, accepted_at - interval '30 minutes')), '-infinity')
          from (
          select * from (
            select * from ledger_metrics.accepted
            where "check" operator(pg_catalog.=) 'stuck_refunds' and id is null
            order by accepted_at desc limit 1
          ) as newest where until operator(pg_catalog.>) now()
          ) as moment
        ) or created_at operator(pg_catalog.<) '1971-01-01' or created_at is null) as is_before
    from refunds
    where status operator(pg_catalog.=) 'pending'
      and hyperswitch_refund_id operator(pg_catalog.<>) ''
      and created_at operator(pg_catalog.<) now() - interval '30 minutes'
  ), ids as materialized (
    select distinct on (id) * from ledger_metrics.accepted as given
    where "check" operator(pg_catalog.=) 'stuck_refunds' and until operator(pg_catalog.>) now()
    and accepted_at operator(pg_catalog.=) (
      select pg_catalog.max(accepted_at) from ledger_metrics.accepted as same
      where same."check" operator(pg_catalog.=) 'stuck_refunds' and same.id operator(pg_catalog.=) given.id
    )
  ), once as (
    select id from counted where id in (select id from ids) group by id having count(*) operator(pg_catalog.=) 1
  ), moment as (
    select * from (
      select * from ledger_metrics.accepted
      where "check" operator(pg_catalog.=) 'stuck_refunds' and id is null
      order by accepted_at desc limit 1
    ) as newest where until operator(pg_catalog.>) now()
  )
  select counted.id, since, coalesce(is_overdue and not is_before and ids.id is null, false) as fires,
    greatest(ids.until, moment.until) as accepted_until, coalesce(ids.why, moment.why) as accepted_because,
    hyperswitch_refund_id
  from counted
    left join ids on ids.id operator(pg_catalog.=) counted.id and ids.id in (select id from once)
    left join moment on is_before
  order by fires desc, since nulls first, counted.id
$body$;
revoke execute on function ledger_metrics.stuck_refunds() from public;
grant execute on function ledger_metrics.stuck_refunds() to veza_ledger_oncall;
drop function if exists ledger_metrics.failed_transfers();
create function ledger_metrics.failed_transfers()
  returns table (
    id text, since timestamptz, fires boolean, accepted_until timestamptz, accepted_because text,
    created_at timestamptz
  )
  language sql stable
  set search_path = pg_catalog, :schema, pg_temp set timezone = :'timezone' set row_security = off
  as $body$
  with counted as (
    select id::text as id, updated_at::timestamptz as since, created_at::timestamptz,
      true as is_overdue,
      not (updated_at operator(pg_catalog.>) (
          select coalesce(pg_catalog.max(least(up_to, accepted_at - interval '0 minutes')), '-infinity')
          from (
          select * from (
            select * from ledger_metrics.accepted
            where "check" operator(pg_catalog.=) 'failed_transfers' and id is null
            order by accepted_at desc limit 1
          ) as newest where until operator(pg_catalog.>) now()
          ) as moment
        ) or updated_at operator(pg_catalog.<) '1971-01-01' or updated_at is null) as is_before
    from seller_transfers
    where status operator(pg_catalog.=) 'permanently_failed'
  ), ids as materialized (
    select distinct on (id) * from ledger_metrics.accepted as given
    where "check" operator(pg_catalog.=) 'failed_transfers' and until operator(pg_catalog.>) now()
    and accepted_at operator(pg_catalog.=) (
      select pg_catalog.max(accepted_at) from ledger_metrics.accepted as same
      where same."check" operator(pg_catalog.=) 'failed_transfers' and same.id operator(pg_catalog.=) given.id
    )
  ), once as (
    select id from counted where id in (select id from ids) group by id having count(*) operator(pg_catalog.=) 1
  ), moment as (
    select * from (
      select * from ledger_metrics.accepted
      where "check" operator(pg_catalog.=) 'failed_transfers' and id is null
      order by accepted_at desc limit 1
    ) as newest where until operator(pg_catalog.>) now()
  )
  select counted.id, since, coalesce(is_overdue and not is_before and ids.id is null, false) as fires,
    greatest(ids.until, moment.until) as accepted_until, coalesce(ids.why, moment.why) as accepted_because,
    created_at
  from counted
    left join ids on ids.id operator(pg_catalog.=) counted.id and ids.id in (select id from once)
    left join moment on is_before
  order by fires desc, since nulls first, counted.id
$body$;
revoke execute on function ledger_metrics.failed_transfers() from public;
grant execute on function ledger_metrics.failed_transfers() to veza_ledger_oncall;
drop function if exists ledger_metrics.orphan_refunds();
create function ledger_metrics.orphan_refunds()
  returns table (
    id text, since timestamptz, fires boolean, accepted_until timestamptz, accepted_because text
  )
  language sql stable
  set search_path = pg_catalog, :schema, pg_temp set timezone = :'timezone' set row_security = off
  as $body$
  with counted as (
    select id::text as id, created_at::timestamptz as since,
      created_at operator(pg_catalog.<) now() - interval '10 minutes' as is_overdue,
      not (created_at operator(pg_catalog.>) (
          select coalesce(pg_catalog.max(least(up_to, accepted_at - interval '5 minutes')), '-infinity')
          from (
          select * from (
            select * from ledger_metrics.accepted
            where "check" operator(pg_catalog.=) 'orphan_refunds' and id is null
            order by accepted_at desc limit 1
          ) as newest where until operator(pg_catalog.>) now()
          ) as moment
        ) or created_at operator(pg_catalog.<) '1971-01-01' or created_at is null) as is_before
    from refunds
    where status operator(pg_catalog.=) 'pending'
      and (hyperswitch_refund_id is null or hyperswitch_refund_id operator(pg_catalog.=) '')
      and created_at operator(pg_catalog.<) now() - interval '5 minutes'
  ), ids as materialized (
    select distinct on (id) * from ledger_metrics.accepted as given
    where "check" operator(pg_catalog.=) 'orphan_refunds' and until operator(pg_catalog.>) now()
    and accepted_at operator(pg_catalog.=) (
      select pg_catalog.max(accepted_at) from ledger_metrics.accepted as same
      where same."check" operator(pg_catalog.=) 'orphan_refunds' and same.id operator(pg_catalog.=) given.id
    )
  ), once as (
    select id from counted where id in (select id from ids) group by id having count(*) operator(pg_catalog.=) 1
  ), moment as (
    select * from (
      select * from ledger_metrics.accepted
      where "check" operator(pg_catalog.=) 'orphan_refunds' and id is null
      order by accepted_at desc limit 1
    ) as newest where until operator(pg_catalog.>) now()
  )
  select counted.id, since, coalesce(is_overdue and not is_before and ids.id is null, false) as fires,
    greatest(ids.until, moment.until) as accepted_until, coalesce(ids.why, moment.why) as accepted_because
  from counted
    left join ids on ids.id operator(pg_catalog.=) counted.id and ids.id in (select id from once)
    left join moment on is_before
  order by fires desc, since nulls first, counted.id
$body$;
revoke execute on function ledger_metrics.orphan_refunds() from public;
grant execute on function ledger_metrics.orphan_refunds() to veza_ledger_oncall;
drop function if exists ledger_metrics.pending_reversals();
create function ledger_metrics.pending_reversals()
  returns table (
    id text, since timestamptz, fires boolean, accepted_until timestamptz, accepted_because text,
    created_at timestamptz
  )
  language sql stable
  set search_path = pg_catalog, :schema, pg_temp set timezone = :'timezone' set row_security = off
  as $body$
  with counted as (
    select id::text as id, updated_at::timestamptz as since, created_at::timestamptz,
      updated_at operator(pg_catalog.<) now() - interval '40 minutes' as is_overdue,
      not (updated_at operator(pg_catalog.>) (
          select coalesce(pg_catalog.max(least(up_to, accepted_at - interval '30 minutes')), '-infinity')
          from (
          select * from (
            select * from ledger_metrics.accepted
            where "check" operator(pg_catalog.=) 'pending_reversals' and id is null
            order by accepted_at desc limit 1
          ) as newest where until operator(pg_catalog.>) now()
          ) as moment
        ) or updated_at operator(pg_catalog.<) '1971-01-01' or updated_at is null) as is_before
    from seller_transfers
    where status operator(pg_catalog.=) 'reversal_pending'
      and updated_at operator(pg_catalog.<) now() - interval '30 minutes'
  ), ids as materialized (
    select distinct on (id) * from ledger_metrics.accepted as given
    where "check" operator(pg_catalog.=) 'pending_reversals' and until operator(pg_catalog.>) now()
    and accepted_at operator(pg_catalog.=) (
      select pg_catalog.max(accepted_at) from ledger_metrics.accepted as same
      where same."check" operator(pg_catalog.=) 'pending_reversals' and same.id operator(pg_catalog.=) given.id
    )
  ), once as (
    select id from counted where id in (select id from ids) group by id having count(*) operator(pg_catalog.=) 1
  ), moment as (
    select * from (
      select * from ledger_metrics.accepted
      where "check" operator(pg_catalog.=) 'pending_reversals' and id is null
      order by accepted_at desc limit 1
    ) as newest where until operator(pg_catalog.>) now()
  )
  select counted.id, since, coalesce(is_overdue and not is_before and ids.id is null, false) as fires,
    greatest(ids.until, moment.until) as accepted_until, coalesce(ids.why, moment.why) as accepted_because,
    created_at
  from counted
    left join ids on ids.id operator(pg_catalog.=) counted.id and ids.id in (select id from once)
    left join moment on is_before
  order by fires desc, since nulls first, counted.id
$body$;
revoke execute on function ledger_metrics.pending_reversals() from public;
grant execute on function ledger_metrics.pending_reversals() to veza_ledger_oncall;
drop function if exists ledger_metrics.failed_orphan_refunds();
create function ledger_metrics.failed_orphan_refunds()
  returns table (id text, since timestamptz, failed_at timestamptz)
  language sql stable
  set search_path = pg_catalog, :schema, pg_temp set timezone = :'timezone' set row_security = off
  as $body$
  select id::text, created_at::timestamptz, updated_at::timestamptz from refunds
  where status operator(pg_catalog.=) 'failed'
    and (hyperswitch_refund_id is null or hyperswitch_refund_id operator(pg_catalog.=) '')
    and updated_at operator(pg_catalog.>) now() - interval '14 days'
  order by updated_at desc, created_at
$body$;
revoke execute on function ledger_metrics.failed_orphan_refunds() from public;
grant execute on function ledger_metrics.failed_orphan_refunds() to veza_ledger_oncall;
drop function if exists ledger_metrics.accept(text, text[], text, timestamptz);
create function ledger_metrics.accept("check" text, ids text[], why text, until timestamptz)
  returns table (
    accepted_check text, id text, since timestamptz, accepted_until timestamptz, accepted_because text, accepted_by text
  )
  language plpgsql set search_path = pg_catalog, pg_temp
  as $body$
#variable_conflict use_column
declare
  lists constant text := format('select * from ledger_metrics.%I() lists what can be accepted.', coalesce("check", ''));
  unknown text;
  ambiguous text;
  times jsonb;
  refused text;
begin
  if coalesce("check", '') not in (
    'stuck_orders', 'stuck_refunds', 'failed_transfers', 'orphan_refunds', 'pending_reversals'
  ) then
    raise exception 'Nothing is accepted: there is no check %.', coalesce("check", 'null')
      using hint = 'select * from ledger_metrics.stuck_orders() lists what can be accepted of one. The others are: '
        || 'stuck_refunds, failed_transfers, orphan_refunds, pending_reversals.';
  elsif coalesce(cardinality(ids), 0) = 0 or array_position(ids, null) is not null then
    raise exception 'Nothing is accepted: the list of ids is empty, or one of them is null.' using hint = lists;
  elsif coalesce(why !~ '[^[:space:]]', true) then
    raise exception 'Nothing is accepted: the reason is empty. Say why, for whoever reads it later.' using hint = lists;
  elsif until is null then
    raise exception 'Nothing is accepted: until is empty. Say until when.' using hint = lists;
  elsif current_setting('transaction_read_only')::boolean then
    raise exception 'Nothing is accepted: this transaction may only read.'
      using hint = 'begin read write; select * from ledger_metrics.accept(...); commit;';
  end if;
  -- An acceptance that is taken back may be of a row that no longer counts.
  execute format(
    'select string_agg(given.id, '', '') filter (where case when $2 <= now() then not exists (
         select from ledger_metrics.accepted as a where a."check" = $3 and a.id = given.id) else rows is null end),
       string_agg(given.id, '', '') filter (where rows > 1), jsonb_object_agg(given.id, since)
     from (select distinct id from unnest($1) as given (id)) as given
     left join (select id, count(*) as rows, min(since) as since from ledger_metrics.%I() as counted group by id)
       as counted on counted.id = given.id',
    "check"
  ) into unknown, ambiguous, times using ids, until, "check";
  if unknown is not null and until <= now() then
    raise exception 'Nothing is taken back: no acceptance of % has the id %.', "check", unknown using hint = lists;
  elsif unknown is not null then
    raise exception 'Nothing is accepted: % does not count %.', "check", unknown
      using hint = 'Such an id is mistyped, is of another check, or was repaired meanwhile. ' || lists;
  elsif ambiguous is not null then
    raise exception 'Nothing is accepted: several rows of % have the id %.', "check", ambiguous using hint = lists;
  end if;
  return query
    insert into ledger_metrics.accepted as written ("check", id, until, why)
    select distinct accept."check", given.id, accept.until, accept.why from unnest(ids) as given (id)
    returning written."check", written.id, (times ->> written.id)::timestamptz, written.until, written.why,
      written.accepted_by;
exception when check_violation then
  get stacked diagnostics refused = constraint_name; -- Each is a message.
  raise exception 'Nothing is accepted: %.', refused using hint = lists;
end
$body$;
revoke execute on function ledger_metrics.accept(text, text[], text, timestamptz) from public;
grant execute on function ledger_metrics.accept(text, text[], text, timestamptz) to veza_ledger_oncall;
-- end of functions

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

-- An earlier version gave settings to its logins. The functions of this version set their own, which win. So these can
-- go, but only when no function of the earlier version runs any more.
do $$
declare
  login regrole;
begin
  for login in select distinct setrole from pg_db_role_setting, unnest(setconfig) as setting
    where setrole in ('veza_ledger_sampler'::regrole, 'veza_ledger_receiver'::regrole, 'veza_ledger'::regrole)
      and setting !~ '^idle_session_timeout='
  loop
    raise warning '% has settings of an earlier version, which change nothing any more', login
      using hint = format('Once this version is deployed: alter role %1$s reset all; alter role %1$s in database %2$I '
        'reset all; then run these two files again.', login, current_database());
  end loop;
end $$;

-- On the first day, says how many rows schema.sql has accepted. It counts only where that runs nothing of the
-- application's: in tables of one schema whose columns have Postgres' own types, and where no function or operator of
-- others is in an index, a constraint or statistics. Until the commit, its locks keep that so, and block no write.
set local search_path = pg_catalog, :schema, pg_temp;
set local statement_timeout = '10s';
do $$
declare
  path constant text := current_setting('search_path'::text);
  ledger constant regclass[] := array[
    -- generated: counted tables
    'orders'::regclass,
    'refunds'::regclass,
    'seller_transfers'::regclass
    -- end of counted tables
  ];
  begun constant timestamptz := clock_timestamp();
  given regclass;
  name text;
  rows bigint;
  found text := '';
  until text;
begin
  set local search_path = pg_catalog, pg_temp;
  select to_char(max(accepted.until), 'YYYY-MM-DD') into until from ledger_metrics.accepted where up_to = now();
  if until is null then
    return;
  end if;
  foreach given in array ledger loop
    execute format('lock table only %s in share update exclusive mode', given);
  end loop;
  if path ~ ',.*,.*,' or exists (
    select from pg_class
    where oid = any (ledger) and (relkind <> 'r' or relhassubclass or relispartition or relrowsecurity)
    union all
    select from pg_attribute join pg_type on pg_type.oid = atttypid
    where attrelid = any (ledger) and typnamespace <> 'pg_catalog'::regnamespace and attname in (
      -- generated: counted columns
      'id', 'status', 'hyperswitch_payment_id', 'created_at', 'updated_at', 'hyperswitch_refund_id'
      -- end of counted columns
    )
    union all
    select from pg_depend
    where refclassid in ('pg_proc'::regclass, 'pg_operator'::regclass) and (
      objid in (select indexrelid from pg_index where indrelid = any (ledger))
      or objid in (select oid from pg_constraint where conrelid = any (ledger))
      or objid in (select oid from pg_statistic_ext where stxrelid = any (ledger)))
  ) then
    raise exception 'not counted';
  end if;
  for name in select "check" from ledger_metrics.accepted where up_to = now() loop
    execute format('select count(*) from ledger_metrics.%I() where accepted_until is not null', name) into rows;
    found := found || case when rows > 0 then format(E'\n  %s of %s', rows, name) else '' end;
  end loop;
  if found = '' then
    raise info E'the first day\nNo check counts a row that was there before this service.';
  else
    raise info E'the first day\nThese rows were there before this service, and fire no alert until %:%', until, found;
  end if;
exception when others or query_canceled then
  if sqlstate = '57014' and clock_timestamp() < begun + interval '9 seconds' then
    raise; -- Somebody has pressed Ctrl-C.
  end if;
  raise info E'the first day\nRows that were there before this service fire no alert until %.\n%', until,
    case when sqlerrm = 'not counted' then 'They are not counted here, since that could run code of the application.'
      else 'To count them here has failed, or took too long.' end
    using hint = E'This lists them, as veza_ledger_oncall, which docs/first-day.md explains:\n'
      '  select * from ledger_metrics.stuck_orders() where accepted_until > now();';
end $$;

-- The membership of the beginning, if there was one.
do $$
declare
  owner name;
begin
  set local search_path = pg_catalog, pg_temp;
  for owner in
    select rolname from pg_roles where oid = any (current_setting('ledger_metrics.member_of')::oid[])
  loop
    execute format('revoke %I from %I', owner, current_user);
  end loop;
end $$;

commit;

\echo 'Committed: the schema ledger_metrics, the logins and their rights.'
