package test

import (
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/veza/veza-ledger-metrics/clients/go/ledgermetrics"
)

// pass lets so many days pass for the rows of the outbox.
const pass = `update ledger_outbox.deliveries set created_at = created_at - $1 * interval '1 day',
	first_sent_at = first_sent_at - $1 * interval '1 day', sent_at = sent_at - $1 * interval '1 day',
	claimed_until = claimed_until - $1 * interval '1 day', next_attempt_at = next_attempt_at - $1 * interval '1 day'`

// The receiver counts the first request, whose answer is lost, and forgets the id after 14 days.
func TestWhatTheReceiverMayHaveForgottenIsNotSentAgain(t *testing.T) {
	db := open(t)
	counted, isAnswered := 0, false
	client := answering(t, func(w http.ResponseWriter, r *http.Request) {
		counted++
		if !isAnswered {
			w.WriteHeader(502)
			return
		}
		answer(w, 200, `{"status":"duplicate","published":true}`)
	})
	var log strings.Builder
	client.Logger = slog.New(slog.NewTextHandler(&log, nil))
	outbox := ledgermetrics.NewOutbox(db, client)
	expectParked := func(when string) {
		t.Helper()
		drain(t, outbox, ledgermetrics.Drained{Parked: 1})
		if counted != 1 {
			t.Errorf("%s: sent %d times", when, counted)
		}
		expect(t, db, "select parked_at is not null, sent_at, last_error from ledger_outbox.deliveries",
			`(t,,"ledgermetrics: delivery a not sent again: it was first sent over 13 days ago, so the receiver may have `+
				`counted it and forgotten it: 1 orphan refund")`)
		counted = 1
	}
	insert(t, db, "a", `[{"type":"reconciler.orphan_refund","timestamp":"2026-01-31T12:00:00Z"}]`)
	drain(t, outbox, ledgermetrics.Drained{Failed: 1})
	run(t, db, pass, 13.1)
	expectParked("a row that waited")
	if line := `level=ERROR msg="delivery parked" id=a error="it was first sent over 13 days ago`; !strings.Contains(log.String(), line) {
		t.Errorf("logged %s, want %s", log.String(), line)
	}
	run(t, db, "update ledger_outbox.deliveries set parked_at = null, next_attempt_at = now()") // As a person does.
	expectParked("a row that was parked")

	// Before that, it is sent as on the first day.
	run(t, db, "update ledger_outbox.deliveries set parked_at = null, first_sent_at = null, next_attempt_at = now()")
	counted = 0
	drain(t, outbox, ledgermetrics.Drained{Failed: 1})
	run(t, db, pass, 10)
	isAnswered = true
	drain(t, outbox, ledgermetrics.Drained{Counted: 1})
}

func TestADuplicateOfWhatWasNeverSentIsLogged(t *testing.T) {
	db := open(t)
	client := answering(t, func(w http.ResponseWriter, r *http.Request) {
		answer(w, 200, `{"status":"duplicate","published":true}`)
	})
	for _, c := range []struct {
		id, before string
		wantLine   bool
	}{
		{"another", "", true},
		{"mine", "attempts = 1", false},
		{"my-lost-claim", "first_sent_at = now() - interval '1 minute'", false},
	} {
		insert(t, db, c.id, `[{"type":"reconciler.orphan_refund","timestamp":"2026-01-31T12:00:00Z"}]`)
		if c.before != "" {
			run(t, db, "update ledger_outbox.deliveries set "+c.before+" where id = $1", c.id)
		}
		var log strings.Builder
		client.Logger = slog.New(slog.NewTextHandler(&log, nil))
		drain(t, ledgermetrics.NewOutbox(db, client), ledgermetrics.Drained{Counted: 1})
		line := "level=WARN msg=\"the receiver knew this delivery at the first attempt that was written down; unless an " +
			"answer was lost, another sender has used this id, and these events are not counted\" id=" + c.id + " events=\"1 orphan refund\""
		if strings.Contains(log.String(), line) != c.wantLine {
			t.Errorf("%s: logged %q", c.id, log.String())
		}
	}
}
