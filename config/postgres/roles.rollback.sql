-- Takes back what schema.sql and roles.sql made in this database, the totals with it, as far as it is there:
--
--   psql -v ON_ERROR_STOP=1 -f config/postgres/roles.rollback.sql postgres://...
--
-- as a superuser, or as who ran them. To run it again is harmless. A login that another database on the server needs
-- stays, without rights here, and is named: run this there too. If anything of yours needs what is dropped, such as a
-- view of the totals, this stops and names it. A view that you made for the ledger is yours to drop, first.

\set ON_ERROR_STOP on

begin isolation level read committed, read write;
set local search_path = pg_catalog, pg_temp;
set local standard_conforming_strings = on;
set local statement_timeout = '1min';
set local lock_timeout = '2s';
set local idle_in_transaction_session_timeout = '10s'; -- A psql that is cut off leaves no lock behind.
set local client_min_messages = warning;

-- Refuses to act as somebody else, and to drop a ledger_metrics that no administrator has made.
do $$
declare
  problem text;
begin
  if current_setting('transaction_timeout', true) is not null then -- From PostgreSQL 17 on.
    perform set_config('transaction_timeout', '0', true);
  end if;
  if current_user <> session_user then
    raise exception 'this session acts as %, and has logged in as %', current_user, session_user
      using hint = 'A setting of the database or the login says so. Run this with PGOPTIONS=''-c role=none''.';
  end if;
  select pg_get_userbyid(nspowner) into problem from pg_namespace join pg_roles on pg_roles.oid = nspowner
  where nspname = 'ledger_metrics' and not (rolname = current_user or rolsuper or rolcreaterole);
  if problem is not null then
    raise exception 'the schema ledger_metrics belongs to %, who is no administrator', problem;
  end if;
end $$;

-- Stops before it takes anything with it that these files did not make: names are given, and nothing is dropped by
-- cascade. What Postgres alone knows of, it names itself.
do $$
declare
  ours constant oid := to_regnamespace('ledger_metrics')::oid;
  made constant name[] := array['deliveries', 'totals', 'stage', 'publisher', 'accepted', 'amounts_at_risk'];
  made_by constant oid[] := array(
    select nspowner from pg_namespace where oid = ours
    union all select oid from pg_roles where rolsuper or rolname in (current_user, 'veza_ledger_amounts')
  );
  problem text;
  command text;
begin
  select string_agg(distinct format('%s of %s', what, pg_get_userbyid(owner)), ', ') into problem
  from (
    select oid::regclass::text, relowner from pg_class
    where relnamespace = ours and relkind not in ('i', 't') and (relname <> all (made) or relowner <> all (made_by))
    union all select oid::regprocedure::text, proowner from pg_proc
    where pronamespace = ours and proowner <> all (made_by)
    union all select oid::regtype::text, typowner from pg_type
    where typnamespace = ours and typrelid = 0 and typelem = 0
    union all
    select reader.oid::regclass::text, reader.relowner
    from pg_depend join pg_rewrite on pg_rewrite.oid = objid join pg_class as reader on reader.oid = ev_class
    where classid = 'pg_rewrite'::regclass and reader.relnamespace <> ours and (
      refclassid = 'pg_class'::regclass and refobjid in (select oid from pg_class where relnamespace = ours)
      or refclassid = 'pg_proc'::regclass and refobjid in (select oid from pg_proc where pronamespace = ours))
  ) as found (what, owner);
  if problem is not null then
    raise exception 'not made by schema.sql and roles.sql, and would go with them: %', problem
      using hint = 'Drop it, or move it to another schema, and run this again.';
  end if;
  for command in
    select format('drop view %s', oid::regclass) from pg_class where relnamespace = ours and relkind = 'v'
    union all select format('drop function %s', oid::regprocedure) from pg_proc where pronamespace = ours
    union all select format('drop table %s', oid::regclass) from pg_class where relnamespace = ours and relkind = 'r'
    union all select 'drop schema ledger_metrics' where ours is not null
  loop
    execute command;
  end loop;
  select string_agg(format('%s of %s', pg_describe_object(classid, objid, objsubid), rolname), ', ') into problem
  from pg_shdepend join pg_roles on refclassid = 'pg_authid'::regclass and refobjid = pg_roles.oid
  where deptype = 'o' and dbid in (0, (select oid from pg_database where datname = current_database()))
    and rolname ~ '^veza_ledger(_sampler|_receiver|_oncall|_amounts)?(_clone)?$';
  if problem is not null then
    raise exception 'of another application: %', problem
      using hint = 'The roles of this service own nothing else. Rename that role, or give what it owns to another.';
  end if;
end $$;

do $$
declare
  login name;
  is_member boolean;
  elsewhere text[];
  command text;
  why text;
begin
  for login in select rolname from pg_roles
    where rolname ~ '^veza_ledger(_sampler|_receiver|_oncall|_amounts)?(_clone)?$' order by rolname
  loop
    begin
      -- Only a member that inherits may drop what a login owns and was granted.
      is_member := pg_has_role(login, 'usage');
      if not is_member then
        execute format('grant %I to %I', login, current_user)
          || case when current_setting('server_version_num')::integer >= 160000 then ' with inherit true' else '' end;
      end if;
      elsewhere := array(
        select format('grant %s on database %I to %I%s', privilege_type, datname, login,
          case when is_grantable then ' with grant option' end)
        from pg_database, aclexplode(datacl) as acl
        where acl.grantee = to_regrole(login)::oid and datname <> current_database()
      );
      why := case
        when cardinality(elsewhere) > 0 then 'it has rights to ' || (
          select string_agg(distinct datname, ', ') from pg_database, aclexplode(datacl) as acl
          where acl.grantee = to_regrole(login)::oid and datname <> current_database())
        -- The role that it is a clone of had its turn before, and stays.
        when login ~ '_clone$' and to_regrole(regexp_replace(login, '_clone$', '')) is not null then 'so does its role'
      end;
      execute format('drop owned by %I', login);
      -- That has also taken the rights to other databases.
      foreach command in array elsewhere loop
        execute command;
      end loop;
      execute format('alter role %I in database %I reset all', login, current_database());
      if why is null then
        begin
          execute format('drop role %I', login);
        exception when dependent_objects_still_exist then
          get stacked diagnostics why = pg_exception_detail;
        end;
      end if;
      if why is not null then
        raise warning '% stays, without rights here: %', login, why;
        if not is_member then
          execute format('revoke %I from %I', login, current_user);
        end if;
      end if;
    exception when insufficient_privilege then
      get stacked diagnostics why = message_text;
      raise warning '% stays as it is: %', login, why;
    end;
  end loop;
end $$;

commit;

\echo 'Taken back. Whatever a warning above names is still there.'
