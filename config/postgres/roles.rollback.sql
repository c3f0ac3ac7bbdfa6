-- Takes back what schema.sql and roles.sql made in this database, the totals with it, as far as it is there:
--
--   psql -v ON_ERROR_STOP=1 -f config/postgres/roles.rollback.sql postgres://...
--
-- as a superuser, or as who ran them. To run it again is harmless. A login that another database on the server needs
-- stays, without rights here, and is named: run this there too. A view that you made for the ledger is yours to drop,
-- first.

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
  if current_user <> session_user then
    raise exception 'this session acts as %, and has logged in as %', current_user, session_user
      using hint = 'A setting of the database or the login says so. Run this with PGOPTIONS=''-c role=none''.';
  end if;
  select pg_get_userbyid(nspowner) into problem from pg_namespace join pg_roles on pg_roles.oid = nspowner
  where nspname = 'ledger_metrics' and not (rolname = current_user or rolsuper or rolcreaterole);
  if problem is not null then
    raise exception 'the schema ledger_metrics belongs to %, who is no administrator', problem;
  end if;
  select string_agg(distinct rolname, ', ') into problem
  from pg_shdepend join pg_roles on refclassid = 'pg_authid'::regclass and refobjid = pg_roles.oid
  where deptype = 'o' and dbid in (0, (select oid from pg_database where datname = current_database()))
    and rolname ~ '^veza_ledger(_sampler|_receiver|_oncall)?(_clone)?$';
  if problem is not null then
    raise exception 'of another application, since they own something here: %', problem
      using hint = 'The logins of this service own nothing. Rename that role.';
  end if;
end $$;

drop schema if exists ledger_metrics cascade;

do $$
declare
  login name;
  is_member boolean;
  elsewhere name[];
  other name;
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
        select datname from pg_database, aclexplode(datacl) as acl
        where acl.grantee = to_regrole(login)::oid and privilege_type = 'CONNECT' and datname <> current_database()
      );
      why := case
        when cardinality(elsewhere) > 0 then format('it may connect to %s', array_to_string(elsewhere, ', '))
        -- The role that it is a clone of had its turn before, and stays.
        when login ~ '_clone$' and to_regrole(regexp_replace(login, '_clone$', '')) is not null then 'so does its role'
      end;
      execute format('drop owned by %I', login);
      -- That has also taken the rights to connect to other databases.
      foreach other in array elsewhere loop
        execute format('grant connect on database %I to %I', other, login);
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
