package ledgermetrics

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
)

// ErrIDTaken says that the outbox has other events under this id. They stay, and the given events were not written. The
// transaction can still be committed. The same events once more are no error, in any order and with any timestamps.
var ErrIDTaken = errors.New("ledgermetrics: the outbox has other events under this id")

// Tx is a transaction of database/sql: *sql.Tx or *sqlx.Tx. For gorm there is [EnqueueGorm]. Commit is not called here,
// and Rollback only after an error that is not Postgres' own. A *sql.DB lacks them, so it does not compile: its inserts
// would not be part of the repair.
type Tx interface {
	// Not QueryRowContext: with gorm's prepared statements, an error there is a panic.
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	Commit() error
	Rollback() error
}

// GormConnPool is what Statement.ConnPool is in gorm, as far as EnqueueGorm needs it.
type GormConnPool interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// EnqueueGorm is [Enqueue] within gorm's Transaction: pass tx.Statement.ConnPool, of the tx that Transaction gives you.
// In a nested transaction, or after a savepoint, the delivery is rolled back with it.
//
//	repaired := tx.Model(&Order{}).Where("id = ? and status = 'pending'", orderID).Update("status", "paid")
//	if repaired.Error != nil {
//		return repaired.Error
//	}
//	events := ledgermetrics.Repairs(ledgermetrics.StuckOrders, repaired.RowsAffected)
//	return ledgermetrics.EnqueueGorm(ctx, tx.Statement.ConnPool, events...)
//
// Outside of a transaction it returns an error that wraps [ErrInvalid], and writes nothing.
func EnqueueGorm(ctx context.Context, pool GormConnPool, events ...Event) error {
	tx, err := gormTx(pool)
	if err != nil {
		return err
	}
	return Enqueue(ctx, tx, events...)
}

// EnqueueGormAs is [EnqueueAs] within gorm's Transaction, as [EnqueueGorm] is Enqueue.
func EnqueueGormAs(ctx context.Context, pool GormConnPool, id string, events ...Event) (isNew bool, err error) {
	tx, err := gormTx(pool)
	if err != nil {
		return false, err
	}
	return EnqueueAs(ctx, tx, id, events...)
}

func gormTx(pool GormConnPool) (Tx, error) {
	if tx, isTx := pool.(Tx); isTx {
		return tx, nil
	}
	return nil, fmt.Errorf("%w: %T is no transaction; pass tx.Statement.ConnPool of the tx that gorm's Transaction gives"+
		" you", ErrInvalid, pool)
}

// Enqueue writes events to the outbox within your transaction: commit, and they will be counted; roll back, and they
// never happened. Without events it does nothing. Each 1,000 events are a delivery.
//
// Each call counts. So the same transaction needs a guard, which lets it do this work once: an update with the old
// status in its condition, and the events of [Repairs] for the rows that it has changed. For work without a guard there
// is [EnqueueAs].
//
// An error that wraps [ErrInvalid] comes before the transaction is touched. After any other error, the transaction has
// ended, and nothing of it is committed, also where ctx has ended before the call. Only after an error of Postgres' own
// can a savepoint be rolled back to, as gorm's nested transactions do.
func Enqueue(ctx context.Context, tx Tx, events ...Event) error {
	if problem := problemOf(events); problem != "" {
		return fmt.Errorf("%w: %s", ErrInvalid, problem)
	}
	var deliveries []delivery
	for rest := events; len(rest) > 0; {
		part := rest[:min(len(rest), maxEvents)]
		rest = rest[len(part):]
		id := randomID()
		body, err := encode(id, part)
		if err != nil {
			return err
		}
		deliveries = append(deliveries, delivery{id: id, body: string(body)})
	}
	for _, next := range deliveries {
		if _, err := insert(ctx, tx, next.id, next.body); err != nil {
			return err
		}
	}
	return nil
}

// EnqueueAs is [Enqueue] under an id of your own, for work that has no guard: the same work has the same id each time,
// and no other work has it. It has 1 to 240 printable ASCII characters, without spaces and full stops.
//
// isNew is false if the outbox had these events under this id before: they count once, and this call has written
// nothing. The outbox keeps the id for a year after it was sent. If the same work may be done again, and should count
// again, give it another id. Without events, isNew is false as well. If the outbox has other events under the id, the
// error wraps [ErrIDTaken].
func EnqueueAs(ctx context.Context, tx Tx, id string, events ...Event) (isNew bool, err error) {
	encoded, err := encode(id, events)
	if err != nil || len(events) == 0 {
		return false, err
	}
	return insert(ctx, tx, id, string(encoded))
}

// insert writes a delivery. isNew is false if the outbox had one under this id, of the same events.
func insert(ctx context.Context, tx Tx, id, body string) (isNew bool, err error) {
	if tx == nil {
		return false, fmt.Errorf("%w: delivery %s: the transaction is nil", ErrInvalid, id)
	}
	// In your transaction, under its search_path: so nothing is looked for by a bare name.
	//
	// Not "do update", which would lock an existing row for as long as the repair takes.
	if err := each(ctx, tx, func(*sql.Rows) error { isNew = true; return nil }, `
		insert into ledger_outbox.deliveries (id, body) values ($1, $2)
		on conflict (id) do nothing returning id`, id, body); err != nil {
		return false, notEnqueued(tx, id, err)
	}
	if isNew {
		return true, nil
	}
	var found string
	if err := each(ctx, tx, func(rows *sql.Rows) error { return rows.Scan(&found) }, `
		select body from ledger_outbox.deliveries where id operator(pg_catalog.=) $1`, id); err != nil {
		return false, notEnqueued(tx, id, err)
	}
	if addedBy(found) != addedBy(body) {
		return false, fmt.Errorf("%w: delivery %s has %s, and was given %s", ErrIDTaken, id, inWords(found), inWords(body))
	}
	return false, nil
}

// notEnqueued ends the transaction where Postgres has not: if ctx has ended, the statement may never have been sent,
// and a commit would succeed without the events.
func notEnqueued(tx Tx, id string, err error) error {
	if stateOf(err) == "" {
		_ = tx.Rollback()
	}
	return failure("delivery "+id+" not enqueued", err)
}

// randomID returns an id that nothing else has: it has 128 random bits.
func randomID() string {
	bits := make([]byte, 16)
	if _, err := rand.Read(bits); err != nil {
		panic(err) // Go 1.24 and later do the same.
	}
	return "evt-" + hex.EncodeToString(bits)
}
