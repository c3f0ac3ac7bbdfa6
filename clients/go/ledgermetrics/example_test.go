package ledgermetrics_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/veza/veza-ledger-metrics/clients/go/ledgermetrics"
)

// These examples are compiled, and not run: ../test has tests of the same with real servers.

var (
	ctx    = context.Background()
	db     *sql.DB
	client *ledgermetrics.Client
)

// The condition on the old status is the guard: of two reconcilers that find the same orphan, one changes the row, and
// counts it.
func ExampleInTx() {
	failOrphan := func(refundID int64) error {
		return ledgermetrics.InTx(ctx, db, nil, func(ctx context.Context, tx *sql.Tx) ([]ledgermetrics.Event, error) {
			result, err := tx.ExecContext(ctx, `update refunds set status = 'failed'
				where id = $1 and status = 'pending' and coalesce(hyperswitch_refund_id, '') = ''`, refundID)
			if err != nil {
				return nil, err
			}
			repaired, err := result.RowsAffected()
			return ledgermetrics.Repairs(ledgermetrics.OrphanRefunds, repaired), err
		})
	}
	if err := failOrphan(17); err != nil {
		log.Fatal(err)
	}
}

// In a transaction of your own. If another has repaired the order meanwhile, the update changes no row, and there are no
// events.
func ExampleEnqueue() {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer tx.Rollback()
	result, err := tx.ExecContext(ctx, "update orders set status = 'paid' where id = $1 and status = 'pending'", 17)
	if err != nil {
		log.Fatal(err)
	}
	repaired, err := result.RowsAffected()
	if err != nil {
		log.Fatal(err)
	}
	if err := ledgermetrics.Enqueue(ctx, tx, ledgermetrics.Repairs(ledgermetrics.StuckOrders, repaired)...); err != nil {
		log.Fatal(err) // The repair is rolled back.
	}
	if err := tx.Commit(); err != nil {
		log.Fatal(err)
	}
}

// A job that may run twice over the same batch, and has nothing in its tables that says so. The id names the batch.
func ExampleEnqueueAs() {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer tx.Rollback()
	isNew, err := ledgermetrics.EnqueueAs(ctx, tx, "refund-batch-4711", ledgermetrics.Action(ledgermetrics.StuckRefunds))
	switch {
	case errors.Is(err, ledgermetrics.ErrIDTaken):
		log.Fatal(err) // Another batch has this id. It says what both add.
	case err != nil:
		log.Fatal(err)
	case !isNew:
		log.Println("this batch is counted already, or will be")
	}
	if err := tx.Commit(); err != nil {
		log.Fatal(err)
	}
}

// In a loop that repairs stuck refunds alone. Others repair orders and orphans, and enqueue their own.
func ExamplePhaseSweepEnded() {
	startedAt := time.Now()
	// The sweep.
	err := ledgermetrics.InTx(ctx, db, nil, func(context.Context, *sql.Tx) ([]ledgermetrics.Event, error) {
		return []ledgermetrics.Event{ledgermetrics.PhaseSweepEnded(ledgermetrics.StuckRefunds, startedAt)}, nil
	})
	if err != nil {
		log.Println("sweep not reported:", err) // The next one is.
	}
}

// Run is a function for an errgroup. Here a channel takes its error, and ctx ends on SIGTERM.
func ExampleOutbox_Run() {
	outbox := ledgermetrics.NewOutbox(db, client)
	outbox.Hooks.Parked = func(id string, err *ledgermetrics.RejectedError) { log.Println("parked", id, err.NotCounted) }
	sending := make(chan error, 1)
	go func() { sending <- outbox.Run(ctx) }()

	// The reconciler's work, until ctx ends.

	if err := <-sending; err != nil { // Before the database is closed.
		log.Fatal(err)
	}
}

// What Run does, once.
func ExampleOutbox_Drain() {
	drained, err := ledgermetrics.NewOutbox(db, client).Drain(ctx)
	fmt.Println(drained.Counted, "counted,", drained.Parked, "parked,", drained.Failed, "failed,", err)
}

// Without events it is a ping: it tries secret, database and gateway, and counts nothing.
func ExampleClient_Send() {
	client, err := ledgermetrics.NewClient(os.Getenv("RECEIVER_URL"), os.Getenv("WEBHOOK_SECRET"))
	if err != nil {
		log.Fatal(err)
	}
	_, err = client.Send(ctx, fmt.Sprintf("ping-%d", time.Now().UnixNano()))
	var rejected *ledgermetrics.RejectedError
	switch {
	case errors.As(err, &rejected):
		fmt.Println("answered, and not confirmed:", rejected.Reason, "Send it again?", rejected.Retryable)
	case err != nil:
		fmt.Println("no answer; send it again under the same id:", err)
	default:
		fmt.Println("the receiver works")
	}
}
