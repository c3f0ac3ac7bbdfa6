package ledgermetrics

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"math/rand/v2"
	"time"
)

// A row of the outbox, and what happens to it:
//
//	  Enqueue, in the transaction of the repair
//	      │
//	      ▼            a worker claims it for a minute
//	  ┌─────────┐ ─────────────────────────────────────► ┌─────────┐
//	  │ waiting │                                        │ claimed │ is posted; no connection is held meanwhile
//	  └─────────┘ ◄───────────────────────────────────── └─────────┘
//	    ▲     ▲    any other answer or none: due later,    │     │ 13 days after the first claim, or
//	    │     │    attempts + 1                            │     │ 400, 409 or 413
//	    │     │    the process ends: due at once           │     │ in the receiver's JSON
//	    │     │    the process dies, or Postgres is away:  │     ▼
//	    │     │    due when the minute is over             │   ┌────────┐
//	    │     └────────────────────────────────────────────┼── │ parked │
//	    │         a person unparks it                      │   └────────┘
//	    │                                                  │ 200 in the receiver's JSON
//	    │                                                  ▼
//	    │         on call: resend                        ┌────────┐
//	    └─────────────────────────────────────────────── │  sent  │ ─► deleted after 14 days,
//	                                                     └────────┘    or a year: an id of one's own
//
//	waiting: sent_at and parked_at are null, and claimed_until is null or over
//	claimed: claimed_until is in the future       parked: parked_at is not null       sent: sent_at is not null
//
// Between any two arrows the process may die, and a statement or an answer may be lost. Then the row waits until its
// minute is over, and is sent again under the same id, which the receiver counts once. A process that is frozen for
// longer than its minute writes down nothing: claimed_until is the name of its claim, and another claim has another.
//
// The receiver forgets an id after 14 days. So 13 days after the first claim, a row is parked instead of posted.
//
// All times are those of Postgres, so that the clocks of the processes do not matter.

const (
	// Each claim is of a row that is due. Between begin and end stand its attempts and the order.
	//
	// The minute has room for the claim itself, the request and what writes down its outcome: sendTimeout and twice
	// statementTimeout. Otherwise another worker may send the row meanwhile.
	claimBeginSQL = `
	update ledger_outbox.deliveries set claimed_until = now() + interval '1 minute',
		first_sent_at = coalesce(first_sent_at, now())
	where id = (
		select id from ledger_outbox.deliveries
		where sent_at is null and parked_at is null and next_attempt_at <= now()
			and (claimed_until is null or claimed_until <= now()) and `
	claimEndSQL = ` limit 1
		for update skip locked
	) returning id, body, attempts, claimed_until, first_sent_at = now(), first_sent_at < now() - interval '13 days'`
	newestSQL = ` order by next_attempt_at desc, seq desc`

	// The newest row that was never tried.
	claimNewSQL = claimBeginSQL + `attempts = 0` + newestSQL + claimEndSQL

	// The newest of the last seconds, if it was never tried. While nothing is new, this keeps a worker free.
	claimFreshSQL = claimBeginSQL + `attempts = 0 and next_attempt_at > now() - interval '10 seconds'` +
		newestSQL + claimEndSQL

	// The row that failed least often: what fails again and again holds up nothing that failed less often.
	claimFailedSQL = claimBeginSQL + `attempts > 0 order by attempts, next_attempt_at, seq` + claimEndSQL

	sentSQL = `
	update ledger_outbox.deliveries set claimed_until = null, attempts = attempts + 1, last_error = null,
		sent_at = now()
	where id = $1 and claimed_until = $2 returning id`

	parkedSQL = `
	update ledger_outbox.deliveries set claimed_until = null, attempts = attempts + 1, last_error = $3,
		parked_at = now()
	where id = $1 and claimed_until = $2 returning id`

	// Due after $4 seconds.
	failedSQL = `
	update ledger_outbox.deliveries set claimed_until = null, attempts = attempts + 1, last_error = $3,
		next_attempt_at = now() + interval '1 second' * $4::float8
	where id = $1 and claimed_until = $2 returning id`

	givenBackSQL = `
	update ledger_outbox.deliveries set claimed_until = null
	where id = $1 and claimed_until = $2 returning id`

	// Room for a reason, the events in words, and an id.
	maxErrorRunes = 3 * maxReasonRunes
)

// backoff returns how long a row waits that had failed so many times before: half a second, doubled with each failure
// up to a minute, and up to a quarter more at random, which keeps rows apart that failed together. Or as long as the
// receiver said, if that is more.
func backoff(failures int, err error) time.Duration {
	wait := min(500*time.Millisecond<<min(max(failures, 0), 7), time.Minute)
	return max(wait+rand.N(wait/4), retryAfterOf(err))
}

// delivery is a claimed row.
type delivery struct {
	id, body string
	// Those that failed, and those that a person has undone.
	attempts int
	// The name of the claim. The row has it for as long as the delivery is claimed.
	claimedUntil time.Time
	// Nobody has claimed it before. It may be too old: the receiver may have counted it, and have forgotten its id.
	isFirst, isTooOld bool
}

// sendDue sends what is due. It returns nil when nothing is due, and an error when the receiver or Postgres is away, or
// ctx has ended.
func (w *worker) sendDue(ctx context.Context) error {
	for {
		w.beganAt = time.Now()
		if err := w.purge(ctx); err != nil {
			return err
		}
		next, err := w.claim(ctx)
		if err != nil || next == nil {
			return err
		}
		if err := w.send(ctx, next); err != nil {
			return err
		}
	}
}

// claim returns a delivery that nobody else sends for a minute, or nil when nothing is due.
func (w *worker) claim(ctx context.Context) (*delivery, error) {
	for _, statement := range w.claims {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		var next *delivery
		err := w.ask(ctx, func(rows *sql.Rows) error {
			next = &delivery{}
			return rows.Scan(&next.id, &next.body, &next.attempts, &next.claimedUntil, &next.isFirst, &next.isTooOld)
		}, statement)
		if err != nil {
			return nil, failure("outbox not read", err)
		}
		if next != nil {
			return next, nil
		}
	}
	return nil, nil
}

// awayError is the failure of a delivery, after which the receiver is taken to be away. It is logged already.
type awayError struct{ error }

func (e *awayError) Unwrap() error { return e.error }

// send posts a claimed delivery and writes down what became of it. It returns an error when the receiver or Postgres is
// away, or ctx has ended.
func (w *worker) send(ctx context.Context, claimed *delivery) error {
	if claimed.isTooOld {
		const reason = "it was first sent over 13 days ago, so the receiver may have counted it and forgotten it: "
		return w.park(ctx, claimed, &RejectedError{ID: claimed.id, Reason: reason + inWords(claimed.body)})
	}
	isNew, err := w.client.post(ctx, claimed.id, claimed.body)
	var rejected *RejectedError
	switch {
	case err == nil:
		isWritten, err := w.settle(ctx, claimed, sentSQL)
		if isWritten {
			w.done(&w.drained.Counted)
			if claimed.isFirst && claimed.attempts == 0 && !isNew {
				w.client.logger().Warn("the receiver knew this delivery at the first attempt that was written down; unless an"+
					" answer was lost, another sender has used this id, and these events are not counted",
					"id", claimed.id, "events", inWords(claimed.body))
			}
			if w.Hooks.Sent != nil {
				w.call("Sent", claimed.id, func() { w.Hooks.Sent(claimed.id) })
			}
		}
		return err

	case errors.As(err, &rejected) && !rejected.Retryable:
		return w.park(ctx, claimed, rejected)

	case ctx.Err() != nil: // The request was ended with ctx, which says nothing about the delivery.
		_, err := w.settle(ctx, claimed, givenBackSQL)
		return cmp.Or(err, ctx.Err())

	default:
		isWritten, writingErr := w.settle(ctx, claimed, failedSQL, shorten(err.Error(), maxErrorRunes),
			backoff(claimed.attempts, err).Seconds())
		if !isWritten {
			return writingErr
		}
		failures := w.failed()
		w.client.logger().Warn("delivery failed, will be sent again", "id", claimed.id, "error", err)
		if w.Hooks.Failed != nil {
			w.call("Failed", claimed.id, func() { w.Hooks.Failed(claimed.id, err) })
		}
		if failures < maxFailures {
			return nil
		}
		return &awayError{err}
	}
}

// park has a delivery wait for a person.
func (w *worker) park(ctx context.Context, claimed *delivery, rejected *RejectedError) error {
	isWritten, err := w.settle(ctx, claimed, parkedSQL, shorten(rejected.Error(), maxErrorRunes))
	if isWritten {
		w.done(&w.drained.Parked)
		w.client.logger().Error("delivery parked", "id", claimed.id,
			"error", rejected.Reason, "not_counted", rejected.NotCounted)
		if w.Hooks.Parked != nil {
			w.call("Parked", claimed.id, func() { w.Hooks.Parked(claimed.id, rejected) })
		}
	}
	return err
}

// done adds a delivery to those that are sent, or to those that are parked.
func (w *worker) done(count *int) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	*count++
	w.failures = 0
}

// failed adds an attempt to those that failed, and returns how many did so since a delivery was sent or parked.
func (w *worker) failed() int {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.drained.Failed++
	w.failures++
	return w.failures
}

// settle writes down what became of a delivery, also when ctx has ended. It leaves a row alone whose claim has ended:
// then, and after an error, the delivery is sent again under the same id.
func (w *worker) settle(
	ctx context.Context, claimed *delivery, statement string, args ...any,
) (isWritten bool, err error) {
	written := false
	err = w.ask(ctx, func(*sql.Rows) error {
		written = true
		return nil
	}, statement, append([]any{claimed.id, claimed.claimedUntil}, args...)...)
	if err != nil {
		return false, failure("delivery "+claimed.id+" not written down", err)
	}
	return written, nil
}
