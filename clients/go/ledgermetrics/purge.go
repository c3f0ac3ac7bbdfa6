package ledgermetrics

import (
	"context"
	"database/sql"
	"time"
)

const purgeEvery = time.Minute

// The oldest first, and a few at a time: no process waits for a purge, and a purge waits for no process.
const purgeSQL = `
	delete from public.ledger_metrics_outbox where id in (
		select id from public.ledger_metrics_outbox where sent_at < now() - interval '14 days'
		order by sent_at limit 1000
		for update skip locked
	) returning id`

// purge deletes some rows that were sent over 14 days ago, once a minute.
func (o *Outbox) purge(ctx context.Context) error {
	o.mutex.Lock()
	isDue := time.Since(o.purgedAt) >= purgeEvery
	if isDue {
		o.purgedAt = time.Now()
	}
	o.mutex.Unlock()
	if !isDue {
		return nil
	}
	if err := o.ask(ctx, func(*sql.Rows) error { return nil }, purgeSQL); err != nil {
		return failure("outbox not purged", err)
	}
	return nil
}
