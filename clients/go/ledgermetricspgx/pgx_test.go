package ledgermetricspgx

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/veza/veza-ledger-metrics/clients/go/ledgermetrics"
)

// test/go/go-client.test.ts runs these tests, with pgx 4 in place of 5 where Debian has no other.
var (
	_ DB     = (*pgxpool.Pool)(nil)
	_ DB     = (*pgx.Conn)(nil)
	_ pgx.Tx = (*pgxpool.Tx)(nil)
)

var (
	ctx    = context.Background()
	orphan = []ledgermetrics.Event{ledgermetrics.Action(ledgermetrics.OrphanRefunds), ledgermetrics.OrphanRefund()}
)

func connect(t *testing.T) *pgx.Conn {
	t.Helper()
	if os.Getenv("DATABASE_URL") == "" {
		t.Skip("DATABASE_URL is not set")
	}
	db, err := pgx.Connect(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close(ctx) })
	return db
}

// open returns a connection to a database with an empty outbox, and an empty table of repairs.
func open(t *testing.T) *pgx.Conn {
	t.Helper()
	db := connect(t)
	run(t, db, "delete from ledger_metrics_outbox")
	run(t, db, "drop table if exists repairs")
	run(t, db, "create table repairs (id int primary key, times int not null)")
	return db
}

func run(t *testing.T, db *pgx.Conn, query string) {
	t.Helper()
	if _, err := db.Exec(ctx, query); err != nil {
		t.Fatal(err)
	}
}

func expect(t *testing.T, db *pgx.Conn, query, want string) {
	t.Helper()
	got := ""
	err := db.QueryRow(ctx, "select coalesce(string_agg(found::text, ' '), '') from ("+query+") found").Scan(&got)
	if err != nil || got != want {
		t.Errorf("%s\n got %s, %v\nwant %s", query, got, err, want)
	}
}

func TestEnqueueIsPartOfTheTransaction(t *testing.T) {
	db := open(t)
	for _, end := range []func(pgx.Tx) error{
		func(tx pgx.Tx) error { return tx.Rollback(ctx) },
		func(tx pgx.Tx) error { return tx.Commit(ctx) },
	} {
		expect(t, db, "select id from ledger_metrics_outbox", "")
		tx, err := db.Begin(ctx)
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Rollback(ctx)
		if err := Enqueue(ctx, tx, "a", orphan...); err != nil {
			t.Fatal(err)
		}
		if err := Enqueue(ctx, tx, "a", orphan[1], orphan[0]); err != nil {
			t.Error(err)
		}
		if err := Enqueue(ctx, tx, "a", orphan[1]); !errors.Is(err, ledgermetrics.ErrIDTaken) {
			t.Error(err)
		}
		if err := Enqueue(ctx, tx, "a.b", orphan...); !errors.Is(err, ledgermetrics.ErrInvalid) {
			t.Error(err)
		}
		if err := end(tx); err != nil {
			t.Fatal(err)
		}
	}
	expect(t, db, "select id, jsonb_array_length(body::jsonb) from ledger_metrics_outbox", "(a,2)")
}

// Six workers each raise one counter, all at the same time.
func TestInTxRetriesASerializationFailureWithEverythingMadeAnew(t *testing.T) {
	db := open(t)
	run(t, db, "insert into repairs values (0, 0)")
	failures := make(chan error)
	for worker := range 6 {
		db := connect(t)
		go func() {
			options := pgx.TxOptions{IsoLevel: pgx.Serializable}
			failures <- InTx(ctx, db, options, func(ctx context.Context, tx pgx.Tx) (string, []ledgermetrics.Event, error) {
				times := 0
				if err := tx.QueryRow(ctx, "select times from repairs").Scan(&times); err != nil {
					return "", nil, err
				}
				_, err := tx.Exec(ctx, "update repairs set times = $1", times+1)
				return fmt.Sprintf("worker-%d", worker), orphan[1:], err
			})
		}()
	}
	for range 6 {
		if err := <-failures; err != nil {
			t.Error(err)
		}
	}
	expect(t, db, "select times from repairs", "(6)")
	expect(t, db, "select count(*), sum(jsonb_array_length(body::jsonb)) from ledger_metrics_outbox", "(6,6)")
}

func TestInTxRollsBack(t *testing.T) {
	db := open(t)
	failure := errors.New("failed")
	repair := func(ctx context.Context, id string, meanwhile func() error) error {
		db := connect(t)
		return InTx(ctx, db, pgx.TxOptions{}, func(ctx context.Context, tx pgx.Tx) (string, []ledgermetrics.Event, error) {
			if _, err := tx.Exec(ctx, "insert into repairs values (1, 1)"); err != nil {
				t.Error(err)
			}
			return id, orphan, meanwhile()
		})
	}
	if err := repair(ctx, "a", func() error { return failure }); !errors.Is(err, failure) {
		t.Error(err)
	}
	if err := repair(ctx, "", func() error { return nil }); !errors.Is(err, ledgermetrics.ErrInvalid) {
		t.Error(err)
	}
	ending, cancel := context.WithCancel(ctx)
	if err := repair(ending, "a", func() error { cancel(); return nil }); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	func() {
		defer func() { recover() }()
		repair(ctx, "a", func() error { panic("in mid-repair") })
	}()
	expect(t, db, "select id from repairs", "")
	expect(t, db, "select id from ledger_metrics_outbox", "")
	expect(t, db, `select state from pg_stat_activity
		where datname = current_database() and state like 'idle in transaction%'`, "")
}
