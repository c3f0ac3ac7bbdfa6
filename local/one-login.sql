-- Both functions share a login here, as they do in a process without AWS. roles.sql completes it.

create role veza_ledger login connection limit 23;
