// Package ledgermetricspgx is [ledgermetrics.Enqueue] and [ledgermetrics.InTx] for pgx 5. An outbox takes
// stdlib.OpenDBFromPool(pool).
package ledgermetricspgx

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/veza/veza-ledger-metrics/clients/go/ledgermetrics"
)

// For a rollback after the caller's context has ended.
const rollbackTimeout = 5 * time.Second

// DB begins transactions: *pgxpool.Pool or *pgx.Conn.
type DB interface {
	BeginTx(ctx context.Context, options pgx.TxOptions) (pgx.Tx, error)
}

// Enqueue is [ledgermetrics.Enqueue] for a transaction of pgx.
func Enqueue(ctx context.Context, tx pgx.Tx, id string, events ...ledgermetrics.Event) error {
	return ledgermetrics.EnqueueWith(ctx, func(ctx context.Context, query string, args ...any) ledgermetrics.Row {
		return tx.QueryRow(ctx, query, args...)
	}, id, events...)
}

// InTx is [ledgermetrics.InTx] for pgx. The zero value of options means the session's own isolation level.
func InTx(
	ctx context.Context, db DB, options pgx.TxOptions,
	work func(ctx context.Context, tx pgx.Tx) (id string, events []ledgermetrics.Event, err error),
) error {
	return ledgermetrics.Retry(ctx, func() error {
		tx, err := db.BeginTx(ctx, options)
		if err != nil {
			return fmt.Errorf("ledgermetricspgx: transaction not begun: %w", err)
		}
		defer func() { // After a commit it does nothing.
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackTimeout)
			defer cancel()
			tx.Rollback(ctx)
		}()
		id, events, err := work(ctx, tx)
		if err == nil && len(events) > 0 {
			err = Enqueue(ctx, tx, id, events...)
		}
		if err != nil {
			return err
		}
		if err := tx.Commit(ctx); err != nil {
			return fmt.Errorf("ledgermetricspgx: transaction not committed: %w", err)
		}
		return nil
	})
}
