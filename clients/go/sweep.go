package ledgermetrics

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
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
	maxEventsPerDelivery = 1_000
	maxEventsPerSweep    = 100_000
	maxSweepDuration     = 24 * time.Hour
)

type event struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"`
	Data      any       `json:"data,omitempty"`
}

// Sweep collects what the reconciler did, under the names of its former in-process counters. The zero value is ready for
// use, by several goroutines too. Nothing leaves it before Enqueue.
type Sweep struct {
	mutex  sync.Mutex
	events []event
	// Nil when nothing was.
	leftOut *ErrLeftOut
}

// ErrLeftOut says that a sweep was given what the receiver would refuse.
type ErrLeftOut struct {
	Events int
	// Reason is the first one's.
	Reason string
}

func (e *ErrLeftOut) Error() string {
	return fmt.Sprintf("%d events left out: %s", e.Events, e.Reason)
}

// RecordReconcilerAction counts one row that this phase of the sweep repaired.
func (s *Sweep) RecordReconcilerAction(phase Phase) {
	wrong := ""
	if phase != StuckOrders && phase != StuckRefunds && phase != OrphanRefunds {
		wrong = fmt.Sprintf("phase: must be %s, %s or %s", StuckOrders, StuckRefunds, OrphanRefunds)
	}
	s.add("reconciler.action", map[string]any{"phase": phase}, wrong)
}

// RecordReconcilerOrphanRefund counts one orphan refund that was marked as failed. Record its action as well.
func (s *Sweep) RecordReconcilerOrphanRefund() {
	s.add("reconciler.orphan_refund", nil, "")
}

// RecordReconcilerSweepDuration records how long a sweep took that ends now.
func (s *Sweep) RecordReconcilerSweepDuration(duration time.Duration) {
	wrong := ""
	if duration < 0 || duration > maxSweepDuration {
		wrong = fmt.Sprintf("sweep duration: must be from 0 to %s", maxSweepDuration)
	}
	seconds := float64(duration) / float64(time.Second) // duration.Seconds() makes 1.8399999999999999 of 1.84 s.
	s.add("reconciler.sweep", map[string]any{"duration_seconds": seconds}, wrong)
}

// add never fails, since a counter must not stop a repair. Enqueue tells of the first mistake.
func (s *Sweep) add(kind string, data any, wrong string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if wrong == "" && len(s.events) >= maxEventsPerSweep {
		wrong = fmt.Sprintf("over %d events: was Enqueue never called?", maxEventsPerSweep)
	}
	if wrong == "" {
		s.events = append(s.events, event{kind, time.Now().UTC().Truncate(time.Millisecond), data})
		return
	}
	if s.leftOut == nil {
		s.leftOut = &ErrLeftOut{Reason: wrong}
	}
	s.leftOut.Events++
}

// Enqueue writes what was recorded to the outbox within the caller's transaction, and empties the sweep: commit, and it
// will be counted; roll back, and it never happened. It is one delivery, or one for every 1,000 events: the id names the
// first, and the others are id#2, id#3 and so on. With nothing recorded it does nothing.
//
// The id has to be the same when the same work is done again, and of no other delivery: "sweep-" and the number of the
// sweep, or "refund-" and the id of the refund. Without full stops.
//
// What was recorded wrongly, such as an unknown phase, is left out: an *ErrLeftOut names it once the rest is enqueued. The
// transaction can be committed after that, after ErrIDTaken, and after a *ErrRejected, which is about the id and leaves the
// sweep as it was. After any other error, Postgres has ended it.
func (s *Sweep) Enqueue(ctx context.Context, tx Tx, id string) error {
	if !isValidID(id) || !isValidID(partID(id, maxEventsPerSweep/maxEventsPerDelivery)) {
		return &ErrRejected{ID: shorten(id), Reason: idRule + ", with room for #2 and so on"}
	}
	s.mutex.Lock()
	events, leftOut := s.events, s.leftOut
	s.events, s.leftOut = nil, nil
	s.mutex.Unlock()

	for part := 1; len(events) > 0; part++ {
		size := min(len(events), maxEventsPerDelivery)
		body, err := json.Marshal(events[:size])
		if err != nil {
			return err
		}
		if err := Enqueue(ctx, tx, partID(id, part), body); err != nil {
			return err
		}
		events = events[size:]
	}
	if leftOut != nil {
		return leftOut
	}
	return nil
}

func partID(id string, part int) string {
	if part == 1 {
		return id
	}
	return fmt.Sprintf("%s#%d", id, part)
}
