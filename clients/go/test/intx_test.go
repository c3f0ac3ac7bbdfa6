package test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/veza/veza-ledger-metrics/clients/go/ledgermetrics"
)

// withRepairs makes a table for what is repaired.
func withRepairs(t *testing.T, db *sql.DB) {
	t.Helper()
	run(t, db, "drop table if exists repairs")
	run(t, db, "create table repairs (id int primary key, status text not null default 'pending')")
}

func TestInTxCommitsTheRepairAndItsEventsOrNeither(t *testing.T) {
	db := open(t)
	withRepairs(t, db)
	repair := func(number int, id string, err error, events ...ledgermetrics.Event) error {
		return ledgermetrics.InTx(ctx, db, nil, func(ctx context.Context, tx *sql.Tx) (string, []ledgermetrics.Event, error) {
			if _, err := tx.Exec("insert into repairs values ($1)", number); err != nil {
				return "", nil, err
			}
			return id, events, err
		})
	}
	if err := repair(1, "repair-1", nil, ledgermetrics.OrphanRefund()); err != nil {
		t.Error(err)
	}
	if err := repair(2, "", nil); err != nil { // Nothing to count.
		t.Error(err)
	}
	failure := errors.New("failed")
	if err := repair(3, "repair-3", failure, ledgermetrics.OrphanRefund()); !errors.Is(err, failure) {
		t.Error(err)
	}
	if err := repair(4, "repair-4", nil, ledgermetrics.Action("stuck")); !errors.Is(err, ledgermetrics.ErrInvalid) {
		t.Error(err)
	}
	err := repair(5, "repair-1", nil, ledgermetrics.OrphanRefund(), ledgermetrics.OrphanRefund())
	if !errors.Is(err, ledgermetrics.ErrIDTaken) || !strings.HasSuffix(err.Error(),
		"delivery repair-1 has 1 orphan refund, and was given 2 orphan refunds") {
		t.Error(err)
	}
	func() {
		defer func() { recover() }()
		ledgermetrics.InTx(ctx, db, nil, func(ctx context.Context, tx *sql.Tx) (string, []ledgermetrics.Event, error) {
			tx.Exec("insert into repairs values (6)")
			panic("in mid-repair")
		})
	}()
	expect(t, db, "select id from repairs order by id", "(1) (2)")
	expect(t, db, "select id from ledger_metrics_outbox", "(repair-1)")
	if open := db.Stats().InUse; open != 0 {
		t.Errorf("%d connections are in use", open)
	}
}

// Six workers each raise one counter in serializable transactions, all at the same time.
func TestInTxRetriesASerializationFailureWithEverythingMadeAnew(t *testing.T) {
	db := open(t)
	withRepairs(t, db)
	run(t, db, "insert into repairs values (0, '0')")
	var mutex sync.Mutex
	attempts := 0
	var group, allHaveRead sync.WaitGroup
	allHaveRead.Add(6)
	for worker := range 6 {
		group.Add(1)
		go func() {
			defer group.Done()
			isFirst := true
			options := &sql.TxOptions{Isolation: sql.LevelSerializable}
			err := ledgermetrics.InTx(ctx, db, options, func(ctx context.Context, tx *sql.Tx) (string, []ledgermetrics.Event, error) {
				mutex.Lock()
				attempts++
				mutex.Unlock()
				var before int
				if err := tx.QueryRow("select status::int from repairs where id = 0").Scan(&before); err != nil {
					return "", nil, err
				}
				if isFirst {
					isFirst = false
					allHaveRead.Done()
					allHaveRead.Wait()
				}
				_, err := tx.Exec("update repairs set status = $1 where id = 0", fmt.Sprint(before+1))
				return fmt.Sprintf("worker-%d", worker), []ledgermetrics.Event{ledgermetrics.Action(ledgermetrics.StuckOrders), ledgermetrics.OrphanRefund()}, err
			})
			if err != nil {
				t.Error(err)
			}
		}()
	}
	group.Wait()
	if attempts == 6 {
		t.Error("no attempt has failed")
	}
	expect(t, db, "select status from repairs", "(6)")
	expect(t, db, "select count(*), sum(jsonb_array_length(body::jsonb)) from ledger_metrics_outbox", "(6,12)")
}

func TestInTxRetriesADeadlock(t *testing.T) {
	db := open(t)
	withRepairs(t, db)
	run(t, db, "insert into repairs values (1), (2)")
	var group, bothHoldOne sync.WaitGroup
	bothHoldOne.Add(2)
	for worker := range 2 {
		group.Add(1)
		go func() {
			defer group.Done()
			attempts := 0
			err := ledgermetrics.InTx(ctx, db, nil, func(ctx context.Context, tx *sql.Tx) (string, []ledgermetrics.Event, error) {
				attempts++
				if _, err := tx.Exec("update repairs set status = 'done' where id = $1", 1+worker); err != nil {
					return "", nil, err
				}
				if attempts == 1 {
					bothHoldOne.Done()
					bothHoldOne.Wait()
				}
				_, err := tx.Exec("update repairs set status = 'done' where id = $1", 2-worker)
				return fmt.Sprintf("worker-%d", worker), []ledgermetrics.Event{ledgermetrics.OrphanRefund()}, err
			})
			if err != nil {
				t.Error(err)
			}
		}()
	}
	group.Wait()
	expect(t, db, "select id from ledger_metrics_outbox order by id", "(worker-0) (worker-1)")
}

func TestTwoReconcilersThatFailTheSameOrphansCountEachOnce(t *testing.T) {
	db := open(t)
	withRepairs(t, db)
	run(t, db, "insert into repairs select * from generate_series(1, 60)")
	failOrphan := func(number int) error {
		return ledgermetrics.InTx(ctx, db, nil, func(ctx context.Context, tx *sql.Tx) (string, []ledgermetrics.Event, error) {
			_, err := tx.Exec("update repairs set status = 'failed' where id = $1", number)
			return fmt.Sprintf("orphan-refund-%d", number), []ledgermetrics.Event{ledgermetrics.Action(ledgermetrics.OrphanRefunds), ledgermetrics.OrphanRefund()}, err
		})
	}
	var group sync.WaitGroup
	for range 2 {
		group.Add(1)
		go func() {
			defer group.Done()
			for number := 1; number <= 60; number++ {
				if err := failOrphan(number); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	group.Wait()
	expect(t, db, "select count(*), sum(jsonb_array_length(body::jsonb)) from ledger_metrics_outbox", "(60,120)")
}
