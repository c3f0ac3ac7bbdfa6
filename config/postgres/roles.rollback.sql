-- Takes roles.sql back: the grants in this database, then the roles. Run it before schema.rollback.sql.

begin;

do $$
begin
  if exists (select from pg_roles where rolname = 'veza_ledger_sampler') then
    drop owned by veza_ledger_sampler;
    drop role veza_ledger_sampler;
  end if;
  if exists (select from pg_roles where rolname = 'veza_ledger_receiver') then
    drop owned by veza_ledger_receiver;
    drop role veza_ledger_receiver;
  end if;
end
$$;

commit;
