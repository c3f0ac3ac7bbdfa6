// A reconciler for the ledger of npm start: every few seconds it repairs a stuck order, and counts each repair once.
package main

import (
	"cmp"
	"context"
	"log"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"

	"github.com/veza/veza-ledger-metrics/clients/go/ledgermetrics"
)

// Order is a row of the table orders.
type Order struct {
	ID        int64
	Status    string
	UpdatedAt time.Time
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	const demoURL = "postgres://demo_reconciler:local@127.0.0.1:5433/postgres?sslmode=disable"
	// Not DATABASE_URL, which may be of a real database in this shell: its orders would be marked as paid.
	databaseURL := cmp.Or(os.Getenv("DEMO_DATABASE_URL"), demoURL)
	receiverURL := cmp.Or(os.Getenv("RECEIVER_URL"), "http://127.0.0.1:8080/")
	secret := cmp.Or(os.Getenv("WEBHOOK_SECRET"), "whsec_cHVibGljIHNlY3JldCBvZiB0aGUgbG9jYWwgc3RhY2s=")
	stage := os.Getenv("STAGE") // The demo has none.
	// A real receiver, whose URL and secret this shell may have, would count the invented repairs of the demo.
	if receiver, err := url.Parse(receiverURL); err != nil || receiver.Hostname() != "127.0.0.1" {
		log.Fatal("RECEIVER_URL is not of this machine, and the demo's repairs are invented: unset RECEIVER_URL")
	}
	db, err := gorm.Open(postgres.Open(databaseURL))
	fatal(err)
	pool, err := db.DB()
	fatal(err)
	client, err := ledgermetrics.NewClient(receiverURL, secret)
	fatal(err)
	client.Stage = stage // A receiver of another stage counts nothing.

	outbox := ledgermetrics.NewOutbox(pool, client)
	outbox.Hooks.Sent = func(id string) { log.Println("counted", id) } // Run logs what fails, and what is parked.
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return outbox.Run(ctx) })
	group.Go(func() error { return sweepUntilTheEnd(ctx, db) })
	fatal(group.Wait()) // From here on, the database may be closed: Run has given back what it has claimed.
}

func sweepUntilTheEnd(ctx context.Context, db *gorm.DB) error {
	for ctx.Err() == nil {
		if err := sweep(ctx, db); err != nil && ctx.Err() == nil {
			log.Println("sweep failed:", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(5 * time.Second):
		}
	}
	return nil
}

// sweep repairs the order that is stuck the longest, if there is one. A real reconciler asks the payment provider about
// each stuck order first. Only an order that was paid is repaired: where the customer left, nothing was lost.
func sweep(ctx context.Context, db *gorm.DB) error {
	startedAt := time.Now()
	var stuck []Order
	err := db.WithContext(ctx).Raw(`select id from orders
		where status::text = 'pending' and hyperswitch_payment_id::text <> ''
			and created_at::timestamptz < now() - interval '30 minutes'
		order by created_at limit 1`).Scan(&stuck).Error
	if err != nil {
		return err
	}
	for _, order := range stuck {
		if err := repair(ctx, db, order.ID); err != nil {
			return err
		}
		log.Println("repaired order", order.ID)
	}
	return endSweep(ctx, db, startedAt)
}

func repair(ctx context.Context, db *gorm.DB, orderID int64) error {
	return ledgermetrics.Retry(ctx, func() error {
		return db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
			repaired := tx.Model(&Order{}).Where("id = ? and status = 'pending'", orderID).Update("status", "paid")
			if repaired.Error != nil {
				return repaired.Error
			}
			events := ledgermetrics.Repairs(ledgermetrics.StuckOrders, repaired.RowsAffected)
			return ledgermetrics.EnqueueGorm(ctx, tx.Statement.ConnPool, events...)
		})
	})
}

func endSweep(ctx context.Context, db *gorm.DB, startedAt time.Time) error {
	return db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		return ledgermetrics.EnqueueGorm(ctx, tx.Statement.ConnPool, ledgermetrics.SweepEnded(startedAt))
	})
}

func fatal(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
