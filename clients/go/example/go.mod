module github.com/veza/veza-ledger-metrics/clients/go/example

go 1.22

require (
	github.com/lib/pq v1.10.2
	github.com/veza/veza-ledger-metrics/clients/go v0.2.0
)

replace github.com/veza/veza-ledger-metrics/clients/go => ../
