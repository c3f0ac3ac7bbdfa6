// A module of its own, so that the client depends on nothing. The project's tests build it in GOPATH mode, with the pgx
// that Debian ships.
module github.com/veza/veza-ledger-metrics/clients/go/ledgermetricspgx

go 1.25.0

require (
	github.com/jackc/pgx/v5 v5.9.2
	github.com/veza/veza-ledger-metrics/clients/go v0.2.0
)

replace github.com/veza/veza-ledger-metrics/clients/go => ../
