package ledgermetrics

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// noted is a transaction that notes what is inserted. What Postgres does with it is tested in test/outbox_test.go.
type noted struct {
	ids    []string
	bodies []string
}

func (n *noted) ExecContext(_ context.Context, _ string, args ...any) (sql.Result, error) {
	n.ids = append(n.ids, args[0].(string))
	n.bodies = append(n.bodies, args[1].(string))
	return oneRow{}, nil
}

func (n *noted) QueryRowContext(context.Context, string, ...any) *sql.Row { panic("not needed") }

type oneRow struct{}

func (oneRow) LastInsertId() (int64, error) { panic("not needed") }
func (oneRow) RowsAffected() (int64, error) { return 1, nil }

func TestSweepIsOneDelivery(t *testing.T) {
	var sweep Sweep
	before := time.Now()
	sweep.RecordReconcilerAction("stuck_orders")
	sweep.RecordReconcilerAction(OrphanRefunds)
	sweep.RecordReconcilerOrphanRefund()
	sweep.RecordReconcilerSweepDuration(1840 * time.Millisecond)
	var tx noted
	if err := sweep.Enqueue(context.Background(), &tx, "sweep-1"); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(tx.ids) != "[sweep-1]" {
		t.Fatalf("enqueued %v", tx.ids)
	}
	var events []map[string]any
	if err := json.Unmarshal([]byte(tx.bodies[0]), &events); err != nil {
		t.Fatal(err)
	}
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
`
	if got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if err := sweep.Enqueue(context.Background(), &tx, "sweep-2"); err != nil || len(tx.ids) != 1 {
		t.Errorf("the sweep was not empty afterwards: %v, %v", tx.ids, err)
	}
}

func TestSweepSplitsWhatIsTooMuchForOneDelivery(t *testing.T) {
	var sweep Sweep
	var group sync.WaitGroup
	for worker := 0; worker < 4; worker++ {
		group.Add(1)
		go func() {
			defer group.Done()
			for i := 0; i < 525; i++ {
				sweep.RecordReconcilerAction(StuckRefunds)
			}
		}()
	}
	group.Wait()
	var tx noted
	if err := sweep.Enqueue(context.Background(), &tx, "sweep-1"); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(tx.ids) != "[sweep-1 sweep-1#2 sweep-1#3]" {
		t.Errorf("enqueued %v", tx.ids)
	}
	for i, want := range []int{1000, 1000, 100} {
		if got := strings.Count(tx.bodies[i], "reconciler.action"); got != want || len(tx.bodies[i]) > maxBodyBytes {
			t.Errorf("%d events in %d bytes, want %d in less than %d", got, len(tx.bodies[i]), want, maxBodyBytes)
		}
	}
}

func TestSweepLeavesOutWhatIsWrongAndSaysSo(t *testing.T) {
	var sweep Sweep
	sweep.RecordReconcilerAction("stuck_order")
	sweep.RecordReconcilerSweepDuration(-time.Second)
	sweep.RecordReconcilerSweepDuration(25 * time.Hour)
	sweep.RecordReconcilerOrphanRefund()
	var tx noted
	err := sweep.Enqueue(context.Background(), &tx, "sweep-1")
	var leftOut *ErrLeftOut
	want := "3 events left out: phase: must be stuck_orders, stuck_refunds or orphan_refunds"
	if !errors.As(err, &leftOut) || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	if len(tx.bodies) != 1 || strings.Count(tx.bodies[0], "type") != 1 {
		t.Errorf("enqueued %v", tx.bodies)
	}
	if err := sweep.Enqueue(context.Background(), &tx, "sweep-2"); err != nil || len(tx.ids) != 1 {
		t.Errorf("it is said twice: %v", err)
	}
}

func TestSweepHasALimit(t *testing.T) {
	var sweep Sweep
	for i := 0; i < maxEventsPerSweep+2; i++ {
		sweep.RecordReconcilerOrphanRefund()
	}
	var tx noted
	err := sweep.Enqueue(context.Background(), &tx, "sweep-1")
	if want := "2 events left out: over 100000 events: was Enqueue never called?"; fmt.Sprint(err) != want {
		t.Errorf("%v, want %s", err, want)
	}
	if len(tx.ids) != 100 {
		t.Errorf("%d deliveries, want 100", len(tx.ids))
	}
}

func TestSweepKeepsItsEventsWhenTheIDIsWrong(t *testing.T) {
	var sweep Sweep
	sweep.RecordReconcilerOrphanRefund()
	var tx noted
	var rejected *ErrRejected
	for _, id := range []string{"", "sweep.1", strings.Repeat("x", 253)} {
		if err := sweep.Enqueue(context.Background(), &tx, id); !errors.As(err, &rejected) || len(tx.ids) != 0 {
			t.Errorf("%q: %v", id, err)
		}
	}
	if err := sweep.Enqueue(context.Background(), &tx, strings.Repeat("x", 252)); err != nil || len(tx.ids) != 1 {
		t.Error(err)
	}
}
