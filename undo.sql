begin isolation level read committed read write;
set local search_path = pg_catalog, pg_temp;
set local standard_conforming_strings = on;
set local lock_timeout = '1s'; -- Deliveries would wait as long.

-- What takes it back, and the totals with it
revoke all on database prod from veza_ledger_sampler, veza_ledger_receiver, veza_ledger_oncall, veza_ledger;
revoke all on schema veza from veza_ledger_sampler, veza_ledger_receiver, veza_ledger_oncall, veza_ledger;
revoke all on veza.orders from veza_ledger_sampler, veza_ledger_receiver, veza_ledger_oncall, veza_ledger;
revoke all on veza.refunds from veza_ledger_sampler, veza_ledger_receiver, veza_ledger_oncall, veza_ledger;
revoke all on veza.seller_transfers from veza_ledger_sampler, veza_ledger_receiver, veza_ledger_oncall, veza_ledger;
drop schema ledger_metrics cascade;
alter role veza_ledger_sampler in database prod reset all;
alter role veza_ledger_receiver in database prod reset all;
alter role veza_ledger_oncall in database prod reset all;
alter role veza_ledger in database prod reset all;
drop role veza_ledger_sampler, veza_ledger_receiver, veza_ledger_oncall, veza_ledger;

commit;
