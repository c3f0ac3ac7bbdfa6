package ledgermetrics

import (
	"context"
	"database/sql"
	"time"
)

// It ends all claims, because a receiver that is gone may have answered those deliveries. It leaves out what was first
// sent over 13 days ago, as a claim does.
const resendSQL = `
	update ledger_outbox.deliveries set sent_at = null, claimed_until = null, attempts = 0, next_attempt_at = now()
	where (sent_at >= $1 and first_sent_at > now() - interval '13 days') or claimed_until is not null
	returning id`

// ResendSince makes every delivery due again that was counted since then, and returns their number. Call it when the
// receiver's database has lost what it had committed: after a failover or a restore. Choose a time before the loss.
// A delivery that was not lost is a duplicate there, and counts once.
//
// A delivery that was first sent over 13 days ago stays as it is: the receiver keeps ids for 14 days.
func (o *Outbox) ResendSince(ctx context.Context, since time.Time) (int64, error) {
	if err := o.check(); err != nil {
		return 0, err
	}
	var count int64
	err := Retry(ctx, func() error {
		count = 0
		return o.ask(ctx, func(*sql.Rows) error { count++; return nil }, resendSQL, since)
	})
	if err != nil {
		return 0, failure("outbox not sent again", err)
	}
	return count, nil
}
