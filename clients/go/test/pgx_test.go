package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/jackc/pgx/v4"
	"github.com/jackc/pgx/v4/pgxpool"

	"github.com/veza/veza-ledger-metrics/clients/go/ledgermetrics"
)

// Version 4, since Debian has no other. Below, the compiler sees what version 5 declares.
func open(t *testing.T) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.Connect(context.Background(), os.Getenv("DATABASE_URL"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	run(t, pool, "delete from ledger_metrics_outbox")
	run(t, pool, "drop table if exists repairs")
	run(t, pool, "create table repairs (id int primary key, times int not null)")
	return pool
}

func run(t *testing.T, pool *pgxpool.Pool, query string) {
	t.Helper()
	if _, err := pool.Exec(context.Background(), query); err != nil {
		t.Fatal(err)
	}
}

func expect(t *testing.T, pool *pgxpool.Pool, query, want string) {
	t.Helper()
	got := ""
	err := pool.QueryRow(context.Background(),
		"select coalesce(string_agg(found::text, ' '), '') from ("+query+") found").Scan(&got)
	if err != nil || got != want {
		t.Errorf("%s\n got %s, %v\nwant %s", query, got, err, want)
	}
}

func TestEnqueuePgxIsPartOfTheTransaction(t *testing.T) {
	ctx, pool := context.Background(), open(t)
	for _, commit := range []bool{false, true} {
		tx, err := pool.Begin(ctx)
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Rollback(ctx)
		orphan := []ledgermetrics.Event{ledgermetrics.Action(ledgermetrics.OrphanRefunds), ledgermetrics.OrphanRefund()}
		if err := ledgermetrics.EnqueuePgx(ctx, tx, "a", orphan...); err != nil {
			t.Fatal(err)
		}
		if err := ledgermetrics.EnqueuePgx(ctx, tx, "a", orphan[1], orphan[0]); err != nil {
			t.Error(err)
		}
		if err := ledgermetrics.EnqueuePgx(ctx, tx, "a", orphan[1]); !errors.Is(err, ledgermetrics.ErrIDTaken) {
			t.Error(err)
		}
		if err := ledgermetrics.EnqueuePgx(ctx, tx, "a.b", orphan...); !errors.Is(err, ledgermetrics.ErrInvalid) {
			t.Error(err)
		}
		if commit {
			err = tx.Commit(ctx)
		} else {
			err = tx.Rollback(ctx)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	expect(t, pool, "select id, jsonb_array_length(body::jsonb) from ledger_metrics_outbox", "(a,2)")
}

func TestInPgxTxRetriesWithEverythingMadeAnew(t *testing.T) {
	ctx, pool := context.Background(), open(t)
	run(t, pool, "insert into repairs values (0, 0)")
	failures := make(chan error)
	for worker := range 6 {
		go func() {
			failures <- ledgermetrics.InPgxTx(ctx, pool, func(tx pgx.Tx) (string, []ledgermetrics.Event, error) {
				if _, err := tx.Exec(ctx, "set transaction isolation level serializable"); err != nil {
					return "", nil, err
				}
				times := 0
				if err := tx.QueryRow(ctx, "select times from repairs").Scan(&times); err != nil {
					return "", nil, err
				}
				_, err := tx.Exec(ctx, "update repairs set times = $1", times+1)
				return fmt.Sprintf("worker-%d", worker), []ledgermetrics.Event{ledgermetrics.OrphanRefund()}, err
			})
		}()
	}
	for range 6 {
		if err := <-failures; err != nil {
			t.Error(err)
		}
	}
	expect(t, pool, "select times from repairs", "(6)")
	expect(t, pool, "select count(*), sum(jsonb_array_length(body::jsonb)) from ledger_metrics_outbox", "(6,6)")
}

func TestInPgxTxRollsBack(t *testing.T) {
	ctx, pool := context.Background(), open(t)
	ended, cancel := context.WithCancel(ctx)
	failure := errors.New("failed")
	for _, work := range []func(tx pgx.Tx) (string, []ledgermetrics.Event, error){
		func(pgx.Tx) (string, []ledgermetrics.Event, error) { return "", nil, failure },
		func(pgx.Tx) (string, []ledgermetrics.Event, error) {
			return "", []ledgermetrics.Event{ledgermetrics.OrphanRefund()}, nil
		},
		func(pgx.Tx) (string, []ledgermetrics.Event, error) {
			cancel()
			return "a", []ledgermetrics.Event{ledgermetrics.OrphanRefund()}, nil
		},
	} {
		err := ledgermetrics.InPgxTx(ended, pool, func(tx pgx.Tx) (string, []ledgermetrics.Event, error) {
			if _, err := tx.Exec(ctx, "insert into repairs values (1, 1)"); err != nil {
				t.Error(err)
			}
			return work(tx)
		})
		if err == nil {
			t.Error("no error")
		}
	}
	expect(t, pool, "select id from repairs", "")
	expect(t, pool, "select id from ledger_metrics_outbox", "")
	if inUse := pool.Stat().AcquiredConns(); inUse != 0 {
		t.Errorf("%d connections are in use", inUse)
	}
}

// What pgx 5 declares, as far as it matters here: an interface for a transaction, and a tag that is a struct.
type (
	tagOfV5 struct{}
	rowOfV5 interface{ Scan(dest ...any) error }
	txOfV5  interface {
		Begin(ctx context.Context) (txOfV5, error)
		Commit(ctx context.Context) error
		Rollback(ctx context.Context) error
		Exec(ctx context.Context, sql string, arguments ...any) (commandTag tagOfV5, err error)
		QueryRow(ctx context.Context, sql string, args ...any) rowOfV5
	}
	poolOfV5 struct{}
)

func (tagOfV5) RowsAffected() int64                         { return 0 }
func (*poolOfV5) Begin(ctx context.Context) (txOfV5, error) { return nil, ctx.Err() }

var _ = func(ctx context.Context, tx txOfV5, pool *poolOfV5) (error, error) {
	return ledgermetrics.EnqueuePgx(ctx, tx, "id", ledgermetrics.OrphanRefund()),
		ledgermetrics.InPgxTx(ctx, pool, func(tx txOfV5) (string, []ledgermetrics.Event, error) { return "", nil, nil })
}
