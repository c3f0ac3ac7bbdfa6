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
	must(t, err)
	t.Cleanup(func() { tx.Rollback() })
	return tx
}

func TestEnqueueIsPartOfTheTransaction(t *testing.T) {
	db := open(t)
	tx := begin(t, db)
	must(t, ledgermetrics.Enqueue(ctx, tx, ledgermetrics.OrphanRefund()))
	expect(t, db, "select id from ledger_outbox.deliveries", "")
	tx.Rollback()
	expect(t, db, "select id from ledger_outbox.deliveries", "")

	tx = begin(t, db)
	must(t, ledgermetrics.Enqueue(ctx, tx, ledgermetrics.OrphanRefund(), ledgermetrics.OrphanRefund()))
	must(t, tx.Commit())
	expect(t, db, "select jsonb_array_length(body::jsonb) from ledger_outbox.deliveries", "(2)")
}

func TestEnqueueMakesADeliveryWithAnIDForEach1000Events(t *testing.T) {
	db := open(t)
	tx := begin(t, db)
	must(t, ledgermetrics.Enqueue(ctx, tx, ledgermetrics.Repairs(ledgermetrics.OrphanRefunds, 1250)...))
	must(t, tx.Commit())
	expect(t, db, "select jsonb_array_length(body::jsonb) from ledger_outbox.deliveries order by seq", "(1000) (1000) (500)")
	expect(t, db, "select count(distinct id), bool_and(id ~ '^evt-[0-9a-f]{32}$') from ledger_outbox.deliveries", "(3,t)")
	wrong := append(many(1000, ledgermetrics.OrphanRefund()), ledgermetrics.Action("stuck"))
	err := ledgermetrics.Enqueue(ctx, begin(t, db), wrong...)
	if !errors.Is(err, ledgermetrics.ErrInvalid) || !strings.Contains(err.Error(), "event 1000: ") {
		t.Error(err)
	}
	expect(t, db, "select count(*) from ledger_outbox.deliveries", "(3)")
}

// enqueueAs is EnqueueAs, of which a test expects an id that is new, or was there before.
func enqueueAs(t *testing.T, tx ledgermetrics.Tx, id string, wantNew bool, events ...ledgermetrics.Event) {
	t.Helper()
	if isNew, err := ledgermetrics.EnqueueAs(ctx, tx, id, events...); err != nil || isNew != wantNew {
		t.Errorf("%s: is new: %t, %v", id, isNew, err)
	}
}

// Nothing may have reached Postgres: somebody who overlooks the error would commit the repair without its event.
func TestARepairCannotBeCommittedAfterEnqueueHasFailed(t *testing.T) {
	db := open(t)
	withRepairs(t, db)
	ended, cancel := context.WithCancel(ctx)
	cancel()
	for name, enqueue := range map[string]func(*sql.Tx) error{
		"Enqueue": func(tx *sql.Tx) error { return ledgermetrics.Enqueue(ended, tx, ledgermetrics.OrphanRefund()) },
		"EnqueueAs": func(tx *sql.Tx) error {
			_, err := ledgermetrics.EnqueueAs(ended, tx, "a", ledgermetrics.OrphanRefund())
			return err
		},
	} {
		tx := begin(t, db)
		run(t, tx, "insert into repairs values (1)")
		if err := enqueue(tx); !errors.Is(err, context.Canceled) {
			t.Error(name, err)
		}
		if err := tx.Commit(); err == nil {
			t.Errorf("%s: the commit succeeds", name)
		}
		expect(t, db, "select id from repairs", "")
	}
}

func TestEnqueueAsTellsWhatWasThereBefore(t *testing.T) {
	db := open(t)
	tx := begin(t, db)
	sweep := ledgermetrics.SweepEnded(time.Now())
	enqueueAs(t, tx, "a", true, ledgermetrics.Action(ledgermetrics.OrphanRefunds), ledgermetrics.OrphanRefund(), sweep)
	enqueueAs(t, tx, "a", false, sweep, ledgermetrics.OrphanRefund(), ledgermetrics.Action(ledgermetrics.OrphanRefunds))
	isNew, err := ledgermetrics.EnqueueAs(ctx, tx, "a", ledgermetrics.OrphanRefund(), ledgermetrics.OrphanRefund())
	if isNew || !errors.Is(err, ledgermetrics.ErrIDTaken) ||
		!strings.Contains(err.Error(), "delivery a has 1 action orphan_refunds, 1 orphan refund, 1 sweep (") ||
		!strings.HasSuffix(err.Error(), "), and was given 2 orphan refunds") {
		t.Error(isNew, err)
	}
	// The transaction is still usable, and the other parts of a sweep are written.
	enqueueAs(t, tx, "a-2", true, ledgermetrics.OrphanRefund())
	must(t, tx.Commit())
	expect(t, db, "select id, jsonb_array_length(body::jsonb) from ledger_outbox.deliveries order by id", "(a,3) (a-2,1)")
}

func TestEnqueueAsLocksNoRowThatIsThere(t *testing.T) {
	db := open(t)
	insert(t, db, "a", `[{"type":"reconciler.orphan_refund","timestamp":"2026-01-31T12:00:00Z"}]`)
	enqueueAs(t, begin(t, db), "a", false, ledgermetrics.OrphanRefund())
	run(t, db, "set lock_timeout = '5s'; update ledger_outbox.deliveries set attempts = 1")
}

func TestTheRoleThatRepairsNeedsSelectAndInsert(t *testing.T) {
	tx := begin(t, open(t))
	run(t, tx, `create role only_repairs; grant usage on schema ledger_outbox to only_repairs;
		grant select, insert on ledger_outbox.deliveries to only_repairs;
		set local role only_repairs`)
	enqueueAs(t, tx, "a", true, ledgermetrics.OrphanRefund())
	enqueueAs(t, tx, "a", false, ledgermetrics.OrphanRefund())
	must(t, ledgermetrics.Enqueue(ctx, tx, ledgermetrics.OrphanRefund()))
}

func TestTheTableRefusesWhatNoReceiverTakes(t *testing.T) {
	db := open(t)
	for _, id := range []string{"", "a.b", "two words", "ä", "line\nbreak"} {
		if _, err := db.Exec("insert into ledger_outbox.deliveries (id, body) values ($1, '[]')", id); err == nil {
			t.Errorf("took %q", id)
		}
	}
	if _, err := db.Exec("insert into ledger_outbox.deliveries (id, body) values ('a', repeat('x', 262145))"); err == nil {
		t.Error("took a body that is too long")
	}
	insert(t, db, "!-/~#2", strings.Repeat("x", 262144))
}

// What else can be refused: an id that another sender has used, a body that a person wrote, and a receiver of another
// version.
func TestTheReceiverRefusesNothingThatEnqueueTakes(t *testing.T) {
	db := open(t)
	client, err := ledgermetrics.NewClient(os.Getenv("RECEIVER_URL"), os.Getenv("WEBHOOK_SECRET"))
	must(t, err)
	prefix := fmt.Sprintf("%016x-", rand.Uint64()) // Others post to this receiver too.
	deliveries := map[string][]ledgermetrics.Event{
		strings.Repeat("~", 240): many(1000, ledgermetrics.Action(ledgermetrics.OrphanRefunds)),
		"!":                      {ledgermetrics.OrphanRefund()},
		prefix + "sweeps":        {ledgermetrics.SweepEnded(time.Now()), ledgermetrics.SweepEnded(ago(maxSweep))},
	}
	phases := []ledgermetrics.Phase{ledgermetrics.StuckOrders, ledgermetrics.StuckRefunds, ledgermetrics.OrphanRefunds}
	for range 60 {
		id := prefix
		for range 1 + rand.N(240-len(prefix)) {
			id += string('!' + rand.N('~'-'!'+1))
		}
		id = strings.ReplaceAll(id, ".", "-")
		for range 1 + rand.N(5) {
			deliveries[id] = append(deliveries[id], []ledgermetrics.Event{
				ledgermetrics.Action(phases[rand.N(3)]), ledgermetrics.OrphanRefund(),
				ledgermetrics.SweepEnded(ago(rand.N(maxSweep))),
				ledgermetrics.PhaseSweepEnded(phases[rand.N(3)], ago(rand.N(maxSweep))),
			}[rand.N(4)])
		}
	}
	tx := begin(t, db)
	for id, events := range deliveries {
		enqueueAs(t, tx, id, true, events...)
	}
	must(t, tx.Commit())
	drain(t, ledgermetrics.NewOutbox(db, client), ledgermetrics.Drained{Counted: len(deliveries)})
}

// Nearly 24 hours, since the call that ends the sweep comes later.
const maxSweep = 24*time.Hour - time.Minute

func ago(duration time.Duration) time.Time { return time.Now().Add(-duration) }

func many(count int, event ledgermetrics.Event) []ledgermetrics.Event {
	events := make([]ledgermetrics.Event, count)
	for i := range events {
		events[i] = event
	}
	return events
}
