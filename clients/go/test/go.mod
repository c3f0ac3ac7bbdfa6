// What needs a Postgres driver is a module of its own, so that the client depends on nothing. The project's tests build
// it in GOPATH mode, with the driver that Debian ships.
module github.com/veza/veza-ledger-metrics/clients/go/test

go 1.22

require (
	github.com/lib/pq v1.10.2
	github.com/veza/veza-ledger-metrics/clients/go v0.2.0
)

replace github.com/veza/veza-ledger-metrics/clients/go => ../
