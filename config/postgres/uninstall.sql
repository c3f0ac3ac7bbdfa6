-- Takes back what install.sql made in this database, the totals with it, as far as it is there:
--
--   psql -f config/postgres/uninstall.sql postgres://...
--
-- as a superuser, or as who ran install.sql. To run it again is harmless. A login that another database on the server
-- needs stays, without rights here, and is named: run this there too. If anything of yours needs what is dropped, such
-- as a view of the totals, this stops and names it. A view that you made for the ledger is yours to drop, first.

\set ON_ERROR_STOP on

begin isolation level read committed, read write;
set local search_path = pg_catalog, pg_temp;
set local standard_conforming_strings = on;
set local statement_timeout = '1min';
set local lock_timeout = '2s';
set local idle_in_transaction_session_timeout = '10s'; -- A psql that is cut off leaves no lock behind.
set local client_min_messages = warning;

-- Refuses to act as somebody else, and to drop what somebody else has made.
do $$ begin
  if current_user <> session_user then
    raise exception 'this session acts as %, and has logged in as %', current_user, session_user
      using hint = 'A setting of the database or the login says so. Run this with PGOPTIONS=''-c role=none''.';
  end if;
  if exists (
    select from pg_namespace join pg_roles on pg_roles.oid = nspowner
    where nspname = 'ledger_metrics' and not (rolname = current_user or rolsuper or rolcreaterole)
  ) then
    raise exception 'the schema ledger_metrics belongs to somebody who is no administrator';
  end if;
end $$;

-- By their names, and nothing by cascade: Postgres refuses where something of yours would go with them.
drop view if exists ledger_metrics.amounts_at_risk, ledger_metrics.accepted_now;
drop function if exists
  -- generated: functions
  ledger_metrics.stuck_orders(),
  ledger_metrics.stuck_refunds(),
  ledger_metrics.failed_transfers(),
  ledger_metrics.orphan_refunds(),
  ledger_metrics.pending_reversals(),
  ledger_metrics.failed_orphan_refunds(),
  ledger_metrics.accept(text, text[], text, timestamptz),
  -- end of functions
  ledger_metrics.amounts();
drop table if exists ledger_metrics.deliveries, ledger_metrics.totals, ledger_metrics.stage, ledger_metrics.publisher,
  ledger_metrics.first_day, ledger_metrics.accepted;
drop schema if exists ledger_metrics;

-- The logins, which are ours by their comment, and the clones that AWS' rotation makes of them. `drop owned` takes back
-- what a login was granted here; and, which is undone, its rights to other databases.
do $$
declare
  logins constant name[] := array(
    select made.rolname from pg_roles as ours
      join pg_roles as made on made.oid = ours.oid
        or made.rolname = ours.rolname || '_clone' and pg_has_role(made.oid, ours.oid, 'member')
    where shobj_description(ours.oid, 'pg_authid') = 'a login of veza-ledger-metrics' order by 1);
  login name;
  is_member boolean;
  elsewhere text[];
  command text;
  why text;
begin
  foreach login in array logins loop
    if exists (
      select from pg_shdepend where deptype = 'o' and refclassid = 'pg_authid'::regclass
        and refobjid = quote_ident(login)::regrole
        and dbid in (0, (select oid from pg_database where datname = current_database()))
    ) then
      raise exception '% owns something here, which would go with it', login
        using hint = format('\ddp, \dt and \df show it. If it is needed: reassign owned by %I to ...', login);
    end if;
    begin
      -- Only a member that inherits may take back what a login was granted.
      is_member := pg_has_role(login, 'usage');
      if not is_member then
        execute format('grant %I to %I', login, current_user)
          || case when current_setting('server_version_num')::integer >= 160000 then ' with inherit true' else '' end;
      end if;
      elsewhere := array(
        select format('grant %s on database %I to %I', privilege_type, datname, login)
        from pg_database, aclexplode(datacl) as acl
        where acl.grantee = quote_ident(login)::regrole and datname <> current_database());
      execute format('drop owned by %I', login);
      foreach command in array elsewhere loop
        execute command;
      end loop;
      execute format('alter role %I in database %I reset all', login, current_database());
      why := case
        when elsewhere <> '{}' then 'another database needs it'
        when login like '%\_clone' and to_regrole(left(login, -6)) is not null then 'so does its login'
      end;
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
      raise warning '% stays as it is: %', login, sqlerrm;
    end;
  end loop;
end $$;

commit;

\echo 'Taken back. Whatever a warning above names is still there.'
