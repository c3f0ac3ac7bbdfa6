package test

import (
	"context"
	"sync"
	"testing"
	"time"

	"gorm.io/driver/postgres"
	"gorm.io/gorm"

	"github.com/veza/veza-ledger-metrics/clients/go/ledgermetrics"
)

// The next functions are the README's, letter by letter: test/go/go-module.test.ts compares.

func repair(ctx context.Context, db *gorm.DB, orderID int64) error {
	return ledgermetrics.Retry(ctx, func() error {
		return db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
			repaired := tx.Model(&Order{}).Where("id = ? and status = 'pending'", orderID).Update("status", "paid")
			if repaired.Error != nil {
				return repaired.Error
			}
			events := ledgermetrics.Repairs(ledgermetrics.StuckOrders, repaired.RowsAffected)
			return ledgermetrics.EnqueueGorm(ctx, tx.Statement.ConnPool, events...)
		})
	})
}

func endSweep(ctx context.Context, db *gorm.DB, startedAt time.Time) error {
	return db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		return ledgermetrics.EnqueueGorm(ctx, tx.Statement.ConnPool, ledgermetrics.SweepEnded(startedAt))
	})
}

const enqueuedEvents = "select body::jsonb -> 0 ->> 'type' as type, count(*) from ledger_outbox.deliveries group by 1 order by 1"

func TestTheREADMEsRepairCountsEachHonestRepair(t *testing.T) {
	db, plain := openGorm(t, gorm.Config{}, postgres.Config{})
	for range 2 { // The order gets stuck again, and is repaired again.
		for range 2 { // Of two reconcilers that find it, one repairs it.
			must(t, repair(ctx, db, 1))
		}
		expect(t, plain, "select status from orders where id = 1", "(paid)")
		run(t, plain, "update orders set status = 'pending'")
	}
	must(t, endSweep(ctx, db, time.Now()))
	expect(t, plain, enqueuedEvents, "(reconciler.action,2) (reconciler.sweep,1)")
}

func TestTheREADMEsRepairCountsOnceSideBySide(t *testing.T) {
	db, plain := openGorm(t, gorm.Config{PrepareStmt: true}, postgres.Config{})
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for _, order := range []int64{1, 2, 3} {
				if err := repair(ctx, db, order); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	expect(t, plain, enqueuedEvents, "(reconciler.action,3)")
}

// The commit is done, and the connection is lost before its answer. The reconciler cannot know, and repairs again.
func TestTheREADMEsRepairCountsOnceWhenTheAnswerToItsCommitIsLost(t *testing.T) {
	_, plain := openGorm(t, gorm.Config{}, postgres.Config{})
	for name, config := range map[string]postgres.Config{"pgx": {}, "lib/pq": {DriverName: "postgres"}} {
		t.Run(name, func(t *testing.T) {
			run(t, plain, "delete from ledger_outbox.deliveries; update orders set status = 'pending'")
			isCommitting, isLost := false, false
			config.DSN = proxyToPostgres(t, func(bytes string, isAnswer bool) (cut bool) {
				isCommitting = isCommitting || !isAnswer && isCommit(bytes)
				cut = isAnswer && isCommitting && !isLost
				isLost = isLost || cut
				return cut
			})
			db := openGormAt(t, gorm.Config{}, config)
			if err := repair(ctx, db, 1); err == nil {
				t.Error("no error tells of the lost connection")
			}
			expect(t, plain, "select status from orders where id = 1", "(paid)")
			must(t, repair(ctx, db, 1))
			expect(t, plain, enqueuedEvents, "(reconciler.action,1)")
		})
	}
}
