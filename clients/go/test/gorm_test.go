package test

import (
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/veza/veza-ledger-metrics/clients/go/ledgermetrics"
)

// Order is a row that is repaired.
type Order struct {
	ID        int
	Status    string
	UpdatedAt time.Time
}

// openGorm returns gorm on a database with an empty outbox and three orders, with these settings.
func openGorm(t *testing.T, config gorm.Config, dialector postgres.Config) (*gorm.DB, *sql.DB) {
	t.Helper()
	plain := open(t)
	run(t, plain, "delete from orders")
	run(t, plain, "insert into orders (id, status) select n, 'pending' from generate_series(1, 3) as n")
	dialector.DSN = databaseURL
	return openGormAt(t, config, dialector), plain
}

// openGormAt returns gorm with these settings, the database's address among them.
func openGormAt(t *testing.T, config gorm.Config, dialector postgres.Config) *gorm.DB {
	t.Helper()
	if config.Logger == nil {
		config.Logger = logger.Discard
	}
	db, err := gorm.Open(postgres.New(dialector), &config)
	must(t, err)
	pool, err := db.DB()
	must(t, err)
	t.Cleanup(func() { pool.Close() })
	return db
}

// enqueue is EnqueueGormAs with the id of an order, so that a test sees which repair was enqueued.
func enqueue(tx *gorm.DB, order int, events ...ledgermetrics.Event) error {
	_, err := ledgermetrics.EnqueueGormAs(ctx, tx.Statement.ConnPool, fmt.Sprint("stuck-order-", order), events...)
	return err
}

var action = ledgermetrics.Action(ledgermetrics.StuckOrders)

// repairBy repairs an order and counts that, within a transaction that a test began.
func repairBy(tx *gorm.DB, order int) error {
	repaired := tx.Model(&Order{}).Where("id = ? and status = 'pending'", order).Update("status", "paid")
	if repaired.Error != nil || repaired.RowsAffected == 0 {
		return repaired.Error
	}
	return enqueue(tx, order, action)
}

const paidAndEnqueued = `select coalesce((select string_agg(id::text, ' ' order by id) from orders where status = 'paid'), '')
	|| ': ' || coalesce((select string_agg(id, ' ' order by id) from ledger_outbox.deliveries), '')`

var errRollback = errors.New("rolled back")

// A repair and its events are committed together, or neither, however gorm is set up.
func TestGormCommitsTheRepairAndItsEventsOrNeither(t *testing.T) {
	for name, c := range map[string]struct {
		config    gorm.Config
		dialector postgres.Config
	}{
		"as it is":               {},
		"PrepareStmt":            {config: gorm.Config{PrepareStmt: true}},
		"SkipDefaultTransaction": {config: gorm.Config{SkipDefaultTransaction: true}},
		"TranslateError":         {config: gorm.Config{TranslateError: true}},
		"PreferSimpleProtocol":   {dialector: postgres.Config{PreferSimpleProtocol: true}},
		"lib/pq":                 {dialector: postgres.Config{DriverName: "postgres"}},
	} {
		t.Run(name, func(t *testing.T) {
			db, plain := openGorm(t, c.config, c.dialector)
			must := func(want, err error) {
				t.Helper()
				if !errors.Is(err, want) {
					t.Errorf("%v, want %v", err, want)
				}
			}
			must(errRollback, db.Transaction(func(tx *gorm.DB) error {
				must(nil, repairBy(tx, 1))
				return errRollback
			}))
			expect(t, plain, paidAndEnqueued, `(": ")`)
			must(nil, db.Transaction(func(tx *gorm.DB) error { return repairBy(tx, 1) }))
			must(nil, db.Transaction(func(tx *gorm.DB) error { return repairBy(tx, 1) })) // Its guard finds nothing.
			expect(t, plain, paidAndEnqueued, `("1: stuck-order-1")`)

			// A nested transaction, a savepoint, and a session with prepared statements.
			must(nil, db.Transaction(func(tx *gorm.DB) error {
				must(errRollback, tx.Transaction(func(nested *gorm.DB) error {
					must(nil, repairBy(nested, 2))
					return errRollback
				}))
				must(nil, tx.SavePoint("before").Error)
				must(nil, repairBy(tx, 2))
				must(nil, tx.RollbackTo("before").Error)
				return tx.Transaction(func(nested *gorm.DB) error {
					return repairBy(nested.Session(&gorm.Session{PrepareStmt: true}), 3)
				})
			}))
			expect(t, plain, paidAndEnqueued, `("1 3: stuck-order-1 stuck-order-3")`)

			// Other events under the same id: the error rolls the repair back, or leaves the transaction usable.
			must(ledgermetrics.ErrIDTaken, db.Transaction(func(tx *gorm.DB) error {
				must(nil, repairBy(tx, 2))
				return enqueue(tx, 1, action, action)
			}))
			must(ledgermetrics.ErrInvalid, db.Transaction(func(tx *gorm.DB) error {
				must(nil, repairBy(tx, 2))
				return enqueue(tx, 1, ledgermetrics.Action("stuck"))
			}))
			expect(t, plain, paidAndEnqueued, `("1 3: stuck-order-1 stuck-order-3")`)
			must(nil, db.Transaction(func(tx *gorm.DB) error {
				must(ledgermetrics.ErrIDTaken, enqueue(tx, 1, action, action))
				return repairBy(tx, 2)
			}))
			expect(t, plain, paidAndEnqueued, `("1 2 3: stuck-order-1 stuck-order-2 stuck-order-3")`)

			// An id that the client makes.
			must(errRollback, db.Transaction(func(tx *gorm.DB) error {
				must(nil, ledgermetrics.EnqueueGorm(ctx, tx.Statement.ConnPool, action))
				return errRollback
			}))
			must(nil, db.Transaction(func(tx *gorm.DB) error {
				must(errRollback, tx.Transaction(func(nested *gorm.DB) error {
					must(nil, ledgermetrics.EnqueueGorm(ctx, nested.Statement.ConnPool, action))
					return errRollback
				}))
				must(nil, ledgermetrics.EnqueueGorm(ctx, tx.Statement.ConnPool, action))
				return ledgermetrics.EnqueueGorm(ctx, tx.Statement.ConnPool, action)
			}))
			expect(t, plain, "select count(*) from ledger_outbox.deliveries where id like 'evt-%'", "(2)")

			pool, err := db.DB()
			must(nil, err)
			client := answering(t, recorded)
			drain(t, ledgermetrics.NewOutbox(pool, client), ledgermetrics.Drained{Counted: 5})
		})
	}
}

// Such as db where tx was meant, which gorm lets you write.
func TestGormOutsideOfATransactionIsAnError(t *testing.T) {
	for _, isPrepared := range []bool{false, true} {
		db, plain := openGorm(t, gorm.Config{PrepareStmt: isPrepared}, postgres.Config{})
		err := db.Transaction(func(tx *gorm.DB) error {
			if err := repairBy(tx, 1); err != nil {
				return err
			}
			return enqueue(db, 2, action)
		})
		if !errors.Is(err, ledgermetrics.ErrInvalid) || !strings.Contains(err.Error(), "is no transaction") {
			t.Error(err)
		}
		expect(t, plain, paidAndEnqueued, `(": ")`)
	}
}

// HookedOrder is an order whose hook notes how many rows gorm says there that an update has changed.
type HookedOrder struct {
	ID        int
	Status    string
	UpdatedAt time.Time
}

func (HookedOrder) TableName() string { return "orders" }

var changedInHook []int64

func (HookedOrder) AfterUpdate(tx *gorm.DB) error {
	changedInHook = append(changedInHook, tx.RowsAffected)
	return nil
}

// As the README says. If gorm says more one day, a hook may enqueue.
func TestGormTellsAHookOfNoChangedRow(t *testing.T) {
	db, _ := openGorm(t, gorm.Config{}, postgres.Config{})
	repaired := db.Model(&HookedOrder{}).Where("status = 'pending'").Update("status", "paid")
	again := db.Model(&HookedOrder{}).Where("status = 'pending'").Update("status", "paid")
	if got := fmt.Sprint(repaired.RowsAffected, again.RowsAffected, changedInHook); got != "3 0 [0 0]" {
		t.Error(got)
	}
}
