package ledgermetrics

import (
	"context"
	"database/sql"
	"errors"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"
)

// untouched is a transaction that must not be used.
type untouched struct{ Tx }

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
	if err := Enqueue(ctx, tx, "a", OrphanRefund()); err != nil {
		t.Fatal(err)
	}
	expect(t, db, "select id from ledger_metrics_outbox", "")
	tx.Rollback()
	expect(t, db, "select id from ledger_metrics_outbox", "")

	tx = begin(t, db)
	if err := Enqueue(ctx, tx, "a", OrphanRefund(), OrphanRefund()); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	expect(t, db, "select id, jsonb_array_length(body::jsonb) from ledger_metrics_outbox", "(a,2)")
}

func TestEventsOutliveARollbackAndAFailedInsert(t *testing.T) {
	db := open(t)
	events := []Event{Action(OrphanRefunds), OrphanRefund()}
	tx := begin(t, db)
	if err := Enqueue(ctx, tx, "a", events...); err != nil {
		t.Fatal(err)
	}
	tx.Rollback()
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if err := Enqueue(ended, begin(t, db), "a", events...); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	tx = begin(t, db)
	if err := Enqueue(ctx, tx, "a", events...); err != nil {
		t.Fatal(err)
	}
	tx.Commit()
	expect(t, db, "select id, jsonb_array_length(body::jsonb) from ledger_metrics_outbox", "(a,2)")
}

func TestEnqueueRefusesWrongInputBeforeItTouchesTheTransaction(t *testing.T) {
	for _, c := range wrongInputs {
		if err := Enqueue(ctx, untouched{}, c.id, c.events...); !errors.Is(err, ErrInvalid) {
			t.Errorf("%.20q: %v", c.id, err)
		}
	}
	if err := Enqueue(ctx, untouched{}, "nothing-to-do"); err != nil {
		t.Error(err)
	}
}

func TestEnqueueTakesTheSameEventsForTheSame(t *testing.T) {
	db := open(t)
	tx := begin(t, db)
	events := []Event{Action(OrphanRefunds), OrphanRefund(), SweepEnded(time.Second)}
	if err := Enqueue(ctx, tx, "a", events...); err != nil {
		t.Fatal(err)
	}
	rebuilt := []Event{SweepEnded(time.Second), OrphanRefund(), Action(OrphanRefunds)}
	rebuilt[0].at = rebuilt[0].at.Add(time.Hour)
	if err := Enqueue(ctx, tx, "a", rebuilt...); err != nil {
		t.Errorf("rebuilt: %v", err)
	}
	if err := Enqueue(ctx, tx, "a", OrphanRefund()); !errors.Is(err, ErrIDTaken) {
		t.Errorf("other events: %v", err)
	}
	// The transaction is still usable, and the other parts of a sweep are written.
	if err := Enqueue(ctx, tx, "a-2", OrphanRefund()); err != nil {
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
	if err := Enqueue(ctx, tx, "old", OrphanRefund()); err != nil {
		t.Error(err)
	}
	if err := Enqueue(ctx, tx, "old", Action(StuckOrders)); !errors.Is(err, ErrIDTaken) {
		t.Error(err)
	}
	if err := Enqueue(ctx, tx, "odd", OrphanRefund()); !errors.Is(err, ErrIDTaken) {
		t.Error(err)
	}
}

func TestEnqueueLocksNoRowThatIsThere(t *testing.T) {
	db := open(t)
	insert(t, db, "a", `[{"type":"reconciler.orphan_refund","timestamp":"2026-01-31T12:00:00Z"}]`)
	if err := Enqueue(ctx, begin(t, db), "a", OrphanRefund()); err != nil {
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
		if err := Enqueue(ctx, tx, "a", OrphanRefund()); err != nil {
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
	client, err := NewClient(os.Getenv("RECEIVER_URL"), os.Getenv("WEBHOOK_SECRET"))
	if err != nil {
		t.Fatal(err)
	}
	deliveries := map[string][]Event{
		strings.Repeat("~", 240): many(maxEvents, Action(OrphanRefunds)),
		"!":                      {SweepEnded(0), SweepEnded(maxSweepDuration), SweepEnded(1), {kind: "reconciler.orphan_refund"}},
		"ahead":                  {SweepEnded(0)},
	}
	for range 200 {
		id := ""
		for range 1 + rand.N(240) {
			id += string('!' + rand.N('~'-'!'+1))
		}
		id = strings.ReplaceAll(id, ".", "-")
		for range 1 + rand.N(5) {
			deliveries[id] = append(deliveries[id], []Event{
				Action(phases[rand.N(len(phases))]), OrphanRefund(),
				SweepEnded(rand.N(maxSweepDuration)),
			}[rand.N(3)])
		}
	}
	deliveries["ahead"][0].at = time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC)
	tx := begin(t, db)
	for id, events := range deliveries {
		if err := Enqueue(ctx, tx, id, events...); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	drain(t, NewOutbox(db, client), Drained{Counted: len(deliveries)})
}
