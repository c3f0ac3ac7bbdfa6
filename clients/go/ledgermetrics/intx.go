package ledgermetrics

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"time"
)

const (
	maxAttempts = 10
	// A pause is random: from 0 up to this, doubled with each failure, and up to maxPause at most.
	basePause = 10 * time.Millisecond
	maxPause  = time.Second
)

// InTx runs work in a transaction, enqueues the events that work returns, and commits: the repair and its events
// together, or neither. The options are as for [sql.DB.BeginTx]; nil means the session's own isolation level.
//
// As with [Enqueue], a guard within work lets it do the same once, and work returns no events where the guard has found
// nothing to do. Work without a guard calls [EnqueueAs], and returns no events.
//
// InTx calls work again as [Retry] does, so make the events inside work, and keep nothing outside. It returns work's
// error as it is. After an error nothing is committed, except when the connection was lost during the commit: then only
// Postgres knows. Do the same work again in this case: the guard knows whether it is done.
func InTx(
	ctx context.Context, db *sql.DB, options *sql.TxOptions,
	work func(ctx context.Context, tx *sql.Tx) ([]Event, error),
) error {
	if db == nil {
		return fmt.Errorf("%w: InTx: the database is nil", ErrInvalid)
	}
	return Retry(ctx, func() error {
		tx, err := db.BeginTx(ctx, options)
		if err != nil {
			return fmt.Errorf("ledgermetrics: transaction not begun: %w", err)
		}
		defer tx.Rollback() // After a commit it does nothing.
		events, err := work(ctx, tx)
		if err == nil {
			err = Enqueue(ctx, tx, events...)
		}
		if err != nil {
			return err
		}
		if err := tx.Commit(); err != nil {
			return fmt.Errorf("ledgermetrics: transaction not committed: %w", err)
		}
		return nil
	})
}

// Retry calls attempt, and again after a serialization failure (40001) or a deadlock (40P01): up to 10 times in all,
// with a pause of up to a second in between. An attempt is one whole transaction; it has ended when it returns. Retry
// returns any other error as it is. [InTx] retries by itself.
func Retry(ctx context.Context, attempt func() error) error {
	for failures := 1; ; failures++ {
		err := attempt()
		if !isConflict(err) {
			return err
		}
		if failures == maxAttempts {
			return fmt.Errorf("ledgermetrics: gave up after %d attempts: %w", failures, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("ledgermetrics: %w before the next attempt: %w", ctx.Err(), err)
		case <-time.After(rand.N(min(basePause<<failures, maxPause))):
		}
	}
}

// isConflict reports whether Postgres has rolled back a transaction that may succeed in another attempt.
func isConflict(err error) bool {
	state := stateOf(err)
	return state == "40001" || state == "40P01"
}
