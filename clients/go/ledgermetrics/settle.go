package ledgermetrics

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
)

// What became of a delivery.
const (
	stateSent    = "sent"
	stateParked  = "parked"
	stateFailed  = "failed"
	stateUntried = "untried"

	// Room for a reason, the events in words, and an id.
	maxErrorRunes = 3 * maxReasonRunes
)

// outcome is what became of a delivery, as settleSQL reads it.
type outcome struct {
	ID          string  `json:"id"`
	State       string  `json:"state"`
	Error       string  `json:"error,omitempty"`
	WaitSeconds float64 `json:"wait_seconds,omitempty"`
}

const settleSQL = `
	with settled as (
		update public.ledger_metrics_outbox as outbox set
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
		returning outbox.id, state
	)
	select coalesce(json_object_agg(id, state), '{}') from settled`

// settle writes down what became of a batch, all at once, also when ctx has ended: untried deliveries are due at once.
// It leaves a delivery alone whose claim has ended. When settle fails, all claims end by themselves. In both cases, a
// process sends the delivery again, under the same id.
func (o *Outbox) settle(ctx context.Context, batch []delivery) (Drained, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), statementTimeout)
	defer cancel()
	outcomes := make([]outcome, len(batch))
	for i, delivery := range batch {
		outcomes[i] = delivery.outcome()
	}
	text, err := json.Marshal(outcomes)
	if err != nil {
		return Drained{}, err
	}
	var settled []byte
	err = o.inTx(ctx, func(tx *sql.Tx) error {
		return tx.QueryRowContext(ctx, settleSQL, string(text), batch[0].claimedUntil).Scan(&settled)
	})
	stateOf := map[string]string{}
	if err == nil {
		err = json.Unmarshal(settled, &stateOf)
	}
	if err != nil {
		return Drained{}, fmt.Errorf("ledgermetrics: outbox not settled: %w", err)
	}
	var drained Drained
	for _, delivery := range batch {
		switch stateOf[delivery.id] {
		case stateSent:
			drained.Counted++
			if o.Hooks.Sent != nil {
				o.Hooks.Sent(delivery.id)
			}
		case stateParked:
			drained.Parked++
			rejected := delivery.refusal()
			o.client.logger().Error("delivery refused and parked",
				"id", delivery.id, "error", rejected.Reason, "not_counted", rejected.NotCounted)
			if o.Hooks.Parked != nil {
				o.Hooks.Parked(delivery.id, rejected)
			}
		case stateFailed:
			if o.Hooks.Failed != nil {
				o.Hooks.Failed(delivery.id, delivery.err)
			}
		}
	}
	return drained, nil
}

func (d delivery) outcome() outcome {
	switch {
	case !d.isTried:
		return outcome{ID: d.id, State: stateUntried}
	case d.err == nil:
		return outcome{ID: d.id, State: stateSent}
	case d.refusal() != nil:
		return outcome{ID: d.id, State: stateParked, Error: shorten(d.err.Error(), maxErrorRunes)}
	default:
		wait := waitAfter(d.err, d.attempts)
		return outcome{
			ID: d.id, State: stateFailed, Error: shorten(d.err.Error(), maxErrorRunes), WaitSeconds: wait.Seconds(),
		}
	}
}
