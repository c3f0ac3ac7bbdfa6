package ledgermetrics

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Phase is the part of a sweep that repaired a row.
type Phase string

// The phases that the receiver knows.
const (
	StuckOrders   Phase = "stuck_orders"
	StuckRefunds  Phase = "stuck_refunds"
	OrphanRefunds Phase = "orphan_refunds"
)

var phases = []Phase{StuckOrders, StuckRefunds, OrphanRefunds}

const (
	maxEvents        = 1_000
	maxSweepDuration = 24 * time.Hour
	maxRepairs       = 100_000
	maxClockAhead    = time.Second
)

// The receiver takes 256 characters. The others are for a person who has to give a parked row another id.
var validID = regexp.MustCompile(`^[!--/-~]{1,240}$`)

// ErrInvalid is in the chain of each error about input that the receiver would refuse: an unknown phase, a negative
// duration, an id with a space. The call has touched neither the transaction nor the network.
var ErrInvalid = errors.New("ledgermetrics: invalid input")

// Event is one thing that the reconciler did. It is a plain value: copy it, keep it, enqueue it again.
// [Repairs], [Action], [OrphanRefund], [SweepEnded] and [PhaseSweepEnded] make events; the zero value is not valid.
type Event struct {
	kind string
	// JSON, or empty.
	data string
	// When a sweep ended. Zero for other events: their time is that of the call that enqueues or sends them.
	at time.Time
	// What is wrong with it.
	problem string
}

// Repairs returns the events of the rows that this phase of the sweep has repaired: an [Action] for each row, and for
// [OrphanRefunds] an [OrphanRefund] too. rows is what RowsAffected of the repairing update says, from 0 to 100,000. So
// each row that the update has changed is counted, and no other.
func Repairs(phase Phase, rows int64) []Event {
	action := Action(phase)
	if rows < 0 || rows > maxRepairs {
		wrong := fmt.Sprintf("%d repaired rows: must be from 0 to %d", rows, maxRepairs)
		action.problem = cmp.Or(action.problem, wrong)
	}
	if action.problem != "" {
		return []Event{action}
	}
	var events []Event
	for range rows {
		events = append(events, action)
		if phase == OrphanRefunds {
			events = append(events, OrphanRefund())
		}
	}
	return events
}

// Action is one row that this phase of the sweep has repaired: its webhook was lost, or Hyperswitch was never called.
// To settle an order because the customer left the checkout is no repair: post no [StuckOrders] for it.
func Action(phase Phase) Event {
	event := Event{kind: "reconciler.action", data: fmt.Sprintf(`{"phase":%q}`, phase)}
	event.problem = wrongPhase(phase)
	return event
}

// wrongPhase says what is wrong with a phase, or "".
func wrongPhase(phase Phase) string {
	switch {
	case phase == "":
		return fmt.Sprintf("phase: is missing; must be one of %s", phases)
	case !slices.Contains(phases, phase):
		return fmt.Sprintf("phase %.40q: must be one of %s", phase, phases)
	}
	return ""
}

// OrphanRefund is one orphan refund that was marked as failed. It adds to a metric of its own. [Repairs] returns it
// with its Action(OrphanRefunds), so that neither is forgotten.
func OrphanRefund() Event {
	return Event{kind: "reconciler.orphan_refund"}
}

// SweepEnded is a sweep that began at startedAt, at most 24 hours ago, and that ends with this call. Enqueue it for
// each sweep, even if it repaired nothing: without it, VezaLedgerReconcilerDead fires.
//
// It is for a reconciler with one loop. If each phase has a loop of its own, enqueue [PhaseSweepEnded] in each instead:
// otherwise a loop that goes on hides one that is dead.
func SweepEnded(startedAt time.Time) Event {
	return sweepEnded(time.Since(startedAt), "")
}

// PhaseSweepEnded is [SweepEnded] for a loop that repairs this phase alone. From the first one on,
// VezaLedgerReconcilerDead also fires when the loop of this phase ends no more sweeps.
func PhaseSweepEnded(phase Phase, startedAt time.Time) Event {
	return phaseSweepEnded(phase, time.Since(startedAt))
}

func phaseSweepEnded(phase Phase, duration time.Duration) Event {
	event := sweepEnded(duration, fmt.Sprintf(`,"phase":%q`, phase))
	event.problem = cmp.Or(wrongPhase(phase), event.problem)
	return event
}

// sweepEnded returns a sweep with a field more in its data, or "". If it began up to a second ahead, by the clock of
// Postgres perhaps, it took no time.
func sweepEnded(duration time.Duration, field string) Event {
	if duration >= -maxClockAhead && duration < 0 {
		duration = 0
	}
	// Not duration.Seconds(), which makes 1.8399999999999999 of 1.84 s.
	data := fmt.Sprintf(`{"duration_seconds":%v%s}`, float64(duration)/float64(time.Second), field)
	event := Event{kind: "reconciler.sweep", data: data, at: time.Now()}
	if duration < 0 || duration > maxSweepDuration {
		event.problem = fmt.Sprintf("sweep duration %s: must be from 0 to %s; when did it begin?", duration, maxSweepDuration)
	}
	return event
}

// MarshalJSON writes the event as the receiver reads it. A sweep has the time at which it ended, however often it is
// sent. Any other event has the time at which it is enqueued or sent. The error wraps [ErrInvalid].
func (e Event) MarshalJSON() ([]byte, error) {
	if wrong := e.wrong(); wrong != "" {
		return nil, fmt.Errorf("%w: event: %s", ErrInvalid, wrong)
	}
	at := e.at
	if at.IsZero() {
		at = time.Now()
	}
	return json.Marshal(struct {
		Type      string          `json:"type"`
		Timestamp time.Time       `json:"timestamp"`
		Data      json.RawMessage `json:"data,omitempty"`
	}{e.kind, at.UTC().Truncate(time.Millisecond), json.RawMessage(e.data)})
}

// encode returns the body of a delivery, or an error that wraps ErrInvalid.
func encode(id string, events []Event) ([]byte, error) {
	if id == "" {
		return nil, fmt.Errorf("%w: id: is empty; it names the delivery", ErrInvalid)
	}
	if !validID.MatchString(id) {
		return nil, fmt.Errorf(
			"%w: id %.40q: must be 1 to 240 printable ASCII characters, without spaces and full stops", ErrInvalid, id)
	}
	if len(events) > maxEvents {
		return nil, fmt.Errorf("%w: delivery %s: over %d events; give each part its own id", ErrInvalid, id, maxEvents)
	}
	if problem := problemOf(events); problem != "" {
		return nil, fmt.Errorf("%w: delivery %s: %s", ErrInvalid, id, problem)
	}
	return json.Marshal(append([]Event{}, events...)) // Never null: an empty array is a delivery.
}

// problemOf says which event is wrong, by its index, and what is wrong with it, or "".
func problemOf(events []Event) string {
	for i, event := range events {
		if wrong := event.wrong(); wrong != "" {
			return fmt.Sprintf("event %d: %s", i, wrong)
		}
	}
	return ""
}

// wrong says what is wrong with an event, or "".
func (e Event) wrong() string {
	if e.kind == "" {
		return "is empty; Repairs, Action, OrphanRefund, SweepEnded and PhaseSweepEnded make events"
	}
	return e.problem
}

// addedBy says what the events of a body add to the counters. It is the same for a body that was rebuilt, with other
// timestamps and in another order. For a body that is not an array of events, it is the body.
func addedBy(body string) string {
	var events []struct {
		Type string
		Data any
	}
	if json.Unmarshal([]byte(body), &events) != nil {
		return body
	}
	lines := make([]string, len(events))
	for i, event := range events {
		line, _ := json.Marshal(event) // It came from JSON.
		lines[i] = string(line)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// inWords says what a body adds to the counters, for people: "2 actions stuck_orders, 1 sweep (1.84s)". It returns ""
// for a body that is not an array of events.
func inWords(body string) string {
	var events []struct {
		Type string
		Data struct {
			Phase           string
			DurationSeconds float64 `json:"duration_seconds"`
		}
	}
	if json.Unmarshal([]byte(body), &events) != nil {
		return ""
	}
	// Of each noun and phase.
	counts := map[[2]string]int{}
	swept := map[[2]string]time.Duration{}
	for _, event := range events {
		noun := strings.ReplaceAll(strings.TrimPrefix(event.Type, "reconciler."), "_", " ")
		what := [2]string{noun, event.Data.Phase}
		counts[what]++
		swept[what] += time.Duration(event.Data.DurationSeconds * float64(time.Second))
	}
	var words []string
	for what, count := range counts {
		text := fmt.Sprintf("%d %s", count, what[0])
		if count > 1 {
			text += "s"
		}
		text = strings.TrimSpace(text + " " + what[1])
		if what[0] == "sweep" {
			text += fmt.Sprintf(" (%s)", swept[what].Round(time.Microsecond))
		}
		words = append(words, text)
	}
	slices.Sort(words)
	return shorten(cmp.Or(strings.Join(words, ", "), "no events"), maxReasonRunes)
}
