package ledgermetrics

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// conflict is what Postgres answers when it has rolled a transaction back that may succeed when it is run again.
type conflict string

func (c conflict) Error() string    { return "conflict " + string(c) }
func (c conflict) SQLState() string { return string(c) }

// withRepairs makes a table for what is repaired.
func withRepairs(t *testing.T, db *sql.DB) {
	t.Helper()
	run(t, db, "drop table if exists repairs")
	run(t, db, "create table repairs (id int primary key, status text not null default 'pending')")
}

func TestInTxCommitsTheRepairAndItsEventsOrNeither(t *testing.T) {
	db := open(t)
	withRepairs(t, db)
	repair := func(number int, id string, err error, events ...Event) error {
		return InTx(ctx, db, nil, func(ctx context.Context, tx *sql.Tx) (string, []Event, error) {
			if _, err := tx.Exec("insert into repairs values ($1)", number); err != nil {
				return "", nil, err
			}
			return id, events, err
		})
	}
	if err := repair(1, "repair-1", nil, OrphanRefund()); err != nil {
		t.Error(err)
	}
	if err := repair(2, "", nil); err != nil { // Nothing to count.
		t.Error(err)
	}
	failure := errors.New("failed")
	if err := repair(3, "repair-3", failure, OrphanRefund()); !errors.Is(err, failure) {
		t.Error(err)
	}
	if err := repair(4, "repair-4", nil, Action("stuck")); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
	err := repair(5, "repair-1", nil, OrphanRefund(), OrphanRefund())
	if !errors.Is(err, ErrIDTaken) || !strings.HasSuffix(err.Error(),
		"delivery repair-1 has 1 orphan refund, and was given 2 orphan refunds") {
		t.Error(err)
	}
	func() {
		defer func() { recover() }()
		InTx(ctx, db, nil, func(ctx context.Context, tx *sql.Tx) (string, []Event, error) {
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
			err := InTx(ctx, db, options, func(ctx context.Context, tx *sql.Tx) (string, []Event, error) {
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
				return fmt.Sprintf("worker-%d", worker), []Event{Action(StuckOrders), OrphanRefund()}, err
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
			err := InTx(ctx, db, nil, func(ctx context.Context, tx *sql.Tx) (string, []Event, error) {
				attempts++
				if _, err := tx.Exec("update repairs set status = 'done' where id = $1", 1+worker); err != nil {
					return "", nil, err
				}
				if attempts == 1 {
					bothHoldOne.Done()
					bothHoldOne.Wait()
				}
				_, err := tx.Exec("update repairs set status = 'done' where id = $1", 2-worker)
				return fmt.Sprintf("worker-%d", worker), []Event{OrphanRefund()}, err
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
		return InTx(ctx, db, nil, func(ctx context.Context, tx *sql.Tx) (string, []Event, error) {
			_, err := tx.Exec("update repairs set status = 'failed' where id = $1", number)
			return fmt.Sprintf("orphan-refund-%d", number), []Event{Action(OrphanRefunds), OrphanRefund()}, err
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

func TestRetryGivesUpAfterTenAttemptsAndKeepsTheReason(t *testing.T) {
	attempts := 0
	err := Retry(ctx, func() error {
		attempts++
		return fmt.Errorf("repair: %w", conflict("40001"))
	})
	var reason conflict
	if attempts != 10 || !errors.As(err, &reason) || err.Error() != "ledgermetrics: gave up after 10 attempts: repair: conflict 40001" {
		t.Errorf("%d attempts, %v", attempts, err)
	}
}

func TestRetryDoesNotRepeatWhatIsNoConflict(t *testing.T) {
	for _, failure := range []error{nil, errors.New("no"), conflict("23505"), conflict("25P02")} {
		attempts := 0
		err := Retry(ctx, func() error {
			attempts++
			return failure
		})
		if attempts != 1 || !errors.Is(err, failure) {
			t.Errorf("%d attempts, %v", attempts, err)
		}
	}
}

func TestRetryEndsWithItsContext(t *testing.T) {
	ended, cancel := context.WithCancel(ctx)
	startedAt := time.Now()
	err := Retry(ended, func() error {
		cancel()
		return conflict("40P01")
	})
	if !errors.Is(err, context.Canceled) || !isConflict(err) || time.Since(startedAt) > 10*time.Second {
		t.Error(err)
	}
}
