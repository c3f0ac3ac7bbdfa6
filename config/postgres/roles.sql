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

-- What is missing, all at once, and the steps that fix it, a line each. Nothing has changed before: `npm run migrate`
-- runs this block ahead of schema.sql. Later, a grant by a login that may not give it would be a mere warning.
do $$
declare
  names text[] := array_remove('{veza_ledger_sampler, veza_ledger_receiver, veza_ledger, veza_ledger_oncall}',
    case when to_regrole('veza_ledger') is null and current_setting('veza_ledger.one_login', true) is distinct from 'on'
      then 'veza_ledger' end);
  readers text[] := '{veza_ledger_sampler, veza_ledger_oncall}';
  -- generated: rights to the ledger
  rights jsonb := '[
    {"role":"veza_ledger_sampler","privilege":"select","table":"orders","columns":["status","hyperswitch_payment_id","created_at"],"optional":["id"]},
    {"role":"veza_ledger_oncall","privilege":"select","table":"orders","columns":["status","hyperswitch_payment_id","created_at"],"optional":["id","updated_at"]},
    {"role":"veza_ledger_sampler","privilege":"select","table":"refunds","columns":["status","hyperswitch_refund_id","created_at"],"optional":["id"]},
    {"role":"veza_ledger_oncall","privilege":"select","table":"refunds","columns":["status","hyperswitch_refund_id","created_at"],"optional":["id","updated_at"]},
    {"role":"veza_ledger_sampler","privilege":"select","table":"seller_transfers","columns":["status","updated_at"],"optional":["id"]},
    {"role":"veza_ledger_oncall","privilege":"select","table":"seller_transfers","columns":["status","updated_at"],"optional":["id","created_at"]},
    {"role":"veza_ledger_sampler","privilege":"select","table":"ledger_metrics_outbox","columns":[],"optional":["created_at","parked_at","sent_at"]},
    {"role":"veza_ledger_oncall","privilege":"select","table":"ledger_metrics_outbox","columns":[],"optional":["created_at","parked_at","sent_at","id","attempts","next_attempt_at","last_error","claimed_until"]}
  ]';
  -- end of rights to the ledger
  tables text[] := array(select distinct "table" from jsonb_to_recordset(rights) as wanted ("table" text, columns text[])
    where columns <> '{}' order by 1);
  version int := current_setting('server_version_num');
  here pg_database := (select pg_database from pg_database where datname = current_database());
  -- By `npm run migrate -- --schema`.
  given text := nullif(current_setting('veza_ledger.schema', true), '');
  chosen text;
  path oid[];
  found oid[];
  missing text[];
  places text[];
  fault text;
  cure text;
  grants text;
  statements text;
begin
  -- A path for this database alone wins.
  select substr(entry, length('search_path=') + 1) into chosen
  from pg_db_role_setting join pg_roles on pg_roles.oid = setrole, unnest(setconfig) as entry
  where rolname = 'veza_ledger_sampler' and setdatabase in (0, here.oid) and entry like 'search_path=%'
  order by setdatabase desc limit 1;
  perform set_config('search_path', coalesce(chosen, quote_ident(given) || ', public',
    nullif(nullif(current_setting('search_path'), ''), '""'), 'public'), true);
  path := array(select oid from
    -- generated: schemas of the search_path
    (
      select pg_namespace.oid, position
      from regexp_matches(current_setting('search_path'), '"(?:[^"]|"")*"|[^", ]+', 'g')
        with ordinality as entries (entry, position)
        join pg_namespace on entry[1] = '"' || replace(nspname, '"', '""') || '"' or lower(entry[1]) = nspname
          or entry[1] in ('$user', '"$user"') and nspname = current_user)
    -- end of schemas of the search_path
    as schemas order by position);

  -- Also in schemas without USAGE, into which to_regclass() does not look.
  select coalesce(array_agg(oid) filter (where oid is not null), '{}'), array_agg(name) filter (where oid is null)
  into found, missing
  from unnest(tables) as name left join lateral (
    select oid from pg_class where relname = name and relkind in ('r', 'p', 'v', 'm', 'f')
      and relnamespace = any (path) order by array_position(path, relnamespace) limit 1
  ) as first on true;
  places := array(
    select distinct nspname from pg_class join pg_namespace on pg_namespace.oid = relnamespace
    where relname = any (coalesce(missing, tables)) and relkind in ('r', 'p', 'v', 'm', 'f')
      and nspname !~ '^(pg_|information_schema$)' order by 1);
  if places = '{}' then
    raise exception 'the database % has no table %', here.datname, array_to_string(missing, ', ') using
      errcode = 'undefined_table', hint = 'it may be the wrong database: name the ledger''s in DATABASE_URL, or '
        || E'migrate the ledger first\nrun it again';
  end if;
  if (select bool_and(relname <> 'deliveries') from pg_class where relnamespace = to_regnamespace('ledger_metrics')) then
    raise exception 'the schema ledger_metrics is there, and is not of this service: it has no table deliveries' using
      errcode = 'duplicate_schema', hint = E'rename your schema: this service makes its own\nrun it again';
  end if;

  if given is not null and not exists (
    select from pg_class where relname = any (tables) and relnamespace = to_regnamespace(quote_ident(given))) then
    fault := format('the schema %I has no table %s', given, array_to_string(tables, ', '));
  elsif given is not null and to_regnamespace(quote_ident(given)) <> all (path) then
    fault := format('veza_ledger_sampler looks for the ledger in %s, and not in %I', chosen, given);
    places := array[given];
  elsif missing is not null then
    fault := format('the search_path, %s, does not lead to the schema %s, which has %s', current_setting('search_path'),
      (select string_agg(quote_ident(place), ' or ') from unnest(places) as place), array_to_string(missing, ', '));
    -- A schema of views that lacks some.
    select string_agg(format('as %I: create view %I.%I as table %s', pg_get_userbyid(relowner), given, relname,
      pg_class.oid::regclass), E'\n') into cure
    from pg_class where given is not null and chosen is null and relname = any (missing)
      and relnamespace = to_regnamespace(quote_ident(places[1])) and cardinality(places) = 1;
  end if;
  if fault is not null then
    cure := coalesce(cure || E'\nrun it again', concat_ws(E'\n',
      case when cardinality(places) > 1 then 'choose a schema, or make a view of them all: docs/what-counts.md' end,
      (select string_agg(case number when 1 then '' else 'or ' end || case
          when chosen is null then 'npm run migrate -- --schema ' || case when place ~ '^\w+$' then place
            else '''' || replace(place, '''', '''\''''') || '''' end
          when to_regnamespace(quote_ident(place)) = any (path) then 'npm run migrate'
          else format(E'as %I: alter role veza_ledger_sampler in database %I set search_path = %s\n%s', current_user,
            here.datname, concat_ws(', ', quote_ident(place), nullif('public', place)),
            case when given <> place then 'npm run migrate' else 'run it again' end)
        end, E'\n' order by number) from unnest(places) with ordinality as each (place, number))));
  end if;
  -- So that their rights are looked at too.
  if missing is not null and cardinality(places) = 1 then
    perform set_config('search_path', format('%s, %I', current_setting('search_path'), places[1]), true);
    found := found || array(select oid from pg_class
      where relname = any (missing) and relnamespace = to_regnamespace(quote_ident(places[1])));
  elsif fault is null then
    select string_agg(distinct format('%s has no column %s', pg_class.oid::regclass, name), ', '),
      E'migrate the ledger first, or let the role read a view: docs/what-counts.md\nrun it again' into fault, cure
    from jsonb_to_recordset(rights) as wanted ("table" text, columns text[]), unnest(columns) as name, pg_class
    where relname = "table" and pg_class.oid = any (found) and not exists (
      select from pg_attribute where attrelid = pg_class.oid and attname = name and not attisdropped);
    cure := case when fault is not null then cure end;
  end if;

  with recursive
  -- generated: rights that are lacking
  named as (
    select wanted.*, found.oid
    from jsonb_to_recordset(rights)
        as wanted (role name, privilege text, "table" text, columns name[], optional name[]),
      lateral (select (
  select pg_class.oid from pg_class join pg_namespace on pg_namespace.oid = relnamespace
    left join (
  select pg_namespace.oid, position
  from regexp_matches(current_setting('search_path'), '"(?:[^"]|"")*"|[^", ]+', 'g')
    with ordinality as entries (entry, position)
    join pg_namespace on entry[1] = '"' || replace(nspname, '"', '""') || '"' or lower(entry[1]) = nspname
      or entry[1] in ('$user', '"$user"') and nspname = session_user) as path on path.oid = relnamespace
  where (nspname || '.' || relname = "table" or relname = "table" and position is not null)
    and relkind in ('r', 'p', 'v', 'm', 'f') order by position limit 1) as oid) as found
    where found.oid is not null
  ),
  asked (role, caller, oid, privilege, attname) as (
    select role, role, oid, privilege, attname from named left join unnest(columns || optional) as attname on true
    union
    select case when asks_as_caller then caller else pg_get_userbyid(relowner) end, caller, attrelid, 'select',
      pg_attribute.attname
    from asked join pg_class as view using (oid) join pg_rewrite on ev_class = view.oid and ev_type = '1'
      join pg_depend on classid = 'pg_rewrite'::regclass and objid = pg_rewrite.oid
        and refclassid = 'pg_class'::regclass
      join pg_attribute on attrelid = refobjid and attnum = refobjsubid and attnum > 0,
      lateral (select exists (select from pg_options_to_table(reloptions)
        where option_name = 'security_invoker' and option_value::boolean) as asks_as_caller) as whose
    where relkind = 'v'
  ),
  needed as (select distinct role, oid, privilege, attname from asked),
  lacking as (
    select role, needed.oid, privilege, attnum, pg_attribute.attname
    from needed left join pg_attribute on attrelid = needed.oid and pg_attribute.attname = needed.attname
        and not attisdropped,
      lateral (select coalesce(to_regrole(quote_ident(role))::oid, 0) as grantee) as who
    where case when needed.attname is null then not has_table_privilege(grantee, needed.oid, privilege)
      else not has_column_privilege(grantee, needed.oid, attnum, privilege) end
  ),
  -- end of rights that are lacking
  ledger as (
    select pg_class.oid, relname, relowner, relnamespace, format('%I.%I', nspname, relname) as name,
      has_table_privilege(pg_class.oid, 'select with grant option') as may_grant
    from pg_class join pg_namespace on pg_namespace.oid = relnamespace
    where pg_class.oid in (select oid from needed) or nspname = 'ledger_metrics' and relkind = 'v'
  ),
  missing (owner, statement, helps_member) as (
    select nspowner, format('grant usage on schema %I to %I with grant option', nspname, current_user), true
    from pg_namespace where oid in (select relnamespace from ledger join named using (oid))
      and not has_schema_privilege(oid, 'usage with grant option')
      -- What all have already is a mere warning, as long as this login has it as well.
      and not (has_schema_privilege(oid, 'usage') and (select bool_and(has_schema_privilege(
        coalesce(to_regrole(reader), 0), pg_namespace.oid, 'usage')) from unnest(readers) as reader))
    union all
    select relowner, format('grant select on %s to %I with grant option', string_agg(name, ', ' order by name),
      current_user), true
    from ledger where not may_grant and (relnamespace = to_regnamespace('ledger_metrics')
      or oid in (select oid from lacking where role = any (readers))) group by relowner
    union all
    -- The owner of a view, who asks for all its readers. A login of the shop's gets no right.
    select relowner, format('grant select (%s) on %s to %I',
      string_agg(quote_ident(attname), ', ' order by attnum), name, role), false
    from lacking join ledger using (oid) where role in (select rolname from pg_roles where not rolcanlogin)
    group by relowner, name, role
    union all
    select here.datdba, format('grant connect on database %I to %I with grant option', here.datname, current_user), true
    where not has_database_privilege(here.oid, 'connect with grant option')
      and not (select bool_and(has_database_privilege(coalesce(to_regrole(name), 0), here.oid, 'connect'))
        from unnest(names) as name)
    union all
    select here.datdba, format('grant create on database %I to %I', here.datname, current_user), true
    where not has_database_privilege(here.oid, 'create')
      and not exists (select from pg_namespace where nspname = 'ledger_metrics')
    union all
    select owner, 'npm run migrate', false from (
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
    from missing, me, pg_roles, lateral (select helps_member
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
  ),
  grants (statement) as (
    select format('grant select (%s) on %s to %I', string_agg(quote_ident(attname), ', ' order by attnum), name, role)
    from needed join pg_attribute as given using (attname) join ledger on attrelid = ledger.oid
    where attrelid = needed.oid and not attisdropped and may_grant and role = any (readers) group by name, role
    union all
    select distinct format('grant usage on schema %s to %s', relnamespace::regnamespace, array_to_string(readers, ', '))
    from ledger join named using (oid)
  )
  select coalesce(
      min(format('as %s: %s', who, statement)) filter (where statement = 'npm run migrate'),
      string_agg(format('as %s: %s', who, statement), E'\n' order by statement, who) filter (where who is not null)
        || case when cure is null then E'\nrun it again' else '' end),
    coalesce(fault, format('%I may not ', current_user) || case
      when makes_roles then 'give the rights that the roles need'
      else 'create roles; run it as a login that may, such as the master user of RDS, or give it what it lacks' end),
    (select string_agg(statement, '; ') from grants)
  into grants, fault, statements from me left join steps on true group by makes_roles;
  cure := concat_ws(E'\n', grants, cure);
  if cure <> '' then
    raise exception '%', fault using errcode = 'insufficient_privilege', hint = cure;
  end if;
  perform set_config('veza_ledger.grants', statements, true);
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
      ('{veza_ledger_sampler, veza_ledger_oncall}', 'default_transaction_read_only', 'on'),
      -- A delivery is answered when it is on the disk, whatever the database's default is.
      ('{veza_ledger_sampler, veza_ledger_receiver, veza_ledger}', 'synchronous_commit', 'on'),
      -- Under a stricter default of the database's, deliveries at the same time would fail each other.
      ('{veza_ledger_sampler, veza_ledger_receiver, veza_ledger}', 'default_transaction_isolation', 'read committed'),
      -- veza_ledger is for both functions in one process: it has the shorter of the time-outs.
      -- generated: time of a count
      ('{veza_ledger_sampler, veza_ledger}', 'statement_timeout', '1500ms'),
      -- end of time of a count
      ('{veza_ledger_receiver}', 'statement_timeout', '3s'),
      ('{veza_ledger_oncall}', 'statement_timeout', '10s'),
      ('{veza_ledger_sampler, veza_ledger}', 'lock_timeout', '500ms'),
      ('{veza_ledger_receiver, veza_ledger_oncall}', 'lock_timeout', '2s'),
      ('{veza_ledger_sampler, veza_ledger_receiver, veza_ledger}', 'idle_in_transaction_session_timeout', '10s'),
      ('{veza_ledger_oncall}', 'idle_in_transaction_session_timeout', '1min'),
      -- A receiver that AWS takes away leaves its connection behind. The role's connection limit is well above the
      -- receiver's concurrency. PostgreSQL 13 has no such setting.
      ('{veza_ledger_receiver, veza_ledger}', 'idle_session_timeout', '1min'),
      -- A policy that hides rows makes a count fail. Otherwise it would be too small, and nobody would know.
      ('{veza_ledger_sampler}', 'row_security', 'off'),
      -- For times without a zone. Go writes them in its process's zone, and in a container that is UTC. The server's
      -- default is the zone of the host on which it was set up.
      ('{veza_ledger_sampler}', 'timezone', 'UTC')
    ) as given (roles, setting, value)
    join pg_roles on regexp_replace(rolname, '_clone$', '') = any (given.roles::text[])
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
  -- generated: tables of the checks
  tables text[] := '{orders, refunds, seller_transfers}';
  -- end of tables of the checks
  place text := (select string_agg(quote_ident(nspname), ', ' order by array_position(current_schemas(false), nspname))
    from pg_namespace where nspname <> 'public'
      and oid in (select relnamespace from pg_class, unnest(tables) as name where pg_class.oid = to_regclass(name)));
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

-- CONNECT explicitly, for a database that takes it from PUBLIC. Then, where the first block has found them, the columns
-- that exist. Below a view that asks as its caller, they are what the view reads. Add the columns in which your schema
-- keeps amounts and error texts. Where the outbox is in this database, run this file again after outbox.sql.
do $$
begin
  execute format('grant connect on database %I to veza_ledger_sampler, veza_ledger_receiver, veza_ledger_oncall',
    current_database());
  execute current_setting('veza_ledger.grants');
end
$$;

-- The receiver sees its own schema only. People on call read what the sampler counts and what the runbook's queries
-- read, and accept rows; they may no more. A person's own login can have these rights too, by
-- `grant veza_ledger_oncall to alice`, but then not the role's settings.
grant usage on schema ledger_metrics to veza_ledger_sampler, veza_ledger_receiver, veza_ledger_oncall;
-- generated: rights to ledger_metrics
grant select on ledger_metrics.totals to veza_ledger_sampler;
grant select on ledger_metrics.amounts_at_risk to veza_ledger_sampler;
grant select on ledger_metrics.accepted to veza_ledger_sampler;
grant select on ledger_metrics.totals to veza_ledger_oncall;
grant select on ledger_metrics.amounts_at_risk to veza_ledger_oncall;
grant select, insert ("check", id, until, why), delete on ledger_metrics.accepted to veza_ledger_oncall;
grant select, insert, delete, update (attempts) on ledger_metrics.deliveries to veza_ledger_receiver;
grant select, insert, update (value, ahead) on ledger_metrics.totals to veza_ledger_receiver;
grant select on ledger_metrics.deliveries to veza_ledger_oncall;
-- end of rights to ledger_metrics

-- To see who holds a lock. Not every login may grant this; without it, the lock shows and its holder's query does not.
do $$
begin
  grant pg_read_all_stats to veza_ledger_oncall;
exception
  when insufficient_privilege then raise notice 'veza_ledger_oncall will not see the queries of others';
end
$$;

commit;
