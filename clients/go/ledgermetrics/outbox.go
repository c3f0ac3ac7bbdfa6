package ledgermetrics

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

const (
	maxPerDrain  = 10_000
	pollInterval = time.Second
	minBackOff   = 500 * time.Millisecond
	// Also about the longest wait of a delivery once the receiver is back.
	maxBackOff = time.Minute

	// Requests at a time. They start at 1 and double after each batch without a failure.
	maxInFlight = 16
	// A batch has this many deliveries for each request at a time.
	batchFactor = 8
	// After a 429, the process sends fewer at a time for this long.
	throttledFor = time.Hour

	// Of the outbox's own statements.
	statementTimeout = 9 * time.Second
	// For a driver to end a statement with its context. lib/pq waits for the server, which may be mute.
	cancelTimeout = time.Second
	// Transactions at a time: no mute Postgres takes more connections of a pool that the application shares.
	maxTransactions = 2
	// No request starts later than this after its batch was claimed.
	startTimeout = 20 * time.Second
	// A claim ends after this, in case its process died: no process needs longer for a batch.
	lease = 2*(statementTimeout+cancelTimeout) + startTimeout + sendTimeout

	// A claim starts this long before the end of the last one, for transactions that were open then.
	overlap = 2 * time.Second
	// A claim looks at everything this seldom, or more seldom, so that looking takes below 1 % of the time.
	lookAtAllEvery  = 10 * time.Second
	lookAtAllFactor = 100
)

// Outbox sends what was enqueued until it is counted. Any number of processes may do so side by side. An Outbox is safe
// for concurrent use.
type Outbox struct {
	// Hooks tell your own metrics what becomes of deliveries. Set them before the first Run or Drain.
	Hooks Hooks

	db     *sql.DB
	client *Client
	// Has an entry for each transaction under way, also for those that inTx has left behind.
	transactions chan struct{}

	mutex sync.Mutex
	// Where the next claim starts; see claim.
	cursor position
	// When the next claim looks at everything that waits.
	lookAtAllAt   time.Time
	inFlight      int
	inFlightLimit int
	throttledAt   time.Time
	purgedAt      time.Time
}

// Hooks are called when the outbox has written down what became of a delivery, one after the other in each Run or
// Drain, which goes on when they return. A hook that is nil is not called.
type Hooks struct {
	// Sent: it is counted, now or before.
	Sent func(id string)
	// Failed: the answer did not count it, or there was no answer. It will be sent again.
	Failed func(id string, err error)
	// Parked: the receiver refused it for good. It waits for a person.
	Parked func(id string, err *RejectedError)
}

// position is a place in the order in which deliveries are due.
type position struct {
	at  time.Time
	seq int64
}

// delivery is a claimed row, and what became of it.
type delivery struct {
	id, body string
	attempts int
	due      position
	// The name of this claim: the row has it for as long as the delivery is claimed.
	claimedUntil time.Time

	isTried bool
	err     error
}

// NewOutbox returns the outbox in this database, whose table is in outbox.sql. The client sends. With pgx, pass
// stdlib.OpenDBFromPool(pool).
func NewOutbox(db *sql.DB, client *Client) *Outbox {
	return &Outbox{
		db: db, client: client, transactions: make(chan struct{}, maxTransactions),
		inFlight: 1, inFlightLimit: maxInFlight,
	}
}

// Drained is what a call of Drain did.
type Drained struct {
	// Counted deliveries are sent. Their rows stay for 14 days.
	Counted int
	// Parked rows wait for a person, with the receiver's reason.
	Parked int
}

// Run drains the outbox until ctx ends, and logs what goes wrong. It looks every second, and backs off while it fails.
// It also deletes rows that were sent over 14 days ago. Call Run in a goroutine of its own, once in a process. What it
// has not sent by the end is due for the next Run.
func (o *Outbox) Run(ctx context.Context) {
	failures := 0
	for ctx.Err() == nil {
		drained, err := o.Drain(ctx)
		if err == nil {
			err = o.purge(ctx)
		}
		if ctx.Err() != nil {
			return
		}
		hasProgress := drained.Counted+drained.Parked > 0
		if err == nil || hasProgress {
			failures = 0
		}
		wait := pollInterval
		if err != nil {
			o.client.logger().Warn("outbox not drained, will try again", "error", err)
			wait = waitAfter(err, failures)
			failures++
		}
		pause := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-pause.C:
		}
		pause.Stop()
	}
}

// Drain sends what is due, about 10,000 deliveries at most, the longest due first and several at a time.
//
// The row of a counted delivery stays for 14 days, for ResendSince. A delivery that the receiver refuses for good is
// parked as a whole, and logged. After any other failure, the delivery is due again between half a second and about a
// minute later, or when the receiver said. Drain then ends and returns the error, because the next delivery would
// hardly fare better. It also ends with ctx.
//
// Drain holds neither a connection nor a transaction during a request. It claims deliveries for a minute: when the
// process dies, another process sends them after that.
func (o *Outbox) Drain(ctx context.Context) (Drained, error) {
	var drained Drained
	for drained.Counted+drained.Parked < maxPerDrain {
		batch, inFlight, err := o.claim(ctx)
		if err != nil || len(batch) == 0 {
			return drained, err
		}
		o.send(ctx, batch, inFlight)
		settled, err := o.settle(ctx, batch)
		drained.Counted += settled.Counted
		drained.Parked += settled.Parked
		failure := o.adapt(batch)
		if err := cmp.Or(err, failure, ctx.Err()); err != nil {
			return drained, err
		}
	}
	return drained, nil
}

// claim makes the next batch this process's own until the lease ends. It also returns how many to send at a time.
//
// Sent rows leave dead entries in the index of the waiting rows, in front of the live entries, and a long snapshot
// elsewhere keeps Postgres from removing them. So a claim starts where the last one ended. Now and then it looks at
// everything, because a row can become visible behind that: after a long transaction, or when its process died.
func (o *Outbox) claim(ctx context.Context) (batch []delivery, inFlight int, err error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	o.mutex.Lock()
	defer o.mutex.Unlock()
	startedAt := time.Now()
	looksAtAll := !startedAt.Before(o.lookAtAllAt)
	if looksAtAll {
		o.cursor = position{}
	}
	size := batchFactor * o.inFlight
	batch, now, err := o.claimAfter(ctx, o.cursor, size)
	if err != nil {
		o.lookAtAllAt = time.Time{}
		return nil, 0, fmt.Errorf("ledgermetrics: outbox not read: %w", err)
	}
	if looksAtAll {
		o.lookAtAllAt = time.Now().Add(max(lookAtAllEvery, lookAtAllFactor*time.Since(startedAt)))
	}
	if len(batch) == size {
		o.cursor = batch[size-1].due
	} else {
		o.cursor = position{at: now.Add(-overlap)}
	}
	return batch, o.inFlight, nil
}

// claimAfter claims up to size deliveries, in the order in which they are due. It also returns the database's time.
func (o *Outbox) claimAfter(ctx context.Context, cursor position, size int) ([]delivery, time.Time, error) {
	var batch []delivery
	var now time.Time
	err := o.inTx(ctx, func(tx *sql.Tx) error {
		rows, err := tx.QueryContext(ctx, claimSQL(size), cursor.at, cursor.seq)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var id, body sql.NullString
			var attempts, seq sql.NullInt64
			var due, claimedUntil sql.NullTime
			if err := rows.Scan(&now, &id, &body, &attempts, &due, &seq, &claimedUntil); err != nil {
				return err
			}
			if id.Valid {
				batch = append(batch, delivery{
					id: id.String, body: body.String, attempts: int(attempts.Int64),
					due: position{due.Time, seq.Int64}, claimedUntil: claimedUntil.Time,
				})
			}
		}
		return rows.Err()
	})
	if err != nil {
		return nil, time.Time{}, err
	}
	return batch, now, nil
}

// claimSQL has limit and lease as numbers, since a generic plan would expect a large limit. The left join brings the
// time when no delivery is due.
func claimSQL(limit int) string {
	return fmt.Sprintf(`
		with due as materialized (
			select id from public.ledger_metrics_outbox
			where sent_at is null and parked_at is null and next_attempt_at <= now()
				and (next_attempt_at, seq) > ($1::timestamptz, $2::bigint)
				and (claimed_until is null or claimed_until <= now())
			order by next_attempt_at, seq limit %d
			for update skip locked
		), claimed as (
			update public.ledger_metrics_outbox as outbox set claimed_until = now() + interval '%d seconds'
			from due where outbox.id = due.id
			returning outbox.id, outbox.body, outbox.attempts, outbox.next_attempt_at, outbox.seq, outbox.claimed_until
		)
		select now(), claimed.* from (select) as one left join claimed on true order by next_attempt_at, seq`,
		limit, int(lease.Seconds()))
}

// send posts a batch, several deliveries at a time. After a failure that may pass, it starts no other request.
func (o *Outbox) send(ctx context.Context, batch []delivery, inFlight int) {
	startedAt := time.Now()
	var next atomic.Int64
	var hasFailed atomic.Bool
	var group sync.WaitGroup
	for range min(inFlight, len(batch)) {
		group.Add(1)
		go func() {
			defer group.Done()
			for ctx.Err() == nil && !hasFailed.Load() && time.Since(startedAt) < startTimeout {
				index := int(next.Add(1)) - 1
				if index >= len(batch) {
					return
				}
				delivery := &batch[index]
				delivery.err = o.client.post(ctx, delivery.id, delivery.body)
				// A request that ended with ctx leaves no trace.
				delivery.isTried = delivery.err == nil || ctx.Err() == nil
				if delivery.failure() != nil {
					hasFailed.Store(true)
				}
			}
		}()
	}
	group.Wait()
}

// adapt slows down after a failure, and returns it. Without a failure it speeds up again. A receiver on Lambda takes a
// fixed number of requests at a time, and answers the others with 429.
func (o *Outbox) adapt(batch []delivery) error {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	var failure error
	for _, delivery := range batch {
		if !delivery.isTried {
			o.lookAtAllAt = time.Time{} // It is due again, behind the cursor.
		}
		err := delivery.failure()
		var rejected *RejectedError
		if errors.As(err, &rejected) && rejected.Status == http.StatusTooManyRequests {
			o.inFlightLimit, o.throttledAt = max(1, o.inFlight/2), time.Now()
		}
		failure = cmp.Or(failure, err)
	}
	if failure != nil {
		o.inFlight = 1
		return failure
	}
	if time.Since(o.throttledAt) >= throttledFor {
		o.inFlightLimit = maxInFlight
	}
	o.inFlight = min(2*o.inFlight, o.inFlightLimit)
	return nil
}

// inTx runs work in a transaction of the outbox's own, in the isolation level that SKIP LOCKED needs. It ends with ctx,
// and leaves a driver behind that does not. Then work may still run: read nothing of it after an error.
func (o *Outbox) inTx(ctx context.Context, work func(tx *sql.Tx) error) error {
	select {
	case o.transactions <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	done := make(chan error, 1)
	go func() {
		defer func() { <-o.transactions }()
		done <- o.transact(ctx, work)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-done:
		return err
	case <-time.After(cancelTimeout):
		return ctx.Err()
	}
}

func (o *Outbox) transact(ctx context.Context, work func(tx *sql.Tx) error) error {
	tx, err := o.db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return err
	}
	defer tx.Rollback() // After a commit it does nothing.
	if err := work(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// refusal returns the answer that this delivery can never be counted, if that was the answer.
func (d delivery) refusal() *RejectedError {
	var rejected *RejectedError
	if d.isTried && errors.As(d.err, &rejected) && !rejected.Retryable {
		return rejected
	}
	return nil
}

// failure returns why this delivery has to be sent again, if it has.
func (d delivery) failure() error {
	if d.isTried && d.refusal() == nil {
		return d.err
	}
	return nil
}

// waitAfter doubles with each failure, up to a minute, plus up to a quarter at random. It is longer if the receiver
// said so.
func waitAfter(err error, failures int) time.Duration {
	wait := min(minBackOff<<min(failures, 10), maxBackOff)
	wait += rand.N(wait / 4)
	var rejected *RejectedError
	if errors.As(err, &rejected) {
		wait = max(wait, rejected.RetryAfter)
	}
	return wait
}
