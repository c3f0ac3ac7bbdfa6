// A reconciler for the ledger of npm start: it repairs a stuck order every few seconds, and counts each repair once.
package main

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	_ "github.com/lib/pq"

	"github.com/veza/veza-ledger-metrics/clients/go/ledgermetrics"
)

// A real reconciler asks the payment provider first.
const repairOrder = `update orders set status = 'paid', updated_at = now() where id = (
	select id from orders
	where status = 'pending' and hyperswitch_payment_id <> '' and created_at < now() - interval '30 minutes'
	order by created_at limit 1 for update skip locked
) returning id`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	databaseURL := cmp.Or(os.Getenv("DATABASE_URL"), "postgres://postgres:postgres@127.0.0.1:5433/postgres?sslmode=disable")
	receiverURL := cmp.Or(os.Getenv("RECEIVER_URL"), "http://127.0.0.1:8080/")
	secret := cmp.Or(os.Getenv("WEBHOOK_SECRET"), "whsec_cHVibGljIHNlY3JldCBvZiB0aGUgbG9jYWwgc3RhY2s=")
	db, err := sql.Open("postgres", databaseURL)
	if err != nil {
		log.Fatal(err)
	}
	client, err := ledgermetrics.NewClient(receiverURL, secret)
	if err != nil {
		log.Fatal(err)
	}
	outbox := ledgermetrics.NewOutbox(db, client)
	outbox.Hooks.Sent = func(id string) { log.Println("counted", id) } // Run logs what fails, and what is parked.
	sending := make(chan struct{})
	go func() {
		defer close(sending)
		outbox.Run(ctx)
	}()
	for ctx.Err() == nil {
		if err := sweep(ctx, db); err != nil && ctx.Err() == nil {
			log.Println("sweep failed:", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(5 * time.Second):
		}
	}
	<-sending // Run has given back what it has claimed.
}

// sweep repairs an order, if one is stuck, and commits the repair together with the events that count it.
func sweep(ctx context.Context, db *sql.DB) error {
	startedAt := time.Now()
	return ledgermetrics.InTx(ctx, db, nil, func(ctx context.Context, tx *sql.Tx) (string, []ledgermetrics.Event, error) {
		var events []ledgermetrics.Event
		var order int
		switch err := tx.QueryRowContext(ctx, repairOrder).Scan(&order); err {
		case nil:
			events = append(events, ledgermetrics.Action(ledgermetrics.StuckOrders))
		case sql.ErrNoRows:
		default:
			return "", nil, err
		}
		events = append(events, ledgermetrics.SweepEnded(time.Since(startedAt)))
		return fmt.Sprintf("sweep-%d", startedAt.UnixNano()), events, nil
	})
}
