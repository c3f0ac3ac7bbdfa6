package ledgermetrics

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestEventsAreEncodedAsTheReceiverReadsThem(t *testing.T) {
	defer func(zone *time.Location) { time.Local = zone }(time.Local)
	time.Local = time.FixedZone("Kathmandu", 20_700)
	before := time.Now()
	body, err := encode("sweep-1", []Event{
		Action("stuck_orders"), Action(OrphanRefunds), OrphanRefund(), sweepEnded(1840*time.Millisecond, ""),
		phaseSweepEnded(StuckRefunds, time.Second),
	})
	must(t, err)
	var events []map[string]any
	must(t, json.Unmarshal(body, &events))
	got := ""
	for _, event := range events {
		at, err := time.Parse(time.RFC3339, event["timestamp"].(string))
		if err != nil || at.Location() != time.UTC || at.Before(before.Add(-time.Second)) || at.After(time.Now()) {
			t.Errorf("timestamp %v: %v", event["timestamp"], err)
		}
		got += fmt.Sprintln(event["type"], event["data"])
	}
	want := `reconciler.action map[phase:stuck_orders]
reconciler.action map[phase:orphan_refunds]
reconciler.orphan_refund <nil>
reconciler.sweep map[duration_seconds:1.84]
reconciler.sweep map[duration_seconds:1 phase:stuck_refunds]
`
	if got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if body, err := encode("ping", nil); err != nil || string(body) != "[]" {
		t.Errorf("no events are %s, %v", body, err)
	}
}

var wrongInputs = []struct {
	id     string
	events []Event
	reason string
}{
	{"", nil, "id: is empty"},
	{strings.Repeat("x", 241), nil, "must be 1 to 240 printable"},
	{"sweep.1", nil, "without spaces and full stops"},
	{"two words", nil, "without spaces and full stops"},
	{"line\nbreak", nil, "without spaces and full stops"},
	{"ä", nil, "without spaces and full stops"},
	{"a", []Event{OrphanRefund(), Action("stuck_order")}, `event 1: phase "stuck_order": must be one of [stuck_orders `},
	{"a", []Event{Action("")}, "event 0: phase: is missing; must be one of [stuck_orders "},
	{"a", []Event{PhaseSweepEnded("", time.Now())}, "event 0: phase: is missing; must be one of [stuck_orders "},
	{"a", []Event{PhaseSweepEnded("x", time.Now())}, `event 0: phase "x": must be one of [stuck_orders `},
	{"a", []Event{phaseSweepEnded(StuckOrders, -time.Minute)}, "event 0: sweep duration -1m0s: must be from 0 to 24h0m0s"},
	{"a", []Event{sweepEnded(-time.Second-1, "")}, "event 0: sweep duration -1.000000001s: must be from 0 to 24h0m0s"},
	{"a", []Event{sweepEnded(24*time.Hour+1, "")}, "must be from 0 to 24h0m0s"},
	{"a", []Event{SweepEnded(time.Time{})}, "must be from 0 to 24h0m0s; when did it begin?"},
	{"a", Repairs(StuckOrders, -1), "event 0: -1 repaired rows: must be from 0 to 100000"},
	{"a", Repairs(StuckOrders, 100_001), "event 0: 100001 repaired rows: must be from 0 to 100000"},
	{"a", Repairs("stuck", 0), `event 0: phase "stuck": must be one of [stuck_orders `},
	{"a", []Event{{}}, "event 0: is empty; Repairs, "},
	{"a", many(1001, OrphanRefund()), "over 1000 events; give each part its own id"},
}

func many(count int, event Event) []Event {
	events := make([]Event, count)
	for i := range events {
		events[i] = event
	}
	return events
}

func TestWrongInputIsAnErrorThatNamesIt(t *testing.T) {
	for _, c := range wrongInputs {
		_, err := encode(c.id, c.events)
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.reason) {
			t.Errorf("%v, want %s", err, c.reason)
		}
	}
}

func TestAnInvalidEventIsNoJSON(t *testing.T) {
	for _, events := range [][]Event{Repairs(StuckOrders, -1), {Action("stuck_order")}, {{}}} {
		if text, err := json.Marshal(events); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s, %v", text, err)
		}
	}
}

func TestInputUpToItsLimitsIsTaken(t *testing.T) {
	body, err := encode(strings.Repeat("~", 240), many(1000, Action(OrphanRefunds)))
	if err != nil || len(body) > 256*1024 {
		t.Errorf("%d bytes, %v", len(body), err)
	}
	if _, err := encode("!", []Event{sweepEnded(0, ""), sweepEnded(24*time.Hour, "")}); err != nil {
		t.Error(err)
	}
}

func TestASweepLastsFromItsBeginToTheCall(t *testing.T) {
	for _, sweep := range []Event{
		SweepEnded(time.Now().Add(-time.Hour)), PhaseSweepEnded(StuckOrders, time.Now().Add(-time.Hour)),
	} {
		var data struct {
			Seconds float64 `json:"duration_seconds"`
		}
		if err := json.Unmarshal([]byte(sweep.data), &data); err != nil || data.Seconds < 3600 || data.Seconds > 3700 {
			t.Errorf("%s, %v", sweep.data, err)
		}
	}
}

// Its begin may be of Postgres' clock.
func TestASweepThatBeganASecondAheadTookNoTime(t *testing.T) {
	for _, ahead := range []time.Duration{time.Nanosecond, time.Second} {
		sweep := sweepEnded(-ahead, "")
		if sweep.data != `{"duration_seconds":0}` || sweep.problem != "" {
			t.Errorf("%s, %s", sweep.data, sweep.problem)
		}
	}
}

func TestASweepThatIsSentAgainEndedWhenItEnded(t *testing.T) {
	sweep := SweepEnded(time.Now())
	first, err := encode("a", []Event{sweep})
	must(t, err)
	time.Sleep(2 * time.Millisecond) // The timestamp has milliseconds.
	if again, err := encode("a", []Event{sweep}); err != nil || string(again) != string(first) {
		t.Errorf("%s, and again %s, %v", first, again, err)
	}
}

func TestWhatABodyAddsIsWithoutTimeAndOrder(t *testing.T) {
	adds := func(events ...Event) string {
		body, err := encode("a", events)
		must(t, err)
		return addedBy(string(body))
	}
	of := adds(Action(StuckOrders), Action(StuckRefunds), sweepEnded(time.Second, ""))
	const later = `[{"type":"reconciler.sweep","timestamp":"2026-01-31T12:00:00Z","data":{"duration_seconds":1}},
		{"type":"reconciler.action","timestamp":"2026-01-31T12:00:00Z","data":{"phase":"stuck_refunds"}},
		{"data": {"phase": "stuck_orders"}, "type": "reconciler.action", "timestamp": "2026-01-31Z"}]`
	if addedBy(later) != of {
		t.Error("another order and another time add something else")
	}
	for _, other := range []string{
		adds(Action(StuckOrders), Action(StuckOrders), sweepEnded(time.Second, "")),
		adds(Action(StuckOrders), Action(StuckRefunds), sweepEnded(2*time.Second, "")),
		adds(Action(StuckOrders), Action(StuckRefunds)),
		adds(Action(StuckOrders), Action(StuckRefunds), phaseSweepEnded(StuckOrders, time.Second)),
		addedBy("no array"),
	} {
		if other == of {
			t.Error("other events add the same")
		}
	}
}

func TestRepairsAreTheEventsOfSoManyRows(t *testing.T) {
	for _, c := range []struct {
		phase Phase
		rows  int64
		want  string
	}{
		{StuckOrders, 0, "no events"},
		{StuckOrders, 10, "10 actions stuck_orders"},
		{StuckRefunds, 1, "1 action stuck_refunds"},
		{OrphanRefunds, 2, "2 actions orphan_refunds, 2 orphan refunds"},
	} {
		body, err := encode("a", Repairs(c.phase, c.rows))
		if err != nil || inWords(string(body)) != c.want {
			t.Errorf("%s, %v, want %s", body, err, c.want)
		}
	}
}

func TestABodyInWords(t *testing.T) {
	event := func(kind, data string) string { return fmt.Sprintf(`{"type":%q,"data":%s}`, kind, data) }
	order, orphan := event("reconciler.action", `{"phase":"stuck_orders"}`), event("reconciler.orphan_refund", "null")
	sweep := event("reconciler.sweep", `{"duration_seconds":1.84}`)
	phaseSweep := event("reconciler.sweep", `{"duration_seconds":0.5,"phase":"stuck_orders"}`)
	for body, want := range map[string]string{
		"[" + phaseSweep + "," + sweep + "," + phaseSweep + "]": "1 sweep (1.84s), 2 sweeps stuck_orders (1s)",
		"[" + order + "]": "1 action stuck_orders",
		"[" + order + "," + order + "," + orphan + "]": "1 orphan refund, 2 actions stuck_orders",
		"[" + sweep + "]": "1 sweep (1.84s)",
		"[" + sweep + "," + orphan + "," + sweep + "]": "1 orphan refund, 2 sweeps (3.68s)",
		"[" + event("reconciler.other", "{}") + "]":    "1 other",
		"[]":   "no events",
		"[":    "",
		"[1]":  "",
		"null": "no events",
		order:  "",
		`[{"type":"` + strings.Repeat("x", 1000) + `"}]`: "1 " + strings.Repeat("x", maxReasonRunes-2),
	} {
		if got := inWords(body); got != want {
			t.Errorf("%.60s: %q, want %q", body, got, want)
		}
	}
}
