package test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/veza/veza-ledger-metrics/clients/go/ledgermetrics"
)

func begin(t *testing.T, db *sql.DB) *sql.Tx {
	t.Helper()
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tx.Rollback() })
	return tx
}

func TestEnqueueIsPartOfTheTransaction(t *testing.T) {
	db := open(t)
	tx := begin(t, db)
	if err := ledgermetrics.Enqueue(ctx, tx, "a", ledgermetrics.OrphanRefund()); err != nil {
		t.Fatal(err)
	}
	expect(t, db, "select id from ledger_metrics_outbox", "")
	tx.Rollback()
	expect(t, db, "select id from ledger_metrics_outbox", "")

	tx = begin(t, db)
	if err := ledgermetrics.Enqueue(ctx, tx, "a", ledgermetrics.OrphanRefund(), ledgermetrics.OrphanRefund()); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	expect(t, db, "select id, jsonb_array_length(body::jsonb) from ledger_metrics_outbox", "(a,2)")
}

func TestEventsOutliveARollbackAndAFailedInsert(t *testing.T) {
	db := open(t)
	events := []ledgermetrics.Event{ledgermetrics.Action(ledgermetrics.OrphanRefunds), ledgermetrics.OrphanRefund()}
	tx := begin(t, db)
	if err := ledgermetrics.Enqueue(ctx, tx, "a", events...); err != nil {
		t.Fatal(err)
	}
	tx.Rollback()
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if err := ledgermetrics.Enqueue(ended, begin(t, db), "a", events...); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	tx = begin(t, db)
	if err := ledgermetrics.Enqueue(ctx, tx, "a", events...); err != nil {
		t.Fatal(err)
	}
	tx.Commit()
	expect(t, db, "select id, jsonb_array_length(body::jsonb) from ledger_metrics_outbox", "(a,2)")
}

func TestEnqueueTakesTheSameEventsForTheSame(t *testing.T) {
	db := open(t)
	tx := begin(t, db)
	events := []ledgermetrics.Event{ledgermetrics.Action(ledgermetrics.OrphanRefunds), ledgermetrics.OrphanRefund(), ledgermetrics.SweepEnded(time.Second)}
	if err := ledgermetrics.Enqueue(ctx, tx, "a", events...); err != nil {
		t.Fatal(err)
	}
	rebuilt := []ledgermetrics.Event{ledgermetrics.SweepEnded(time.Second), ledgermetrics.OrphanRefund(), ledgermetrics.Action(ledgermetrics.OrphanRefunds)}
	if err := ledgermetrics.Enqueue(ctx, tx, "a", rebuilt...); err != nil {
		t.Errorf("rebuilt: %v", err)
	}
	if err := ledgermetrics.Enqueue(ctx, tx, "a", ledgermetrics.OrphanRefund()); !errors.Is(err, ledgermetrics.ErrIDTaken) {
		t.Errorf("other events: %v", err)
	}
	// The transaction is still usable, and the other parts of a sweep are written.
	if err := ledgermetrics.Enqueue(ctx, tx, "a-2", ledgermetrics.OrphanRefund()); err != nil {
		t.Error(err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	expect(t, db, "select id, jsonb_array_length(body::jsonb) from ledger_metrics_outbox order by id", "(a,3) (a-2,1)")
}

func TestEnqueueComparesWithRowsOfAnEarlierVersion(t *testing.T) {
	db := open(t)
	insert(t, db, "old", `[{"type":"reconciler.orphan_refund","timestamp":"2026-01-31T12:00:00Z"}]`)
	insert(t, db, "odd", `{"type":"reconciler.orphan_refund"`)
	tx := begin(t, db)
	if err := ledgermetrics.Enqueue(ctx, tx, "old", ledgermetrics.OrphanRefund()); err != nil {
		t.Error(err)
	}
	if err := ledgermetrics.Enqueue(ctx, tx, "old", ledgermetrics.Action(ledgermetrics.StuckOrders)); !errors.Is(err, ledgermetrics.ErrIDTaken) {
		t.Error(err)
	}
	if err := ledgermetrics.Enqueue(ctx, tx, "odd", ledgermetrics.OrphanRefund()); !errors.Is(err, ledgermetrics.ErrIDTaken) {
		t.Error(err)
	}
}

func TestEnqueueLocksNoRowThatIsThere(t *testing.T) {
	db := open(t)
	insert(t, db, "a", `[{"type":"reconciler.orphan_refund","timestamp":"2026-01-31T12:00:00Z"}]`)
	if err := ledgermetrics.Enqueue(ctx, begin(t, db), "a", ledgermetrics.OrphanRefund()); err != nil {
		t.Fatal(err)
	}
	run(t, db, "set lock_timeout = '5s'; update ledger_metrics_outbox set attempts = 1")
}

func TestTheRoleThatRepairsNeedsSelectAndInsert(t *testing.T) {
	tx := begin(t, open(t))
	if _, err := tx.Exec(`create role only_repairs; grant select, insert on ledger_metrics_outbox to only_repairs;
		set local role only_repairs`); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := ledgermetrics.Enqueue(ctx, tx, "a", ledgermetrics.OrphanRefund()); err != nil {
			t.Error(err)
		}
	}
}

func TestTheTableRefusesWhatNoReceiverTakes(t *testing.T) {
	db := open(t)
	for _, id := range []string{"", "a.b", "two words", "ä", "line\nbreak"} {
		if _, err := db.Exec("insert into ledger_metrics_outbox (id, body) values ($1, '[]')", id); err == nil {
			t.Errorf("took %q", id)
		}
	}
	if _, err := db.Exec("insert into ledger_metrics_outbox (id, body) values ('a', repeat('x', 262145))"); err == nil {
		t.Error("took a body that is too long")
	}
	insert(t, db, "!-/~#2", strings.Repeat("x", 262144))
}

// What else can be refused: an id that another sender has used, a body that a person wrote, and a receiver of another
// version.
func TestTheReceiverRefusesNothingThatEnqueueTakes(t *testing.T) {
	db := open(t)
	client, err := ledgermetrics.NewClient(os.Getenv("RECEIVER_URL"), os.Getenv("WEBHOOK_SECRET"))
	if err != nil {
		t.Fatal(err)
	}
	deliveries := map[string][]ledgermetrics.Event{
		strings.Repeat("~", 240): many(1000, ledgermetrics.Action(ledgermetrics.OrphanRefunds)),
		"!":                      {ledgermetrics.SweepEnded(0), ledgermetrics.SweepEnded(24 * time.Hour), ledgermetrics.SweepEnded(1)},
	}
	phases := []ledgermetrics.Phase{ledgermetrics.StuckOrders, ledgermetrics.StuckRefunds, ledgermetrics.OrphanRefunds}
	prefix := fmt.Sprintf("%016x-", rand.Uint64()) // Others post to this receiver too.
	for range 200 {
		id := prefix
		for range 1 + rand.N(240-len(prefix)) {
			id += string('!' + rand.N('~'-'!'+1))
		}
		id = strings.ReplaceAll(id, ".", "-")
		for range 1 + rand.N(5) {
			deliveries[id] = append(deliveries[id], []ledgermetrics.Event{
				ledgermetrics.Action(phases[rand.N(3)]), ledgermetrics.OrphanRefund(),
				ledgermetrics.SweepEnded(rand.N(24 * time.Hour)),
			}[rand.N(3)])
		}
	}
	tx := begin(t, db)
	for id, events := range deliveries {
		if err := ledgermetrics.Enqueue(ctx, tx, id, events...); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	drain(t, ledgermetrics.NewOutbox(db, client), ledgermetrics.Drained{Counted: len(deliveries)})
}

func many(count int, event ledgermetrics.Event) []ledgermetrics.Event {
	events := make([]ledgermetrics.Event, count)
	for i := range events {
		events[i] = event
	}
	return events
}
