package ledgermetrics

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

const (
	maxAttempts = 10
	minPause    = 10 * time.Millisecond
	maxPause    = time.Second
	// For a rollback after the caller's context has ended.
	rollbackTimeout = 5 * time.Second
)

// InTx runs work in a transaction, enqueues the events that work returns, under their id, and commits: the repair and
// its events together, or neither. Work that returns no events needs no id.
//
// After a serialization failure (40001) or a deadlock (40P01), InTx rolls back and calls work again, up to 10 times,
// with a pause of up to a second in between. So make the events inside work, and keep nothing outside. InTx returns any
// other error as it is, and nothing is committed, except when the connection was lost during the commit: then only
// Postgres knows. Do the same work again in this case, under the same id.
//
// The isolation level is the session's. For another level, begin work with "set transaction isolation level".
func InTx(ctx context.Context, db *sql.DB, work func(tx *sql.Tx) (id string, events []Event, err error)) error {
	return retry(ctx, func() error {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback() // After a commit it does nothing.
		id, events, err := work(tx)
		if err == nil && len(events) > 0 {
			err = Enqueue(ctx, tx, id, events...)
		}
		if err != nil {
			return err
		}
		return tx.Commit()
	})
}

// InPgxTx is [InTx] for pgx, version 4 or 5. The pool is a *pgxpool.Pool or a *pgx.Conn.
func InPgxTx[T PgxTx[Tag, Row], Tag PgxTag, Row PgxRow](
	ctx context.Context,
	pool interface {
		Begin(ctx context.Context) (T, error)
	},
	work func(tx T) (id string, events []Event, err error),
) error {
	return retry(ctx, func() error {
		tx, err := pool.Begin(ctx)
		if err != nil {
			return err
		}
		defer func() { // After a commit it does nothing.
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackTimeout)
			defer cancel()
			tx.Rollback(ctx)
		}()
		id, events, err := work(tx)
		if err == nil && len(events) > 0 {
			err = EnqueuePgx[Tag, Row](ctx, tx, id, events...)
		}
		if err != nil {
			return err
		}
		return tx.Commit(ctx)
	})
}

// retry calls attempt until it returns nil or an error other than a conflict of transactions.
func retry(ctx context.Context, attempt func() error) error {
	for failures := 1; ; failures++ {
		err := attempt()
		if !isConflict(err) {
			return err
		}
		if failures == maxAttempts {
			return fmt.Errorf("gave up after %d attempts: %w", failures, err)
		}
		pause := time.NewTimer(rand.N(min(minPause<<failures, maxPause)))
		select {
		case <-ctx.Done():
			pause.Stop()
			return fmt.Errorf("%w before the next attempt: %w", ctx.Err(), err)
		case <-pause.C:
		}
	}
}

// isConflict reports whether Postgres has rolled back a transaction that may succeed in another attempt. The errors of
// pgx and lib/pq have this method.
func isConflict(err error) bool {
	var withState interface{ SQLState() string }
	if !errors.As(err, &withState) {
		return false
	}
	state := withState.SQLState()
	return state == "40001" || state == "40P01"
}
