package test

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/veza/veza-ledger-metrics/clients/go/ledgermetrics"
)

func TestResendSinceSendsAgainWhatMayBeLost(t *testing.T) {
	db := open(t)
	for _, row := range [][]string{ // Sent and first sent, in days ago.
		{"before", "0.3", "0.3"}, {"after", "0.1", "0.1"}, {"again", "0.1", "12.9"}, {"too-old", "0.1", "13.1"},
	} {
		run(t, db, `insert into ledger_outbox.deliveries (id, body, sent_at, first_sent_at)
			select $1, '[]', now() - $2::float8 * interval '1 day', now() - $3::float8 * interval '1 day'`,
			row[0], row[1], row[2])
	}
	run(t, db, "insert into ledger_outbox.deliveries (id, body, parked_at) values ('parked', '[]', now())")
	insert(t, db, "waiting", "[]")
	insert(t, db, "claimed", "[]")
	run(t, db, "update ledger_outbox.deliveries set claimed_until = now() + interval '1 minute' where id = 'claimed'")
	var mutex sync.Mutex
	var sent []string
	outbox := outboxOf(t, db, func(w http.ResponseWriter, r *http.Request) {
		mutex.Lock()
		sent = append(sent, idOf(r))
		mutex.Unlock()
		answer(w, 200, `{"status":"duplicate","published":true}`)
	})
	drain(t, outbox, ledgermetrics.Drained{Counted: 1})
	if count, err := outbox.ResendSince(ctx, time.Now().Add(-5*time.Hour)); err != nil || count != 4 {
		t.Errorf("%d, %v", count, err)
	}
	drain(t, outbox, ledgermetrics.Drained{Counted: 4})
	slices.Sort(sent)
	if got := strings.Join(sent, " "); got != "after again claimed waiting waiting" {
		t.Errorf("sent %s", got)
	}
	expect(t, db, `select id from ledger_outbox.deliveries where sent_at > now() - interval '1 minute' and
		first_sent_at < now() - interval '12 days' and claimed_until is null`, "(again)")
}
