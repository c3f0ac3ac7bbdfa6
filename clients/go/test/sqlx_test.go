package test

import (
	"testing"

	"github.com/jmoiron/sqlx"

	"github.com/veza/veza-ledger-metrics/clients/go/ledgermetrics"
)

func TestSqlxCommitsTheRepairAndItsEventsOrNeither(t *testing.T) {
	plain := open(t)
	withRepairs(t, plain)
	db := sqlx.NewDb(plain, driver)
	repair := func(number int) *sqlx.Tx {
		tx := db.MustBegin()
		tx.MustExec("insert into repairs values ($1)", number)
		must(t, ledgermetrics.Enqueue(ctx, tx, ledgermetrics.OrphanRefund()))
		return tx
	}
	repair(1).Rollback()
	repair(2).Commit()
	expect(t, plain, "select repairs.id from repairs, ledger_outbox.deliveries", "(2)")
}
