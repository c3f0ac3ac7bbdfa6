package ledgermetrics

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// ErrIDTaken says that the outbox has other events under this id. They stay, and the given events were not written. The
// transaction can still be committed. The same events once more are no error, in any order and with any timestamps.
var ErrIDTaken = errors.New("the outbox has other events under this id")

// Tx is a transaction of database/sql: *sql.Tx or *sqlx.Tx. Enqueue does not call Commit and Rollback. They keep out a
// *sql.DB, whose inserts would not be part of the repair.
type Tx interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	Commit() error
	Rollback() error
}

// PgxTx is a transaction of pgx, version 4 or 5: pgx.Tx or *pgxpool.Tx. Go infers both type arguments.
type PgxTx[Tag PgxTag, Row PgxRow] interface {
	Exec(ctx context.Context, sql string, args ...any) (Tag, error)
	QueryRow(ctx context.Context, sql string, args ...any) Row
	Commit(ctx context.Context) error
	Rollback(ctx context.Context) error
}

// PgxTag is pgconn.CommandTag.
type PgxTag interface{ RowsAffected() int64 }

// PgxRow is pgx.Row.
type PgxRow interface{ Scan(dest ...any) error }

// Enqueue writes a delivery to the outbox within your transaction: commit, and it will be counted; roll back, and it
// never happened. Without events it does nothing.
//
// The id names this work and no other, and stays the same when the same work is done again: "refund-" and the id of the
// refund. It has 1 to 240 printable ASCII characters, without spaces and full stops. A delivery has up to 1,000 events.
//
// An error that wraps [ErrInvalid] comes before the transaction is touched, and [ErrIDTaken] leaves it usable. After
// any other error, Postgres has ended the transaction.
func Enqueue(ctx context.Context, tx Tx, id string, events ...Event) error {
	return enqueue(ctx, sqlStatements(tx), id, events)
}

// EnqueuePgx is [Enqueue] for a transaction of pgx.
func EnqueuePgx[Tag PgxTag, Row PgxRow](ctx context.Context, tx PgxTx[Tag, Row], id string, events ...Event) error {
	return enqueue(ctx, pgxStatements(tx), id, events)
}

// statements is what enqueue needs of either kind of transaction.
type statements struct {
	exec     func(ctx context.Context, query string, args ...any) (rowsAffected int64, err error)
	queryRow func(ctx context.Context, query string, args ...any) PgxRow
}

func sqlStatements(tx Tx) statements {
	return statements{
		exec: func(ctx context.Context, query string, args ...any) (int64, error) {
			result, err := tx.ExecContext(ctx, query, args...)
			if err != nil {
				return 0, err
			}
			return result.RowsAffected()
		},
		queryRow: func(ctx context.Context, query string, args ...any) PgxRow {
			return tx.QueryRowContext(ctx, query, args...)
		},
	}
}

func pgxStatements[Tag PgxTag, Row PgxRow](tx PgxTx[Tag, Row]) statements {
	return statements{
		exec: func(ctx context.Context, query string, args ...any) (int64, error) {
			tag, err := tx.Exec(ctx, query, args...)
			if err != nil {
				return 0, err
			}
			return tag.RowsAffected(), nil
		},
		queryRow: func(ctx context.Context, query string, args ...any) PgxRow {
			return tx.QueryRow(ctx, query, args...)
		},
	}
}

func enqueue(ctx context.Context, tx statements, id string, events []Event) error {
	encoded, err := encode(id, events)
	if err != nil || len(events) == 0 {
		return err
	}
	body := string(encoded)
	sum, err := digest(body)
	if err != nil {
		return err
	}
	// Not "do update", which would lock an existing row for as long as the repair takes.
	inserted, err := tx.exec(ctx, `
		insert into ledger_metrics_outbox (id, body, digest) values ($1, $2, $3) on conflict (id) do nothing`, id, body, sum)
	if err != nil {
		return fmt.Errorf("delivery %s not enqueued: %w", id, err)
	}
	if inserted == 1 {
		return nil
	}
	var found int
	var foundSum, foundBody string
	// An aggregate always has a row. Without a row, each driver would have another error.
	err = tx.queryRow(ctx, `
		select count(*), coalesce(max(digest), ''), coalesce(max(body) filter (where digest is null), '')
		from ledger_metrics_outbox where id = $1`, id).Scan(&found, &foundSum, &foundBody)
	if err != nil {
		return fmt.Errorf("delivery %s not enqueued: %w", id, err)
	}
	if found == 0 { // Purged right now, 14 days after it was counted.
		return nil
	}
	if foundSum == "" { // Written by an earlier version, or by hand.
		if foundSum, err = digest(foundBody); err != nil {
			foundSum = ""
		}
	}
	if foundSum != sum {
		return fmt.Errorf("delivery %s: %w", id, ErrIDTaken)
	}
	return nil
}
