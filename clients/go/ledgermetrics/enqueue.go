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

// Tx is a transaction of database/sql: *sql.Tx, *sqlx.Tx, or within gorm's Transaction, tx.Statement.ConnPool. Enqueue
// does not call Commit and Rollback. They keep out a *sql.DB, whose inserts would not be part of the repair.
type Tx interface {
	// Not QueryRowContext: with gorm's prepared statements, an error there is a panic.
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	Commit() error
	Rollback() error
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
	body := string(encoded)
	sum, _ := digest(body) // It is JSON.
	// Not "do update", which would lock an existing row for as long as the repair takes. Both queries aggregate, because
	// a missing row would be another error with each driver.
	var inserted int
	if err := queryRow(ctx, tx, []any{&inserted}, `
		with inserted as (
			insert into public.ledger_metrics_outbox (id, body, digest) values ($1, $2, $3)
			on conflict (id) do nothing returning id
		) select count(*) from inserted`, id, body, sum); err != nil {
		return fmt.Errorf("ledgermetrics: delivery %s not enqueued: %w", id, err)
	}
	if inserted == 1 {
		return nil
	}
	var foundSum, foundBody string
	if err := queryRow(ctx, tx, []any{&foundSum, &foundBody}, `
		select coalesce(max(digest), ''), coalesce(max(body), '')
		from public.ledger_metrics_outbox where id = $1`, id); err != nil {
		return fmt.Errorf("ledgermetrics: delivery %s not enqueued: %w", id, err)
	}
	if foundSum == "" { // Written by an earlier version, or by hand.
		foundSum, _ = digest(foundBody)
	}
	if foundSum != sum && foundBody != "" { // Else it was purged right now, 14 days after it was counted.
		return fmt.Errorf("%w: delivery %s has %s, and was given %s", ErrIDTaken, id, inWords(foundBody), inWords(body))
	}
	return nil
}

// queryRow scans the one row that a query returns.
func queryRow(ctx context.Context, tx Tx, row []any, query string, args ...any) error {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(row...); err != nil {
			return err
		}
	}
	return rows.Err()
}
