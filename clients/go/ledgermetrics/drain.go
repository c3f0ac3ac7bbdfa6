package ledgermetrics

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

const (
	// Requests at a time.
	maxInFlight = 16
	// After a 429, the process sends fewer at a time for this long.
	throttledFor = time.Hour

	maxPerDrain = 10_000
	// Deliveries that are written down at a time.
	maxSettled = 100
	// A delivery that waits longer than this for its request is given back.
	queueTimeout = time.Second

	pingID = "outbox-ping" // An empty delivery, which asks how the receiver is.
)

// The claim ends after a minute, in case its process died. Nobody needs longer: 10 s to claim, 1 s in the queue, 20 s
// for the request, and 10 s each for a statement in front and to settle.
const claimOldestSQL = `
	with due as materialized (
		select id from public.ledger_metrics_outbox
		where sent_at is null and parked_at is null and next_attempt_at <= now()
			and (claimed_until is null or claimed_until <= now())
		order by next_attempt_at, seq limit 100
		for update skip locked
	), claimed as (
		update public.ledger_metrics_outbox as outbox set claimed_until = now() + interval '1 minute'
		from due where outbox.id = due.id returning outbox.*
	)
	select id, body, claimed_until from claimed order by next_attempt_at, seq`

// Only deliveries that have hardly failed yet: what fails again and again holds up no other. By their age, since what
// has failed is due after what was never tried.
var claimNewestSQL = strings.NewReplacer(
	"next_attempt_at <= now()", "next_attempt_at <= now() and attempts < 3",
	"next_attempt_at, seq", "seq desc",
).Replace(claimOldestSQL)

// Only deliveries of the last seconds that were never tried: older ones that hang hold up none of these.
var claimFreshSQL = strings.ReplaceAll(
	claimNewestSQL, "attempts < 3", "attempts = 0 and next_attempt_at > now() - interval '10 seconds'",
)

// What becomes of a claimed row.
const (
	untried = "untried"
	sent    = "sent"
	failed  = "failed"
	parked  = "parked"
)

// delivery is a claimed row, as settleSQL reads it.
type delivery struct {
	ID string `json:"id"`
	// The name of this claim: the row has it for as long as the delivery is claimed.
	ClaimedUntil time.Time `json:"claimed_until"`
	State        string    `json:"state"`
	Error        string    `json:"error,omitempty"`
	// In seconds.
	RetryAfter float64 `json:"retry_after,omitempty"`

	body     string
	lane     *lane
	err      error
	rejected *RejectedError
}

// lane is a part of the requests under way, and what they take next.
type lane struct {
	claimSQL  string
	queue     []*delivery
	claimedAt time.Time
	// When a claim found nothing.
	emptyAt time.Time
	// Requests under way, and how many there may be: half as many after a failure, and one more with each success.
	inFlight, limit int
}

// round is one call of Drain.
type round struct {
	*Outbox
	// Any number of deliveries may hang. So a third of the requests take the deliveries that are due the longest. While
	// these are all under way, another third takes the newest, and while these are too, the last third takes fresh ones.
	lanes     []*lane
	claimed   int
	answers   chan *delivery
	isPinging bool
	// What is to be written down, and when that was done last.
	done      []*delivery
	settledAt time.Time
	drained   Drained
	// Why it ends before nothing is due.
	failure error
}

// Drained is what a call of Drain did.
type Drained struct {
	Counted int // Sent. Their rows stay for 14 days.
	Parked  int // They wait for a person, with the receiver's reason.
	Failed  int // Attempts. Each delivery will be sent again.
}

// Drain sends what is due, about 10,000 deliveries at most, several at a time.
//
// The row of a counted delivery stays for 14 days, for ResendSince. A delivery that the receiver refuses for good is
// parked as a whole, and logged. After any other failure, this delivery alone waits: for half a second, doubled with
// each of its failures up to about a minute, or as long as the receiver said.
//
// After a failure that no success follows, Drain sends an empty delivery. If that fails too, the receiver is away, and
// Drain returns the error: its next call begins with the empty delivery. Drain also ends with ctx.
//
// Drain holds neither a connection nor a transaction during a request. It claims deliveries for a minute: when the
// process dies, another process sends them after that.
func (o *Outbox) Drain(ctx context.Context) (Drained, error) {
	if !o.isMade() {
		return Drained{}, errNoOutbox
	}
	select {
	case o.draining <- struct{}{}:
		defer func() { <-o.draining }()
	case <-ctx.Done():
		return Drained{}, ctx.Err()
	}
	r := round{
		Outbox: o, answers: make(chan *delivery, maxInFlight+1), settledAt: time.Now(),
	}
	for _, claimSQL := range []string{claimOldestSQL, claimNewestSQL, claimFreshSQL} {
		r.lanes = append(r.lanes, &lane{claimSQL: claimSQL, limit: 1})
	}
	r.run(ctx)
	return r.drained, r.failure
}

func (r *round) run(ctx context.Context) {
	look := time.NewTicker(pollInterval / 4) // For what no answer tells.
	defer look.Stop()
	for {
		r.failure = cmp.Or(r.failure, ctx.Err())
		r.proceed(ctx)
		inFlight, queued := r.count()
		isIdle := !r.isPinging && inFlight+queued == 0
		isDue := len(r.done) >= maxSettled || time.Since(r.settledAt) >= queueTimeout
		if len(r.done) > 0 && (isIdle || isDue && ctx.Err() == nil) { // At the end, once: Postgres may be mute.
			r.failure = errors.Join(r.failure, r.settle(ctx))
			continue
		}
		if isIdle {
			return
		}
		select {
		case answered := <-r.answers:
			for r.take(answered); len(r.answers) > 0; { // All that came during a slow settle are settled together.
				r.take(<-r.answers)
			}
		case <-look.C:
		}
	}
}

// proceed starts what may start, and gives back what has waited for too long.
func (r *round) proceed(ctx context.Context) {
	for _, lane := range r.lanes {
		if r.failure != nil || time.Since(lane.claimedAt) > queueTimeout {
			r.done = append(r.done, lane.queue...)
			lane.queue = nil
		}
	}
	if r.failure != nil {
		return
	}
	if r.isInDoubt {
		if !r.isPinging {
			r.isPinging = true
			r.post(ctx, &delivery{ID: pingID, State: untried, body: "[]"})
		}
		return
	}
	isFull := true
	for index, lane := range r.lanes {
		if isFull || len(lane.queue) > 0 {
			isFull = r.fill(ctx, lane, (r.limit+len(r.lanes)-1-index)/len(r.lanes))
		}
	}
}

// count returns how many deliveries are under way, and how many wait for their request.
func (r *round) count() (inFlight, queued int) {
	for _, lane := range r.lanes {
		inFlight, queued = inFlight+lane.inFlight, queued+len(lane.queue)
	}
	return inFlight, queued
}

// fill starts requests of a lane, and claims deliveries for them. It reports whether all its requests are under way.
func (r *round) fill(ctx context.Context, lane *lane, requests int) bool {
	requests = min(requests, lane.limit)
	for lane.inFlight < requests && r.failure == nil {
		if len(lane.queue) == 0 {
			if time.Since(lane.emptyAt) < pollInterval || r.claimed >= maxPerDrain {
				return false
			}
			if r.failure = r.purge(ctx); r.failure == nil {
				r.failure = r.claim(ctx, lane)
			}
			continue
		}
		lane.inFlight++
		r.post(ctx, lane.queue[0])
		lane.queue = lane.queue[1:]
	}
	return lane.inFlight >= requests
}

func (r *round) post(ctx context.Context, delivery *delivery) {
	go func() {
		delivery.err = r.client.post(ctx, delivery.ID, delivery.body)
		errors.As(delivery.err, &delivery.rejected)
		switch {
		case delivery.err == nil:
			delivery.State = sent
		case delivery.rejected != nil && !delivery.rejected.Retryable:
			delivery.State = parked
		case ctx.Err() == nil: // A request that ended with ctx leaves no trace.
			delivery.State = failed
		}
		r.answers <- delivery
	}()
}

// take takes note of an answer.
func (r *round) take(delivery *delivery) {
	r.adapt(delivery)
	hasFailed := delivery.State == failed
	if delivery.lane == nil {
		r.isPinging = false
		if hasFailed && r.isInDoubt {
			r.failure = cmp.Or(r.failure, delivery.err)
		}
	} else {
		delivery.lane.inFlight--
		r.done = append(r.done, delivery)
	}
	if delivery.State != untried {
		r.isInDoubt = hasFailed
	}
}

// adapt changes how many requests there may be. A receiver on Lambda takes a fixed number at a time, and answers the
// others with 429.
func (r *round) adapt(answered *delivery) {
	switch {
	case answered.rejected != nil && answered.rejected.Status == http.StatusTooManyRequests:
		if time.Since(r.throttledAt) > time.Second { // Once for all that were under way.
			inFlight, _ := r.count()
			r.limit, r.throttledAt = max(1, inFlight/2), time.Now()
		}
	case time.Since(r.throttledAt) >= throttledFor:
		r.limit = maxInFlight
	}
	if answered.lane != nil && answered.State == failed {
		answered.lane.limit = max(1, answered.lane.limit/2)
	} else if answered.lane != nil {
		answered.lane.limit = min(answered.lane.limit+1, maxInFlight)
	}
}

// claim makes deliveries this process's own. It ends only a second after ctx, so that nothing is claimed that nobody
// knows of.
func (r *round) claim(ctx context.Context, lane *lane) error {
	claiming, cancel := context.WithTimeout(context.WithoutCancel(ctx), statementTimeout)
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(cancelTimeout, cancel) })()
	var claimed []*delivery
	err := r.ask(claiming, func(rows *sql.Rows) error {
		row := delivery{State: untried, lane: lane}
		claimed = append(claimed, &row)
		return rows.Scan(&row.ID, &row.body, &row.ClaimedUntil)
	}, lane.claimSQL)
	if err != nil {
		return fmt.Errorf("ledgermetrics: outbox not read: %w", cmp.Or(ctx.Err(), err))
	}
	lane.queue, lane.claimedAt = claimed, time.Now()
	r.claimed += len(claimed)
	if len(claimed) == 0 {
		lane.emptyAt = lane.claimedAt
	}
	return nil
}
