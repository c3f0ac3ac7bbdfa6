-- A role for each function with no more than it needs, and veza_ledger_oncall for people. `npm run migrate` runs this
-- file after schema.sql, sets passwords, and tries the roles. By hand, in the ledger's database, as a login that may
-- create roles:
--   psql "$DATABASE_URL" -f config/postgres/schema.sql -f config/postgres/roles.sql
-- Where both functions share a login, it makes veza_ledger too: with PGOPTIONS='-c veza_ledger.one_login=on'.
-- Safe to run again. It finds the ledger where veza_ledger_sampler does: by the role's own search_path or, at first, by
-- yours (PGOPTIONS='-c search_path=veza,public'). It sets no password: \password veza_ledger_sampler in psql does.
--
-- How the ledger is read (search_path, timezone and the like) is said once, on veza_ledger_sampler. Run this file again
-- after a change there: it hands the settings on to the other roles. Run it again after AWS' rotation with alternating
-- users, too. A login such as veza_ledger_sampler_clone inherits the grants and none of the settings.
--
-- The time-outs belong to the roles because poolers refuse them as start-up parameters. The sampler's counts run one
-- after the other: statement_timeout times their number fits into its 8 s for Postgres. Evidence comes behind them.
-- `npm run generate` writes what depends on the checks, between marks.

\set ON_ERROR_STOP on

begin;

-- What is missing, all at once, with the statements that fix it. Nothing has changed before: `npm run migrate` runs
-- this block ahead of schema.sql. Later, a grant by a login that may not give it would be a mere warning in Postgres.
do $$
declare
  names text[] := array_remove('{veza_ledger_sampler, veza_ledger_receiver, veza_ledger, veza_ledger_oncall}',
    case when to_regrole('veza_ledger') is null and current_setting('veza_ledger.one_login', true) is distinct from 'on'
      then 'veza_ledger' end);
  readers text[] := '{veza_ledger_sampler, veza_ledger_oncall}';
  tables text[] := '{orders, refunds, seller_transfers, ledger_metrics_outbox}';
  optional text[] := '{ledger_metrics_outbox}';
  version int := current_setting('server_version_num');
  here pg_database := (select pg_database from pg_database where datname = current_database());
  -- By `npm run migrate -- --schema`, or by `set`.
  given text := (select trim(both '" ' from split_part(setting, ',', 1)) from pg_settings
    where name = 'search_path' and source = 'session');
  chosen text;
  missing text[];
  found oid[];
  places text;
  fault text;
  cure text;
  grants text;
begin
  -- A path for this database alone wins.
  select substr(entry, length('search_path=') + 1) into chosen
  from pg_db_role_setting join pg_roles on pg_roles.oid = setrole, unnest(setconfig) as entry
  where rolname = 'veza_ledger_sampler' and setdatabase in (0, here.oid) and entry like 'search_path=%'
  order by setdatabase desc limit 1;
  if chosen is not null
    and given <> all (select trim(both '" ' from entry) from unnest(string_to_array(chosen, ',')) as entry) then
    raise exception 'veza_ledger_sampler looks for the ledger in %, and not in %', chosen, given using
      hint = format('as %s: alter role veza_ledger_sampler in database %I set search_path = %I, public',
        current_user, here.datname, given);
  end if;
  perform set_config('search_path', chosen, true) where chosen is not null;

  -- Also in schemas without USAGE, into which to_regclass() does not look.
  select array_agg(oid), array_agg(name) filter (where oid is null and name <> all (optional)) into found, missing
  from unnest(tables) as name left join lateral (
    select pg_class.oid from pg_class join pg_namespace on pg_namespace.oid = relnamespace
      join unnest(string_to_array(current_setting('search_path'), ',')) with ordinality as path (entry, position)
        on nspname = replace(trim(both '" ' from entry), '$user', current_user)
    where relname = name and relkind in ('r', 'p', 'v', 'm', 'f') order by position limit 1
  ) as first on true;
  if missing is not null then
    select string_agg(distinct quote_ident(nspname), ' or '),
      case count(distinct nspname) when 1 then found || array_agg(pg_class.oid) else found end into places, found
    from pg_class join pg_namespace on pg_namespace.oid = relnamespace
    where relname = any (missing) and relkind in ('r', 'p', 'v', 'm', 'f') and nspname !~ '^(pg_|information_schema$)';
    if places is null then
      raise exception 'the database % has no table %', here.datname, array_to_string(missing, ', ') using
        errcode = 'undefined_table',
        hint = 'it may be the wrong database: name the ledger''s in DATABASE_URL, or migrate the ledger first';
    end if;
    fault := format('the search_path, %s, does not lead to the schema %s, which has %s',
      current_setting('search_path'), places, array_to_string(missing, ', '));
    cure := case when places ~ ' or ' then format('choose %s, or make a view of them all: docs/what-counts.md; ', places)
        else '' end
      || (select string_agg(case
          when chosen is null then format('npm run migrate -- --schema %s', replace(place, '"', ''))
          else format('as %s: alter role veza_ledger_sampler in database %I set search_path = %s, public', current_user,
            here.datname, place)
        end, ' or ') from unnest(string_to_array(places, ' or ')) as place);
  end if;

  with ledger as (
    select pg_class.oid, relowner, relnamespace, format('%I.%I', nspname, relname) as name
    from pg_class join pg_namespace on pg_namespace.oid = relnamespace
    where pg_class.oid = any (found) or nspname = 'ledger_metrics' and relkind = 'v'
  ),
  lacking (owner, statement) as (
    select nspowner, format('grant usage on schema %I to %I with grant option', nspname, current_user)
    from pg_namespace where oid in (select relnamespace from ledger) and nspname <> 'ledger_metrics'
      and not has_schema_privilege(oid, 'usage with grant option')
      -- What all have already is a mere warning, as long as this login has it as well.
      and not (has_schema_privilege(oid, 'usage') and (select bool_and(has_schema_privilege(
        coalesce(to_regrole(reader), 0), pg_namespace.oid, 'usage')) from unnest(readers) as reader))
    union all
    select relowner, format('grant select on %s to %I with grant option', string_agg(name, ', ' order by name),
      current_user)
    from ledger where not has_table_privilege(oid, 'select with grant option') group by relowner
    union all
    select here.datdba, format('grant connect on database %I to %I with grant option', here.datname, current_user)
    where not has_database_privilege(here.oid, 'connect with grant option')
      and not (select bool_and(has_database_privilege(coalesce(to_regrole(name), 0), here.oid, 'connect'))
        from unnest(names) as name)
    union all
    select here.datdba, format('grant create on database %I to %I', here.datname, current_user)
    where not has_database_privilege(here.oid, 'create')
      and not exists (select from pg_namespace where nspname = 'ledger_metrics')
    union all
    select owner, 'npm run migrate' from (
      select nspowner from pg_namespace where nspname = 'ledger_metrics'
      union select relowner from pg_class join pg_namespace on pg_namespace.oid = relnamespace
      where nspname = 'ledger_metrics' and relkind <> 'v'
    ) as made (owner) where not pg_has_role(owner, 'usage')
  ),
  me as (select rolcreaterole or rolsuper as makes_roles from pg_roles where rolname = current_user),
  steps (who, statement) as (
    select distinct
      case when may_join then current_user else rolname end,
      case when may_join then format('grant %I to %I', rolname, current_user) else statement end
    from lacking, me, pg_roles, lateral (select statement <> 'npm run migrate'
      and (pg_has_role(pg_roles.oid, 'usage with admin option')
        or (version < 160000 and makes_roles and not rolsuper)) as may_join) as helps
    -- The owner of a database is the only member of pg_database_owner, and nobody can join it.
    where pg_roles.oid = case owner::regrole::text when 'pg_database_owner' then here.datdba else owner end
    union all
    select 'a superuser', format('alter role %I createrole', current_user) from me where not makes_roles
    union all
    -- From PostgreSQL 16 on, CREATEROLE is a right to one's own roles only.
    select maker, format('grant %s to %I with admin option', string_agg(quote_ident(rolname), ', ' order by rolname),
      current_user)
    from (
      select rolname, coalesce((
        select helper.rolname from pg_auth_members join pg_roles as helper on helper.oid = member
        where roleid = pg_roles.oid and admin_option order by member limit 1), 'a superuser') as maker
      from pg_roles where regexp_replace(rolname, '_clone$', '') = any (names)
        and version >= 160000 and not pg_has_role(pg_roles.oid, 'usage with admin option')
    ) as made group by maker
  )
  select coalesce(
      min(format('as %s: %s', who, statement)) filter (where statement = 'npm run migrate'),
      string_agg(format('as %s: %s', who, statement), '; ' order by statement, who) filter (where who is not null)),
    coalesce(fault, format('%I may not ', current_user) || case
      when makes_roles then 'give the rights that the roles need'
      else 'create roles; run it as a login that may, such as the master user of RDS, or give it what it lacks' end)
  into grants, fault from me left join steps on true group by makes_roles;
  cure := concat_ws('; ', grants, cure);
  if cure <> '' then
    raise exception '%', fault using errcode = 'insufficient_privilege', hint = cure;
  end if;
end
$$;

-- From here on, something changes.
do $$
declare
  login text;
  setting text;
  value text;
begin
  if not exists (select from pg_roles where rolname = 'veza_ledger_sampler') then
    create role veza_ledger_sampler login connection limit 3;
  end if;
  if not exists (select from pg_roles where rolname = 'veza_ledger_receiver') then
    create role veza_ledger_receiver login connection limit 20;
  end if;
  if current_setting('veza_ledger.one_login', true) = 'on' and to_regrole('veza_ledger') is null then
    create role veza_ledger login connection limit 23;
  end if;
  if to_regrole('veza_ledger') is not null then
    grant veza_ledger_sampler, veza_ledger_receiver to veza_ledger;
  end if;
  if not exists (select from pg_roles where rolname = 'veza_ledger_oncall') then
    create role veza_ledger_oncall login connection limit 10;
  end if;

  for login, setting, value in
    select rolname, given.setting, given.value
    from (values
      ('veza_ledger_sampler', 'default_transaction_read_only', 'on'),
      ('veza_ledger_sampler', 'synchronous_commit', 'on'),
      ('veza_ledger_sampler', 'default_transaction_isolation', 'read committed'),
      -- generated: time of the sampler
      ('veza_ledger_sampler', 'statement_timeout', '1500ms'),
      -- end of time of the sampler
      ('veza_ledger_sampler', 'lock_timeout', '500ms'),
      ('veza_ledger_sampler', 'idle_in_transaction_session_timeout', '10s'),
      -- A policy that hides rows makes a count fail. Otherwise it would be too small, and nobody would know.
      ('veza_ledger_sampler', 'row_security', 'off'),
      -- For times without a zone. Go writes them in its process's zone, and in a container that is UTC. The server's
      -- default is the zone of the host on which it was set up.
      ('veza_ledger_sampler', 'timezone', 'UTC'),

      -- A delivery is answered when it is on the disk, whatever the database's default is.
      ('veza_ledger_receiver', 'synchronous_commit', 'on'),
      -- Under a stricter default of the database's, deliveries at the same time would fail each other.
      ('veza_ledger_receiver', 'default_transaction_isolation', 'read committed'),
      ('veza_ledger_receiver', 'statement_timeout', '3s'),
      ('veza_ledger_receiver', 'lock_timeout', '2s'),
      ('veza_ledger_receiver', 'idle_in_transaction_session_timeout', '10s'),
      -- A receiver that AWS takes away leaves its connection behind. The role's connection limit is well above the
      -- receiver's concurrency. PostgreSQL 13 has no such setting.
      ('veza_ledger_receiver', 'idle_session_timeout', '1min'),

      -- For both functions in one process: what either of the two needs, and the shorter of the time-outs.
      ('veza_ledger', 'synchronous_commit', 'on'),
      ('veza_ledger', 'default_transaction_isolation', 'read committed'),
      -- generated: time of both functions
      ('veza_ledger', 'statement_timeout', '1500ms'),
      -- end of time of both functions
      ('veza_ledger', 'lock_timeout', '500ms'),
      ('veza_ledger', 'idle_in_transaction_session_timeout', '10s'),
      ('veza_ledger', 'idle_session_timeout', '1min'),

      ('veza_ledger_oncall', 'default_transaction_read_only', 'on'),
      ('veza_ledger_oncall', 'statement_timeout', '10s'),
      ('veza_ledger_oncall', 'lock_timeout', '2s'),
      ('veza_ledger_oncall', 'idle_in_transaction_session_timeout', '1min')
    ) as given (role, setting, value)
    join pg_roles on rolname in (given.role, given.role || '_clone')
    where exists (select from pg_settings where lower(name) = given.setting)
      -- A zone that somebody has chosen stays.
      and not (given.setting = 'timezone' and exists (
        select from pg_db_role_setting, unnest(setconfig) as chosen
        where setrole = pg_roles.oid and chosen ilike 'timezone=%'
          and setdatabase in (0, (select oid from pg_database where datname = current_database()))))
  loop
    execute format('alter role %I set %I = %L', login, setting, value);
    -- A setting for this database alone would win.
    if setting <> 'timezone' then
      execute format('alter role %I in database %I reset %I', login, current_database(), setting);
    end if;
  end loop;
end
$$;

-- So that the role finds what this session has found.
do $$
declare
  place text := (select string_agg(distinct quote_ident(nspname), ', ')
    from pg_class join pg_namespace on pg_namespace.oid = relnamespace
    where pg_class.oid in (to_regclass('orders'), to_regclass('refunds'), to_regclass('seller_transfers'))
      and nspname <> 'public');
begin
  if place is not null and not exists (
    select from pg_db_role_setting, unnest(setconfig) as entry
    where setrole = 'veza_ledger_sampler'::regrole and entry like 'search_path=%'
      and setdatabase in (0, (select oid from pg_database where datname = current_database()))
  ) then
    perform set_config('search_path', place || ', public', true);
    execute format('alter role veza_ledger_sampler in database %I set search_path from current', current_database());
  end if;
end
$$;

-- How the ledger is read, from veza_ledger_sampler to the others: each setting of it but its limits.
do $$
declare
  limits text[] := '{default_transaction_read_only, default_transaction_isolation, synchronous_commit, statement_timeout,
    lock_timeout, idle_in_transaction_session_timeout, idle_session_timeout, transaction_timeout, role}';
  path text := current_setting('search_path');
  entry record;
begin
  for entry in
    with settings as (
      select setrole, setdatabase, split_part(config, '=', 1) as name, substr(config, strpos(config, '=') + 1) as value
      from pg_db_role_setting, unnest(setconfig) as config
      where setdatabase in (0, (select oid from pg_database where datname = current_database()))
        and split_part(config, '=', 1) <> all (limits)
    ),
    ours as (select * from settings where setrole = 'veza_ledger_sampler'::regrole),
    others as (
      select oid from pg_roles
      where rolname in ('veza_ledger_sampler_clone', 'veza_ledger', 'veza_ledger_clone', 'veza_ledger_oncall')
    )
    select format('alter role %s', others.oid::regrole)
        || case setdatabase when 0 then '' else format(' in database %I', current_database()) end as alter_role,
      name, value
    from others, ours
    union all
    select format('alter role %s', theirs.setrole::regrole)
        || case setdatabase when 0 then '' else format(' in database %I', current_database()) end,
      name, null
    from settings as theirs join others on others.oid = setrole
    where (name in ('search_path', 'TimeZone') or name like '%.%')
      and not exists (select from ours where (ours.setdatabase, ours.name) = (theirs.setdatabase, theirs.name))
  loop
    if entry.value is null then
      execute format('%s reset %I', entry.alter_role, entry.name);
    elsif entry.name = 'search_path' then
      perform set_config('search_path', entry.value, true); -- As a literal, a list would become one name.
      execute format('%s set search_path from current', entry.alter_role);
    else
      execute format('%s set %I = %L', entry.alter_role, entry.name, entry.value);
    end if;
  end loop;
  perform set_config('search_path', path, true);
end
$$;

-- CONNECT and USAGE explicitly, for a database that takes them from PUBLIC. The sampler and people on call use the
-- ledger's schema.
do $$
declare
  name text;
begin
  execute format('grant connect on database %I to veza_ledger_sampler, veza_ledger_receiver, veza_ledger_oncall',
    current_database());
  for name in
    select distinct relnamespace::regnamespace from pg_class
    where oid in (to_regclass('orders'), to_regclass('refunds'), to_regclass('seller_transfers'))
  loop
    execute format('grant usage on schema %s to veza_ledger_sampler, veza_ledger_oncall', name);
  end loop;
end
$$;

-- The sampler reads the columns that the checks need, and the totals.
-- generated: columns that checks read
grant select (status, hyperswitch_payment_id, created_at) on orders to veza_ledger_sampler;
grant select (status, hyperswitch_refund_id, created_at) on refunds to veza_ledger_sampler;
grant select (status, updated_at) on seller_transfers to veza_ledger_sampler;
-- end of columns that checks read
grant usage on schema ledger_metrics to veza_ledger_sampler, veza_ledger_receiver;
grant select on ledger_metrics.totals to veza_ledger_sampler;
grant select on ledger_metrics.amounts_at_risk, ledger_metrics.accepted to veza_ledger_sampler;

-- The receiver sees its own schema only. Deleting is for deliveries that are past their 14 days.
grant select, insert, update (attempts), delete on ledger_metrics.deliveries to veza_ledger_receiver;
grant select, insert, update (value, ahead) on ledger_metrics.totals to veza_ledger_receiver;

-- People on call read what the runbook's queries read, and accept rows; they may no more. A person's own login can have these rights too, by
-- `grant veza_ledger_oncall to alice`, but then not the role's settings.
-- Add the columns in which your schema keeps amounts and error texts.
grant usage on schema ledger_metrics to veza_ledger_oncall;
grant select on ledger_metrics.deliveries, ledger_metrics.totals to veza_ledger_oncall;
grant select, insert ("check", id, until, why), delete on ledger_metrics.accepted to veza_ledger_oncall;
-- Each by itself: a ledger without one of these columns keeps the rest. Counting needs none of them. Accepted rows need
-- `id`, and the runbook needs the others; `npm run migrate` says what is missing.
do $$
begin
  -- generated: columns that people read
  begin
    grant select (id) on orders to veza_ledger_sampler;
  exception
    when undefined_column then raise warning '%: change roles.sql and the runbook, or a view', sqlerrm;
  end;
  begin
    grant select (id, status, hyperswitch_payment_id, created_at, updated_at) on orders to veza_ledger_oncall;
  exception
    when undefined_column then raise warning '%: change roles.sql and the runbook, or a view', sqlerrm;
  end;
  begin
    grant select (id) on refunds to veza_ledger_sampler;
  exception
    when undefined_column then raise warning '%: change roles.sql and the runbook, or a view', sqlerrm;
  end;
  begin
    grant select (id, status, hyperswitch_refund_id, created_at, updated_at) on refunds to veza_ledger_oncall;
  exception
    when undefined_column then raise warning '%: change roles.sql and the runbook, or a view', sqlerrm;
  end;
  begin
    grant select (id) on seller_transfers to veza_ledger_sampler;
  exception
    when undefined_column then raise warning '%: change roles.sql and the runbook, or a view', sqlerrm;
  end;
  begin
    grant select (id, status, created_at, updated_at) on seller_transfers to veza_ledger_oncall;
  exception
    when undefined_column then raise warning '%: change roles.sql and the runbook, or a view', sqlerrm;
  end;
  -- end of columns that people read
end
$$;

-- Where the reconciler's outbox is in this database, its rows are counted. Run this file again after outbox.sql.
do $$
declare
  columns constant text := 'id, created_at, attempts, next_attempt_at, last_error, parked_at, sent_at, claimed_until';
begin
  if to_regclass('ledger_metrics_outbox') is not null then
    grant select (created_at, parked_at, sent_at) on ledger_metrics_outbox to veza_ledger_sampler;
    execute format('grant select (%s) on ledger_metrics_outbox to veza_ledger_oncall', columns);
  end if;
end
$$;

-- To see who holds a lock. Not every login may grant this; without it, the lock shows and its holder's query does not.
do $$
begin
  grant pg_read_all_stats to veza_ledger_oncall;
exception
  when insufficient_privilege then raise notice 'veza_ledger_oncall will not see the queries of others';
end
$$;

commit;
