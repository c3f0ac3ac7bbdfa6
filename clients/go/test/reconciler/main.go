// A reconciler for the tests, as small as one can be: it "repairs" by inserting rows, and drains the outbox until it is
// ended. Usage: reconciler <first> <last>, the numbers of its sweeps; without them it only drains.
//
// KILL_AFTER=<number> of a sweep: it kills itself between that sweep's commit and any request. It drains nothing.
package main

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	_ "github.com/lib/pq"

	"github.com/veza/veza-ledger-metrics/clients/go/ledgermetrics"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	db, err := sql.Open("postgres", os.Getenv("DATABASE_URL"))
	fatal(err)
	client, err := ledgermetrics.NewClient(os.Getenv("RECEIVER_URL"), os.Getenv("WEBHOOK_SECRET"))
	fatal(err)
	client.Stage = os.Getenv("STAGE")

	killAfter, _ := strconv.Atoi(os.Getenv("KILL_AFTER"))
	draining := make(chan struct{})
	go func() {
		defer close(draining)
		if killAfter == 0 {
			fatal(ledgermetrics.NewOutbox(db, client).Run(ctx))
		}
	}()
	if len(os.Args) == 3 {
		first, err := strconv.Atoi(os.Args[1])
		fatal(err)
		last, err := strconv.Atoi(os.Args[2])
		fatal(err)
		for number := first; number <= last; number++ {
			for tries := 0; ; tries++ {
				err := repair(ctx, db, number)
				if err == nil {
					break
				}
				if tries == 20 {
					log.Fatal(err)
				}
				time.Sleep(100 * time.Millisecond)
			}
			if number == killAfter {
				fatal(syscall.Kill(os.Getpid(), syscall.SIGKILL))
			}
		}
		fmt.Println("repaired", first, "to", last)
	}
	<-draining
}

// repair does one sweep's work and enqueues what it did, in one transaction. What is repaired already is left alone.
func repair(ctx context.Context, db *sql.DB, number int) error {
	return ledgermetrics.InTx(ctx, db, nil, func(ctx context.Context, tx *sql.Tx) ([]ledgermetrics.Event, error) {
		orders, orphans := 1+number%5, number%3
		result, err := tx.ExecContext(ctx,
			"insert into repairs (sweep, orders, orphans) values ($1, $2, $3) on conflict do nothing", number, orders, orphans)
		if err != nil {
			return nil, err
		}
		if inserted, err := result.RowsAffected(); err != nil || inserted == 0 {
			return nil, err
		}
		startedAt := time.Now().Add(-time.Duration(number%9) * 250 * time.Millisecond)
		events := []ledgermetrics.Event{ledgermetrics.SweepEnded(startedAt)}
		for range orders {
			events = append(events, ledgermetrics.Action(ledgermetrics.StuckOrders))
		}
		for range orphans {
			events = append(events, ledgermetrics.Action(ledgermetrics.OrphanRefunds), ledgermetrics.OrphanRefund())
		}
		return events, nil
	})
}

func fatal(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
