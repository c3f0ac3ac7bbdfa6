package ledgermetrics

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// picky answers as the receiver does: it refuses what it does not know, and more than a number of events at a time.
func picky(maxEvents int, counted map[string]int) http.HandlerFunc {
	var mutex sync.Mutex
	return func(w http.ResponseWriter, r *http.Request) {
		mutex.Lock()
		defer mutex.Unlock()
		body, _ := io.ReadAll(r.Body)
		var events []string
		if err := json.Unmarshal(body, &events); err != nil {
			answer(w, 400, `{"error":"the body is not JSON"}`)
			return
		}
		if len(events) > maxEvents {
			answer(w, 413, fmt.Sprintf(`{"error":"over %d events"}`, maxEvents))
			return
		}
		for i, event := range events {
			if strings.HasPrefix(event, "bad") {
				answer(w, 400, fmt.Sprintf(`{"error":"[%d].data.phase: is unknown"}`, i))
				return
			}
		}
		for _, event := range events {
			counted[event]++
		}
		recorded(w)
	}
}

func TestABadEventIsParkedAloneAndTheRestIsSent(t *testing.T) {
	db := open(t)
	run(t, db, `insert into ledger_metrics_outbox (id, body, digest, created_at) select 'sweep', jsonb_agg(
		case when n in (3, 699, 999) then 'bad-' || n else 'good-' || n end order by n), 'of all', '2026-01-31Z'
		from generate_series(0, 999) as n`)
	insert(t, db, "other", `["other"]`)
	counted := map[string]int{}
	outbox := NewOutbox(db, answering(t, picky(1000, counted)))
	drain(t, outbox, Drained{Counted: 2, Parked: 3})
	drain(t, outbox, Drained{})
	if len(counted) != 998 || counted["good-0"] != 1 || counted["good-998"] != 1 {
		t.Errorf("counted %d events", len(counted))
	}
	expect(t, db, `select id, body, created_at = '2026-01-31Z', last_error from ledger_metrics_outbox
		where parked_at is not null order by id`,
		`(sweep/part-1,"[""bad-3""]",t,"delivery sweep rejected with 400: [3].data.phase: is unknown") `+
			`(sweep/part-2,"[""bad-699""]",t,"delivery sweep rejected with 400: [698].data.phase: is unknown") `+
			`(sweep/part-3,"[""bad-999""]",t,"delivery sweep rejected with 400: [997].data.phase: is unknown")`)
	// The same repair once more is still the same, though the body has changed.
	expect(t, db, "select digest, attempts, sent_at is not null from ledger_metrics_outbox where id = 'sweep'",
		`("of all",4,t)`)
}

func TestTheSameEventsOnceMoreAreStillTheSameAfterASplit(t *testing.T) {
	db := open(t)
	enqueueBoth := func() {
		t.Helper()
		tx := begin(t, db)
		if err := Enqueue(ctx, tx, "sweep", OrphanRefund(), Action(StuckOrders)); err != nil {
			t.Error(err)
		}
		tx.Commit()
	}
	enqueueBoth()
	outbox := NewOutbox(db, answering(t, func(w http.ResponseWriter, r *http.Request) { // It knows no actions yet.
		if body, _ := io.ReadAll(r.Body); strings.Contains(string(body), "reconciler.action") {
			answer(w, 400, `{"error":"[1].type: must be another"}`)
			return
		}
		recorded(w)
	}))
	drain(t, outbox, Drained{Counted: 1, Parked: 1})
	enqueueBoth()
	expect(t, db, "select id, sent_at is null from ledger_metrics_outbox order by id", "(sweep,f) (sweep/part-1,t)")
}

func TestADeliveryThatIsTooLargeIsSentInParts(t *testing.T) {
	db := open(t)
	run(t, db, `insert into ledger_metrics_outbox (id, body) select 'sweep', jsonb_agg(
		case when n = 7 then 'bad' else 'good-' || n end order by n) from generate_series(0, 9) as n`)
	counted := map[string]int{}
	outbox := NewOutbox(db, answering(t, picky(3, counted)))
	drain(t, outbox, Drained{Counted: 4, Parked: 1})
	if len(counted) != 9 {
		t.Errorf("counted %v", counted)
	}
	for event, times := range counted {
		if times != 1 {
			t.Errorf("%s was counted %d times", event, times)
		}
	}
	expect(t, db, "select id, body from ledger_metrics_outbox order by id",
		`(sweep,"[""good-0"",""good-1""]") (sweep/part-1,"[""good-5"",""good-6""]") `+
			`(sweep/part-1/part-1,"[""good-8"",""good-9""]") (sweep/part-1/part-1/part-1,"[""bad""]") `+
			`(sweep/part-2,"[""good-2"",""good-3"",""good-4""]")`)
}

func TestWhatCannotBeSplitIsParkedWhole(t *testing.T) {
	db := open(t)
	long := strings.Repeat("x", 250)
	insert(t, db, "taken", `["bad","good"]`)
	insert(t, db, "taken/part-1", `["good"]`)
	insert(t, db, long, `["bad","good"]`)
	insert(t, db, "alone", `["bad"]`)
	insert(t, db, "text", `"bad"`)
	insert(t, db, "broken", `["bad"`)
	counted := map[string]int{}
	outbox := NewOutbox(db, answering(t, picky(1000, counted)))
	drain(t, outbox, Drained{Counted: 1, Parked: 5})
	expect(t, db, "select body from ledger_metrics_outbox where parked_at is not null order by id",
		`("[""bad""]") ("[""bad""") ("[""bad"",""good""]") ("""bad""") ("[""bad"",""good""]")`)
}

func TestDivideTakesNothingForAnEventThatIsNone(t *testing.T) {
	for _, reason := range []string{"the body is not JSON", "[2].type: is missing", "[-1]", "data: [0]", "[00002]", ""} {
		if rest, part, ok := divide(`[1,2]`, &RejectedError{Status: 400, Reason: reason}); ok {
			t.Errorf("%q: %s and %s", reason, rest, part)
		}
	}
	if rest, part, ok := divide(`[1, {"a" : "<"},3]`, &RejectedError{Status: 400, Reason: "[1].type: is missing"}); !ok ||
		rest != "[1,3]" || part != `[{"a":"\u003c"}]` {
		t.Error(rest, part, ok)
	}
	if _, _, ok := divide(`[1,2]`, &RejectedError{Status: 409, Reason: "[1]: was recorded"}); ok {
		t.Error("divides a delivery whose id is taken")
	}
}
