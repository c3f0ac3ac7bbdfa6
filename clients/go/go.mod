module github.com/veza/veza-ledger-metrics/clients/go

go 1.22
