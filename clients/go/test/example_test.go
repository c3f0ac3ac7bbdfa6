package test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/veza/veza-ledger-metrics/clients/go/ledgermetrics"
)

func newOutbox(db *sql.DB) *ledgermetrics.Outbox {
	client, err := ledgermetrics.NewClient(os.Getenv("RECEIVER_URL"), os.Getenv("WEBHOOK_SECRET"))
	if err != nil {
		log.Fatal(err)
	}
	return ledgermetrics.NewOutbox(db, client)
}

// A repair and its events in one transaction, and what Run does with them once a second.
func Example_drain() {
	db := openDatabase()
	defer db.Close()
	client, err := ledgermetrics.NewClient(os.Getenv("RECEIVER_URL"), os.Getenv("WEBHOOK_SECRET"))
	if err != nil {
		log.Fatal(err)
	}
	outbox := ledgermetrics.NewOutbox(db, client)

	err = ledgermetrics.InTx(ctx, db, nil, func(ctx context.Context, tx *sql.Tx) (string, []ledgermetrics.Event, error) {
		_, err := tx.ExecContext(ctx, "update orders set status = 'paid' where id = $1", 4711)
		return "stuck-order-4711", []ledgermetrics.Event{ledgermetrics.Action(ledgermetrics.StuckOrders)}, err
	})
	if err != nil {
		log.Fatal(err)
	}

	drained, err := outbox.Drain(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(drained.Counted, "counted,", drained.Parked, "parked")
	// Output: 1 counted, 0 parked
}

// Two reconcilers find the same orphan. It is counted once, and neither of them gets an error.
func ExampleInTx() {
	db := openDatabase()
	defer db.Close()
	failOrphan := func(refundID int) error {
		return ledgermetrics.InTx(ctx, db, nil, func(ctx context.Context, tx *sql.Tx) (string, []ledgermetrics.Event, error) {
			result, err := tx.ExecContext(ctx, `update refunds set status = 'failed'
				where id = $1 and status = 'pending' and coalesce(hyperswitch_refund_id, '') = ''`, refundID)
			if err != nil {
				return "", nil, err
			}
			if repaired, err := result.RowsAffected(); err != nil || repaired == 0 {
				return "", nil, err // Sent or repaired meanwhile: there is nothing to count.
			}
			id := fmt.Sprintf("orphan-refund-%d", refundID)
			return id, []ledgermetrics.Event{
				ledgermetrics.Action(ledgermetrics.OrphanRefunds),
				ledgermetrics.OrphanRefund(),
			}, nil
		})
	}
	fmt.Println(failOrphan(17), failOrphan(17))

	drained, err := newOutbox(db).Drain(ctx)
	fmt.Println(drained.Counted, err)
	// Output:
	// <nil> <nil>
	// 1 <nil>
}

// Another isolation level is an option, as for sql.DB.BeginTx.
func ExampleInTx_serializable() {
	db := openDatabase()
	defer db.Close()
	options := &sql.TxOptions{Isolation: sql.LevelSerializable}
	err := ledgermetrics.InTx(ctx, db, options, func(ctx context.Context, tx *sql.Tx) (string, []ledgermetrics.Event, error) {
		result, err := tx.ExecContext(ctx, "update refunds set status = 'failed' where id = $1 and status = 'pending'", 17)
		if err != nil {
			return "", nil, err
		}
		if repaired, err := result.RowsAffected(); err != nil || repaired == 0 {
			return "", nil, err // Nothing to count.
		}
		return "orphan-refund-17", []ledgermetrics.Event{ledgermetrics.OrphanRefund()}, nil
	})
	fmt.Println(err)
	// Output: <nil>
}

// A sweep that repairs everything in one transaction enqueues up to 1,000 events at a time, each time under another id.
func ExampleEnqueue() {
	db := openDatabase()
	defer db.Close()
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer tx.Rollback()
	events := []ledgermetrics.Event{ledgermetrics.SweepEnded(1840 * time.Millisecond)}
	for range 2_500 {
		events = append(events, ledgermetrics.Action(ledgermetrics.StuckRefunds))
	}
	for part := 1; len(events) > 0; part++ {
		size := min(len(events), 1_000)
		if err := ledgermetrics.Enqueue(ctx, tx, fmt.Sprintf("sweep-42-%d", part), events[:size]...); err != nil {
			log.Fatal(err)
		}
		events = events[size:]
	}
	if err := tx.Commit(); err != nil {
		log.Fatal(err)
	}

	drained, err := newOutbox(db).Drain(ctx)
	fmt.Println(drained.Counted, err)
	// Output: 3 <nil>
}

// What went wrong, and what to do about it.
func ExampleEnqueue_errors() {
	db := openDatabase()
	defer db.Close()
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer tx.Rollback()

	// A mistake in the program. The transaction was not touched.
	err = ledgermetrics.Enqueue(ctx, tx, "sweep-43", ledgermetrics.Action("stuck_order"))
	fmt.Println(errors.Is(err, ledgermetrics.ErrInvalid))
	// An id that was not derived from the work. The transaction can still be committed, without these events.
	err = ledgermetrics.Enqueue(ctx, tx, "sweep-42-3", ledgermetrics.OrphanRefund())
	fmt.Println(errors.Is(err, ledgermetrics.ErrIDTaken), err)
	// Output:
	// true
	// true ledgermetrics: the outbox has other events under this id: delivery sweep-42-3 has 501 actions stuck_refunds, and was given 1 orphan refund
}

// A deployment sends SIGTERM. Nothing stays claimed.
func ExampleOutbox_Run() {
	db := openDatabase()
	defer db.Close()
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	sending := make(chan struct{})
	go func() {
		defer close(sending)
		newOutbox(db).Run(ctx)
	}()

	// The reconciler's work, until ctx ends.
	syscall.Kill(os.Getpid(), syscall.SIGTERM)

	<-ctx.Done()
	<-sending // Before the database is closed.
	// Output:
}

// The receiver's database has lost its last minutes in a failover.
func ExampleOutbox_ResendSince() {
	db := openDatabase()
	defer db.Close()
	outbox := newOutbox(db)
	deliveries, err := outbox.ResendSince(ctx, time.Now().Add(-time.Hour))
	if err != nil {
		log.Fatal(err)
	}
	drained, err := outbox.Drain(ctx)
	fmt.Println(deliveries, "sent again:", drained.Counted, "counted before or now,", err)
	// Output: 5 sent again: 5 counted before or now, <nil>
}

// Without events it is a ping: it tries secret, database and gateway, and counts nothing.
func ExampleClient_Send() {
	client, err := ledgermetrics.NewClient(os.Getenv("RECEIVER_URL"), os.Getenv("WEBHOOK_SECRET"))
	if err != nil {
		log.Fatal(err)
	}
	err = client.Send(ctx, fmt.Sprintf("ping-%d", time.Now().UnixNano()))
	var rejected *ledgermetrics.RejectedError
	switch {
	case errors.As(err, &rejected):
		fmt.Println("answered, and not counted:", rejected.Reason, "Send it again?", rejected.Retryable)
	case err != nil:
		fmt.Println("no answer; send it again under the same id:", err)
	default:
		fmt.Println("the receiver works")
	}
	// Output: the receiver works
}
