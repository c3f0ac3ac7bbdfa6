package ledgermetrics

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// ErrIDTaken says that the outbox has other events under this id. They stay, and the given events were not written. The
// transaction can still be committed. The same events once more are no error, in any order and with any timestamps.
var ErrIDTaken = errors.New("ledgermetrics: the outbox has other events under this id")

// Tx is a transaction of database/sql: *sql.Tx or *sqlx.Tx. Enqueue does not call Commit and Rollback. They keep out a
// *sql.DB, whose inserts would not be part of the repair. For gorm there is [EnqueueGorm].
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
// Outside of a transaction it returns an error that wraps [ErrInvalid], and writes nothing.
func EnqueueGorm(ctx context.Context, pool GormConnPool, id string, events ...Event) error {
	tx, isTx := pool.(Tx)
	if !isTx {
		return fmt.Errorf("%w: delivery %.40q: %T is no transaction; pass tx.Statement.ConnPool of the tx that gorm's"+
			" Transaction gives you", ErrInvalid, id, pool)
	}
	return Enqueue(ctx, tx, id, events...)
}

// Enqueue writes a delivery to the outbox within your transaction: commit, and it will be counted; roll back, and it
// never happened. Without events it does nothing.
//
// The id names this work and no other, and stays the same when the same work is done again: "refund-" and the id of the
// refund. It has 1 to 240 printable ASCII characters, without spaces and full stops. A delivery has up to 1,000 events.
//
// An error that wraps [ErrInvalid] comes before the transaction is touched, and [ErrIDTaken] leaves it usable. After
// any other error, Postgres has ended the transaction.
func Enqueue(ctx context.Context, tx Tx, id string, events ...Event) error {
	encoded, err := encode(id, events)
	if err != nil || len(events) == 0 {
		return err
	}
	if tx == nil {
		return fmt.Errorf("%w: delivery %s: the transaction is nil", ErrInvalid, id)
	}
	body := string(encoded)
	sum, _ := digest(body) // It is JSON.
	// Not "do update", which would lock an existing row for as long as the repair takes. Both queries aggregate, because
	// a missing row would be another error with each driver.
	var inserted int
	if err := each(ctx, tx, into(&inserted), `
		with inserted as (
			insert into public.ledger_metrics_outbox (id, body, digest) values ($1, $2, $3)
			on conflict (id) do nothing returning id
		) select count(*) from inserted`, id, body, sum); err != nil {
		return failure("delivery "+id+" not enqueued", err)
	}
	if inserted == 1 {
		return nil
	}
	var foundSum, foundBody string
	if err := each(ctx, tx, into(&foundSum, &foundBody), `
		select coalesce(max(digest), ''), coalesce(max(body), '')
		from public.ledger_metrics_outbox where id = $1`, id); err != nil {
		return failure("delivery "+id+" not enqueued", err)
	}
	if foundSum == "" { // Written by an earlier version, or by hand.
		foundSum, _ = digest(foundBody)
	}
	if foundSum != sum && foundBody != "" { // Else it was purged right now, 14 days after it was counted.
		return fmt.Errorf("%w: delivery %s has %s, and was given %s", ErrIDTaken, id, inWords(foundBody), inWords(body))
	}
	return nil
}

// into returns a function that scans a row.
func into(values ...any) func(*sql.Rows) error {
	return func(rows *sql.Rows) error { return rows.Scan(values...) }
}
