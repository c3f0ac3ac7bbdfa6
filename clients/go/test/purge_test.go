package test

import (
	"net/http"
	"testing"

	"github.com/veza/veza-ledger-metrics/clients/go/ledgermetrics"
)

func TestPurgeDeletesWhatWasSentTwoWeeksAgoAFewAtATime(t *testing.T) {
	db := open(t)
	run(t, db, `insert into ledger_metrics_outbox (id, body, sent_at)
		select 'old-' || n, '[]', now() - interval '14 days 1 minute' from generate_series(1, 1500) as n`)
	run(t, db, `insert into ledger_metrics_outbox (id, body, sent_at, parked_at, created_at) values
		('sent', '[]', now() - interval '13 days 23 hours', null, now() - interval '30 days'),
		('waiting', '[]', null, null, now() - interval '30 days'),
		('parked', '[]', null, now() - interval '30 days', now() - interval '30 days')`)
	// What is sent is kept, so that each Drain only purges: once a minute.
	var outbox *ledgermetrics.Outbox
	for _, want := range []string{"(503)", "(3)"} {
		outbox = ledgermetrics.NewOutbox(db, answering(t, func(w http.ResponseWriter, r *http.Request) { recorded(w) }))
		if _, err := outbox.Drain(ctx); err != nil {
			t.Fatal(err)
		}
		expect(t, db, "select count(*) from ledger_metrics_outbox", want)
		run(t, db, "update ledger_metrics_outbox set sent_at = now() - interval '13 days 23 hours' where id = 'sent'")
	}
	run(t, db, "update ledger_metrics_outbox set sent_at = now() - interval '15 days' where id = 'sent'")
	drain(t, outbox, ledgermetrics.Drained{})
	expect(t, db, "select id from ledger_metrics_outbox order by id", "(parked) (sent) (waiting)")
}
