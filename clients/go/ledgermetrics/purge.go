package ledgermetrics

import (
	"context"
	"database/sql"
	"time"
)

const purgeEvery = time.Minute

// Only ids of chance are deleted after 14 days: those of Enqueue, and of gen_random_uuid() in docs/other-languages.md.
// An id of one's own is kept for a year, since the receiver has forgotten it by then, and would count the same work
// again.
//
// The oldest first, and a few at a time: no process waits for a purge, and a purge waits for no process.
//
// Two statements, each of which reads by an index of outbox.sql only what it deletes. With "or", one statement would
// read the ids of a whole year each time.
const (
	purgeBeginSQL = `
	delete from ledger_outbox.deliveries where id = any (array(
		select id from ledger_outbox.deliveries where `
	purgeEndSQL = `
		order by sent_at limit 1000
		for update skip locked
	)) returning id`

	purgeChanceSQL = purgeBeginSQL +
		`sent_at < now() - interval '14 days' and id ~ '^evt-[0-9a-f-]{32,36}$'` + purgeEndSQL

	purgeYearSQL = purgeBeginSQL + `sent_at < now() - interval '1 year'` + purgeEndSQL
)

// purge deletes some rows that were sent long ago, once a minute.
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
	for _, statement := range []string{purgeChanceSQL, purgeYearSQL} {
		if err := o.ask(ctx, func(*sql.Rows) error { return nil }, statement); err != nil {
			return failure("outbox not purged", err)
		}
	}
	return nil
}
