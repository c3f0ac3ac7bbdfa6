package test

import (
	"context"
	"database/sql"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/veza/veza-ledger-metrics/clients/go/ledgermetrics"
)

func TestAPoolOfPgxIsADatabaseToo(t *testing.T) {
	plain := open(t)
	pool, err := pgxpool.New(ctx, databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	db := stdlib.OpenDBFromPool(pool)
	defer db.Close()
	err = ledgermetrics.InTx(ctx, db, nil, func(context.Context, *sql.Tx) ([]ledgermetrics.Event, error) {
		return []ledgermetrics.Event{ledgermetrics.OrphanRefund()}, nil
	})
	if err != nil {
		t.Error(err)
	}
	expect(t, plain, "select count(*) from ledger_metrics_outbox", "(1)")
}
