package ledgermetrics

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"
)

// Room for a reason, the events in words, and an id.
const maxErrorRunes = 3 * maxReasonRunes

const settleSQL = `
	update public.ledger_metrics_outbox as outbox set
		claimed_until = null,
		attempts = attempts + (state <> 'untried')::int,
		last_error = case state when 'untried' then last_error else error end,
		sent_at = case state when 'sent' then now() end,
		first_sent_at = coalesce(first_sent_at, case state when 'sent' then now() end),
		parked_at = case state when 'parked' then now() end,
		next_attempt_at = case state when 'failed' then now() + interval '1 second'
			* greatest(retry_after, least(2 ^ least(attempts, 9) / 2, 60) * (1 + random() / 4)) else next_attempt_at end
	from jsonb_to_recordset($1::jsonb)
		as tried (id text, claimed_until timestamptz, state text, error text, retry_after float8)
	where outbox.id = tried.id and outbox.claimed_until = tried.claimed_until
	returning outbox.id`

// settle writes down what became of deliveries, also when ctx has ended: what is untried is due at once. It leaves a
// delivery alone whose claim has ended. Then, and when settle fails, it is sent again, under the same id.
func (r *round) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), statementTimeout)
	defer cancel()
	tried := r.done
	r.done, r.settledAt = nil, time.Now()
	for _, delivery := range tried {
		if delivery.State == failed || delivery.State == parked {
			delivery.Error = shorten(delivery.err.Error(), maxErrorRunes)
			delivery.RetryAfter = retryAfterOf(delivery.err).Seconds()
		}
	}
	text, _ := json.Marshal(tried) // Texts, times and seconds.
	isSettled := map[string]bool{}
	err := r.ask(ctx, func(rows *sql.Rows) error {
		var id string
		err := rows.Scan(&id)
		isSettled[id] = true
		return err
	}, settleSQL, string(text))
	if err != nil {
		return fmt.Errorf("ledgermetrics: outbox not settled: %w", err)
	}
	for _, delivery := range tried {
		if isSettled[delivery.ID] {
			r.tell(delivery)
		}
	}
	return nil
}

// tell counts and logs what became of a delivery, and calls its hook.
func (r *round) tell(delivery *delivery) {
	switch delivery.State {
	case untried: // It is due.
		for _, lane := range r.lanes {
			lane.emptyAt = time.Time{}
		}
	case sent:
		r.drained.Counted++
		if r.Hooks.Sent != nil {
			r.Hooks.Sent(delivery.ID)
		}
	case parked:
		r.drained.Parked++
		r.client.logger().Error("delivery refused and parked", "id", delivery.ID,
			"error", delivery.rejected.Reason, "not_counted", delivery.rejected.NotCounted)
		if r.Hooks.Parked != nil {
			r.Hooks.Parked(delivery.ID, delivery.rejected)
		}
	case failed:
		r.drained.Failed++
		r.client.logger().Warn("delivery failed, will be sent again", "id", delivery.ID, "error", delivery.err)
		if r.Hooks.Failed != nil {
			r.Hooks.Failed(delivery.ID, delivery.err)
		}
	}
}
