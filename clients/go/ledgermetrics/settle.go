package ledgermetrics

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"net/http"
)

// outcome is what became of a delivery, as settleSQL reads it.
type outcome struct {
	ID          string  `json:"id"`
	State       string  `json:"state"` // sent, parked, failed or untried.
	Error       string  `json:"error,omitempty"`
	WaitSeconds float64 `json:"wait_seconds,omitempty"`
}

const settleSQL = `
	with settled as (
		update ledger_metrics_outbox as outbox set
			claimed_until = null,
			attempts = attempts + (state <> 'untried')::int,
			last_error = case state when 'untried' then last_error else error end,
			sent_at = case state when 'sent' then now() end,
			first_sent_at = case state when 'sent' then coalesce(first_sent_at, now()) else first_sent_at end,
			parked_at = case state when 'parked' then now() end,
			next_attempt_at = case state
				when 'failed' then now() + wait_seconds * interval '1 second' else next_attempt_at end
		from jsonb_to_recordset($1::jsonb) as outcome (id text, state text, error text, wait_seconds float8)
		where outbox.id = outcome.id and outbox.claimed_until = $2
		returning state
	)
	select count(*) filter (where state = 'sent'), count(*) filter (where state = 'parked') from settled`

// settle writes down what became of a batch, all at once, also when ctx has ended: untried deliveries are due at once.
// It leaves a delivery alone whose claim has ended. When settle fails, all claims end by themselves. In both cases, a
// process sends the delivery again, under the same id.
func (o *Outbox) settle(ctx context.Context, batch []delivery) (Drained, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), statementTimeout)
	defer cancel()
	var drained Drained
	err := o.inTx(ctx, func(tx *sql.Tx) error {
		outcomes := []outcome{} // Never null.
		parkedEvents := 0
		for _, delivery := range batch {
			if rejected := delivery.refusal(); rejected != nil {
				isSplit, err := split(ctx, tx, delivery, rejected)
				if err != nil {
					return err
				}
				if isSplit {
					if rejected.Status == http.StatusBadRequest {
						parkedEvents++
					}
					continue
				}
			}
			outcomes = append(outcomes, delivery.outcome())
		}
		text, err := json.Marshal(outcomes)
		if err != nil {
			return err
		}
		err = tx.QueryRowContext(ctx, settleSQL, string(text), batch[0].claimedUntil).
			Scan(&drained.Counted, &drained.Parked)
		drained.Parked += parkedEvents
		return err
	})
	if err != nil {
		return Drained{}, fmt.Errorf("outbox not settled: %w", err)
	}
	for _, delivery := range batch {
		if rejected := delivery.refusal(); rejected != nil {
			o.client.logger().Error("delivery refused, see what is parked", "id", delivery.id, "error", rejected.Reason)
		}
	}
	return drained, nil
}

func (d delivery) outcome() outcome {
	switch {
	case !d.isTried:
		return outcome{ID: d.id, State: "untried"}
	case d.err == nil:
		return outcome{ID: d.id, State: "sent"}
	case d.refusal() != nil:
		return outcome{ID: d.id, State: "parked", Error: shorten(d.err.Error())}
	default:
		wait := waitAfter(d.err, d.attempts)
		return outcome{ID: d.id, State: "failed", Error: shorten(d.err.Error()), WaitSeconds: wait.Seconds()}
	}
}
