package ledgermetrics

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

const (
	// Of one delivery: the request, and what the database needs around it.
	deliveryTimeout = sendTimeout + 10*time.Second
	maxPerDrain     = 1_000
	pollInterval    = time.Second
	minBackOff      = 500 * time.Millisecond
	// Also about how long a delivery waits at most once the receiver is back.
	maxBackOff = time.Minute
)

// Tx is what Enqueue needs of a transaction. *sql.Tx has it, and so have sqlx's and gorm's.
type Tx interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// ErrIDTaken says that the outbox has another body under this id, which stays. That is fine after a retry that built its
// body anew, and a mistake otherwise. The transaction can still be committed.
var ErrIDTaken = errors.New("the outbox has another body under this id")

// Enqueue writes a delivery to the outbox within the caller's transaction; Send says what id and body may be. The same id
// and body once more changes nothing. A *ErrRejected or ErrIDTaken leaves the transaction usable; after any other error,
// Postgres has ended it.
func Enqueue(ctx context.Context, tx Tx, id string, body []byte) error {
	if err := check(id, body); err != nil {
		return err
	}
	// Not "do update": that would wait for a worker that is sending this very row.
	result, err := tx.ExecContext(ctx,
		"insert into ledger_metrics_outbox (id, body) values ($1, $2) on conflict (id) do nothing", id, string(body))
	if err != nil {
		return fmt.Errorf("delivery %s not enqueued: %w", id, err)
	}
	if inserted, err := result.RowsAffected(); err != nil || inserted == 1 {
		return err
	}
	isSame := false
	err = tx.QueryRowContext(ctx, "select body = $2 from ledger_metrics_outbox where id = $1", id, string(body)).Scan(&isSame)
	switch {
	case errors.Is(err, sql.ErrNoRows): // Counted in this moment.
		return nil
	case err != nil:
		return fmt.Errorf("delivery %s not enqueued: %w", id, err)
	case !isSame:
		return fmt.Errorf("delivery %s: %w", id, ErrIDTaken)
	}
	return nil
}

// Outbox sends what was enqueued until it is counted. Any number of processes may do so side by side.
type Outbox struct {
	db     *sql.DB
	client *Client
}

// NewOutbox returns the outbox in this database; outbox.sql makes its table. The client sends.
func NewOutbox(db *sql.DB, client *Client) *Outbox {
	return &Outbox{db, client}
}

// Drained says what a call of Drain did.
type Drained struct {
	// Counted deliveries are gone from the outbox.
	Counted int
	// Parked ones stay there, with the receiver's reason, and are not sent again.
	Parked int
}

// Drain sends what is due, up to 1,000 deliveries, those that wait longest first. A delivery that is counted is deleted. One
// that the receiver refuses for good is parked and logged. After anything else it is tried again later, between half a
// second and about a minute from now, or when the receiver said; Drain ends there and returns the error, since the next delivery
// would hardly fare better. It ends with ctx too.
//
// It holds one connection, and a row lock while it sends. When the process dies, both end, and the delivery is sent again.
func (o *Outbox) Drain(ctx context.Context) (Drained, error) {
	var drained Drained
	for drained.Counted+drained.Parked < maxPerDrain {
		found, err := o.sendNext(ctx)
		var rejected *ErrRejected
		switch {
		case errors.As(err, &rejected) && !rejected.Retryable:
			o.client.logger().Error("delivery parked", "id", rejected.ID, "error", rejected.Reason)
			drained.Parked++
		case err != nil:
			return drained, err
		case !found:
			return drained, nil
		default:
			drained.Counted++
		}
	}
	return drained, nil
}

// Run drains the outbox until ctx ends, and logs what goes wrong. It looks every second, and less often while it fails.
// Run it in a goroutine of its own; what it has not sent by the end waits for the next Run.
func (o *Outbox) Run(ctx context.Context) {
	failures := 0
	for ctx.Err() == nil {
		wait := pollInterval
		drained, err := o.Drain(ctx)
		if drained.Counted+drained.Parked > 0 {
			failures = 0
		}
		if drained.Counted+drained.Parked == maxPerDrain {
			continue
		}
		if err != nil && ctx.Err() == nil {
			o.client.logger().Warn("outbox not drained, will try again", "error", err)
			wait = waitAfter(err, failures)
			failures++
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// sendNext sends one delivery that is due, if there is one. The error is Send's, or the database's.
func (o *Outbox) sendNext(ctx context.Context) (found bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, deliveryTimeout)
	defer cancel()
	tx, err := o.db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return false, err
	}
	defer tx.Rollback()
	// Longer than a request, whatever the role has; and not for ever, should this process be frozen with the row locked.
	limit := fmt.Sprintf("set local idle_in_transaction_session_timeout = %d", deliveryTimeout.Milliseconds())
	if _, err := tx.ExecContext(ctx, limit); err != nil {
		return false, err
	}
	var id, body string
	var attempts int
	// By the next attempt and not by age: one that keeps failing does not stand in the others' way.
	err = tx.QueryRowContext(ctx, `
		select id, body, attempts from ledger_metrics_outbox
		where parked_at is null and next_attempt_at <= now()
		order by next_attempt_at limit 1
		for update skip locked`).Scan(&id, &body, &attempts)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	sendErr := o.client.Send(ctx, id, []byte(body))
	if err := o.settle(ctx, tx, id, attempts, sendErr); err != nil {
		return true, err
	}
	if err := tx.Commit(); err != nil {
		return true, err
	}
	return true, sendErr
}

// settle writes down what became of a delivery. It fails when ctx has ended: a request that was given up leaves no trace.
func (o *Outbox) settle(ctx context.Context, tx *sql.Tx, id string, attempts int, sendErr error) error {
	var rejected *ErrRejected
	var err error
	switch {
	case sendErr == nil:
		_, err = tx.ExecContext(ctx, "delete from ledger_metrics_outbox where id = $1", id)
	case errors.As(sendErr, &rejected) && !rejected.Retryable:
		_, err = tx.ExecContext(ctx, `
			update ledger_metrics_outbox set attempts = attempts + 1, last_error = $2, parked_at = now()
			where id = $1`, id, shorten(sendErr.Error()))
	default:
		// clock_timestamp(), since now() was before the request.
		_, err = tx.ExecContext(ctx, `
			update ledger_metrics_outbox set attempts = attempts + 1, last_error = $2,
				next_attempt_at = clock_timestamp() + $3::float8 * interval '1 second'
			where id = $1`, id, shorten(sendErr.Error()), waitAfter(sendErr, attempts).Seconds())
	}
	return err
}

// waitAfter doubles with each failure, up to a minute, with up to a quarter more at random; longer when the receiver said.
func waitAfter(err error, failures int) time.Duration {
	wait := min(minBackOff<<min(failures, 10), maxBackOff)
	wait += rand.N(wait / 4)
	var rejected *ErrRejected
	if errors.As(err, &rejected) {
		wait = max(wait, rejected.RetryAfter)
	}
	return wait
}
