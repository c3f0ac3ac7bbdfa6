-- Takes roles.sql back: the roles' rights and settings in this database, then the roles. Where they have rights in
-- another database of this server, as where that has a ledger too, they stay, and a notice says so. Run it before
-- schema.rollback.sql, as the login that ran roles.sql, with the rights that it had then. Safe to run again.

\set ON_ERROR_STOP on

begin;

do $$
declare
  here pg_database := (select pg_database from pg_database where datname = current_database());
  logins oid[] := array(select oid from pg_roles where rolname ~ '^veza_ledger(_sampler|_receiver|_oncall)?(_clone)?$');
  names text := (select string_agg(quote_ident(rolname), ', ') from pg_roles where oid = any (logins));
  statement text;
  rest text;
begin
  for statement in
    -- Revoking a right to a table revokes the right to its columns too.
    select distinct format('revoke all on %s from %s', case classid
        when 'pg_class'::regclass then objid::regclass::text
        when 'pg_namespace'::regclass then 'schema ' || objid::regnamespace
        when 'pg_database'::regclass then format('database %I', here.datname)
      end, names)
    from pg_shdepend
    where refclassid = 'pg_authid'::regclass and refobjid = any (logins)
      and (dbid = here.oid and classid in ('pg_class'::regclass, 'pg_namespace'::regclass)
        or classid = 'pg_database'::regclass and objid = here.oid)
    union all
    select format('alter role %I in database %I reset all', rolname, here.datname) from pg_roles where oid = any (logins)
  loop
    begin
      execute statement;
    exception when insufficient_privilege then null; -- What is left is told below, all at once.
    end;
  end loop;

  select string_agg(distinct pg_describe_object(classid, objid, 0), ', ') into rest from pg_shdepend
  where refclassid = 'pg_authid'::regclass and refobjid = any (logins)
    and (dbid = here.oid or classid = 'pg_database'::regclass and objid = here.oid);
  if rest is not null then
    raise exception '% could not take all rights back: %', current_user, rest using
      errcode = 'insufficient_privilege',
      hint = 'Run it as the login that ran roles.sql, once more a member of the owner of the tables.';
  end if;

  select string_agg(distinct datname, ', ') into rest
  from pg_shdepend join pg_database
    on pg_database.oid = case classid when 'pg_database'::regclass then objid else dbid end
  where refclassid = 'pg_authid'::regclass and refobjid = any (logins);
  if rest is not null then
    raise notice 'the roles stay, since they have rights in another database: %', rest;
  elsif names is not null then
    execute 'drop role ' || names;
  end if;
end
$$;

commit;
