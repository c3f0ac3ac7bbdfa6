package ledgermetrics

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
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

const (
	maxEvents        = 1_000
	maxSweepDuration = 24 * time.Hour
	// The receiver takes 256 characters. The others are for a person who has to give a parked row another id.
	maxIDLength = 240
)

// ErrInvalid is in the chain of each error about input that the receiver would refuse: an unknown phase, a negative
// duration, an id with a space. The call has touched neither the transaction nor the network.
var ErrInvalid = errors.New("ledgermetrics: invalid input")

// Event is one thing that the reconciler did. It is a plain value: copy it, keep it, enqueue it again. [Action],
// [OrphanRefund] and [SweepEnded] make events; the zero value is not valid.
type Event struct {
	kind     string
	at       time.Time
	phase    Phase
	duration time.Duration
}

// Action is one row that this phase of the sweep repaired.
func Action(phase Phase) Event {
	return Event{kind: "reconciler.action", at: time.Now(), phase: phase}
}

// OrphanRefund is one orphan refund that was marked as failed. Enqueue its Action(OrphanRefunds) as well: each event
// adds to a metric of its own.
func OrphanRefund() Event {
	return Event{kind: "reconciler.orphan_refund", at: time.Now()}
}

// SweepEnded is a sweep that ends now, and its duration, from 0 to 24 hours.
func SweepEnded(duration time.Duration) Event {
	return Event{kind: "reconciler.sweep", at: time.Now(), duration: duration}
}

func (e Event) check() error {
	switch e.kind {
	case "reconciler.action":
		if e.phase != StuckOrders && e.phase != StuckRefunds && e.phase != OrphanRefunds {
			return fmt.Errorf("phase %.40q: must be %s, %s or %s", e.phase, StuckOrders, StuckRefunds, OrphanRefunds)
		}
	case "reconciler.orphan_refund":
	case "reconciler.sweep":
		if e.duration < 0 || e.duration > maxSweepDuration {
			return fmt.Errorf("sweep duration %s: must be from 0 to %s", e.duration, maxSweepDuration)
		}
	default:
		return errors.New("is empty; Action, OrphanRefund and SweepEnded make events")
	}
	return nil
}

// MarshalJSON writes the event as the receiver reads it.
func (e Event) MarshalJSON() ([]byte, error) {
	var data any
	switch e.kind {
	case "reconciler.action":
		data = map[string]any{"phase": e.phase}
	case "reconciler.sweep":
		// Not duration.Seconds(), which makes 1.8399999999999999 of 1.84 s.
		data = map[string]any{"duration_seconds": float64(e.duration) / float64(time.Second)}
	}
	return json.Marshal(struct {
		Type      string    `json:"type"`
		Timestamp time.Time `json:"timestamp"`
		Data      any       `json:"data,omitempty"`
	}{e.kind, e.at.UTC().Truncate(time.Millisecond), data})
}

// encode returns the body of a delivery, or an error that wraps ErrInvalid.
func encode(id string, events []Event) ([]byte, error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	if len(events) > maxEvents {
		return nil, fmt.Errorf("%w: delivery %s: over %d events; give each part its own id", ErrInvalid, id, maxEvents)
	}
	for i, event := range events {
		if err := event.check(); err != nil {
			return nil, fmt.Errorf("%w: delivery %s: event %d: %w", ErrInvalid, id, i, err)
		}
	}
	return json.Marshal(append([]Event{}, events...)) // Never null: an empty array is a delivery.
}

func checkID(id string) error {
	for _, char := range []byte(id) {
		if char < '!' || char > '~' || char == '.' {
			return fmt.Errorf("%w: id %.40q: must be printable ASCII without spaces and full stops", ErrInvalid, id)
		}
	}
	if len(id) < 1 || len(id) > maxIDLength {
		return fmt.Errorf("%w: id %.40q: must have 1 to %d characters", ErrInvalid, id, maxIDLength)
	}
	return nil
}

// digest identifies what the events of a body add to the counters. It is the same for a body that was rebuilt, with
// other timestamps and in another order.
func digest(body string) (string, error) {
	var events []struct {
		Type string
		Data any
	}
	if err := json.Unmarshal([]byte(body), &events); err != nil {
		return "", err
	}
	lines := make([]string, len(events))
	for i, event := range events {
		line, err := json.Marshal(event)
		if err != nil {
			return "", err
		}
		lines[i] = string(line)
	}
	slices.Sort(lines)
	sum := sha256.Sum256([]byte(strings.Join(lines, "\n")))
	return hex.EncodeToString(sum[:]), nil
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
	type noun struct{ one, many string }
	counts := map[noun]int{}
	var swept time.Duration
	for _, event := range events {
		switch event.Type {
		case "reconciler.action":
			counts[noun{"action " + event.Data.Phase, "actions " + event.Data.Phase}]++
		case "reconciler.orphan_refund":
			counts[noun{"orphan refund", "orphan refunds"}]++
		case "reconciler.sweep":
			counts[noun{"sweep", "sweeps"}]++
			swept += time.Duration(event.Data.DurationSeconds * float64(time.Second))
		default:
			counts[noun{event.Type, event.Type}]++
		}
	}
	var words []string
	for noun, count := range counts {
		name := noun.many
		if count == 1 {
			name = noun.one
		}
		if noun.one == "sweep" {
			name += fmt.Sprintf(" (%s)", swept.Round(time.Microsecond))
		}
		words = append(words, fmt.Sprintf("%d %s", count, name))
	}
	slices.Sort(words)
	return shorten(cmp.Or(strings.Join(words, ", "), "no events"), maxReasonRunes)
}
