package test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

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
	repair := func(number int, err error, events ...ledgermetrics.Event) error {
		return ledgermetrics.InTx(ctx, db, nil, func(ctx context.Context, tx *sql.Tx) ([]ledgermetrics.Event, error) {
			if _, err := tx.Exec("insert into repairs values ($1)", number); err != nil {
				return nil, err
			}
			return events, err
		})
	}
	must(t, repair(1, nil, ledgermetrics.OrphanRefund()))
	if err := repair(2, nil); err != nil { // Nothing to count.
		t.Error(err)
	}
	failure := errors.New("failed")
	if err := repair(3, failure, ledgermetrics.OrphanRefund()); !errors.Is(err, failure) {
		t.Error(err)
	}
	if err := repair(4, nil, ledgermetrics.Action("stuck")); !errors.Is(err, ledgermetrics.ErrInvalid) {
		t.Error(err)
	}
	func() {
		defer func() { recover() }()
		ledgermetrics.InTx(ctx, db, nil, func(ctx context.Context, tx *sql.Tx) ([]ledgermetrics.Event, error) {
			tx.Exec("insert into repairs values (5)")
			panic("in mid-repair")
		})
	}()
	expect(t, db, "select id from repairs order by id", "(1) (2)")
	expect(t, db, "select count(*) from ledger_outbox.deliveries", "(1)")
	if open := db.Stats().InUse; open != 0 {
		t.Errorf("%d connections are in use", open)
	}
}

func TestInTxReturnsTheErrorOfItsCommit(t *testing.T) {
	db := open(t)
	withRepairs(t, db)
	run(t, db, "alter table repairs add constraint one_of_a_status unique (status) deferrable initially deferred")
	repair := func(number int) error {
		return ledgermetrics.InTx(ctx, db, nil, func(ctx context.Context, tx *sql.Tx) ([]ledgermetrics.Event, error) {
			_, err := tx.Exec("insert into repairs values ($1)", number)
			return ledgermetrics.Repairs(ledgermetrics.StuckOrders, 1), err
		})
	}
	must(t, repair(1))
	if err := repair(2); err == nil || !strings.Contains(err.Error(), "transaction not committed") {
		t.Error(err)
	}
	expect(t, db, "select count(*) from ledger_outbox.deliveries", "(1)")
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
	for range 6 {
		group.Add(1)
		go func() {
			defer group.Done()
			isFirst := true
			options := &sql.TxOptions{Isolation: sql.LevelSerializable}
			err := ledgermetrics.InTx(ctx, db, options, func(ctx context.Context, tx *sql.Tx) ([]ledgermetrics.Event, error) {
				mutex.Lock()
				attempts++
				mutex.Unlock()
				var before int
				if err := tx.QueryRow("select status::int from repairs where id = 0").Scan(&before); err != nil {
					return nil, err
				}
				if isFirst {
					isFirst = false
					allHaveRead.Done()
					allHaveRead.Wait()
				}
				_, err := tx.Exec("update repairs set status = $1 where id = 0", fmt.Sprint(before+1))
				return []ledgermetrics.Event{ledgermetrics.Action(ledgermetrics.StuckOrders), ledgermetrics.OrphanRefund()}, err
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
	expect(t, db, "select count(*), sum(jsonb_array_length(body::jsonb)) from ledger_outbox.deliveries", "(6,12)")
}

// readme_test.go has the same with a guard.
func TestTwoReconcilersThatFailTheSameOrphansCountEachOnceByAnID(t *testing.T) {
	db := open(t)
	var group sync.WaitGroup
	for range 2 {
		group.Go(func() {
			for number := range 60 {
				err := ledgermetrics.InTx(ctx, db, nil, func(ctx context.Context, tx *sql.Tx) ([]ledgermetrics.Event, error) {
					events := ledgermetrics.Repairs(ledgermetrics.OrphanRefunds, 1)
					_, err := ledgermetrics.EnqueueAs(ctx, tx, fmt.Sprintf("orphan-refund-%d", number), events...)
					return nil, err
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	expect(t, db, "select count(*), sum(jsonb_array_length(body::jsonb)) from ledger_outbox.deliveries", "(60,120)")
}

type conflict struct{ error }

func (conflict) SQLState() string { return "40001" }

func TestRetryPausesForLongerAfterEachFailure(t *testing.T) {
	var longest [10]time.Duration
	synctest.Test(t, func(t *testing.T) { // Its clock moves when all wait.
		for range 100 {
			attempt, before := 0, time.Now()
			ledgermetrics.Retry(ctx, func() error {
				longest[attempt] = max(longest[attempt], time.Since(before))
				attempt, before = attempt+1, time.Now()
				return conflict{errors.New("again")}
			})
		}
	})
	for failures, got := range longest[1:] {
		most := min(20*time.Millisecond<<failures, time.Second)
		if got > most || got < most/2 {
			t.Errorf("after %d failures, the longest of 100 pauses is %s, want almost %s", failures+1, got, most)
		}
	}
}
