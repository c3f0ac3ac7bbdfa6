package ledgermetrics

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

const (
	pollInterval = time.Second
	// After an error that no single delivery is to blame for: the receiver is away, or Postgres.
	outagePause = 5 * time.Second

	// Of the outbox's own statements.
	statementTimeout = 9 * time.Second
	// For a driver to end a statement with its context. lib/pq waits for the server, which may be mute.
	cancelTimeout = time.Second
	// Transactions at a time: no mute Postgres takes more connections of a pool that the application shares.
	maxTransactions = 2
)

// Outbox sends what was enqueued until it is counted. Any number of processes may do so side by side. [NewOutbox] makes
// it. It is safe for concurrent use: of several calls of Drain, one drains, and the others wait.
type Outbox struct {
	// Hooks tell your own metrics what becomes of deliveries. Set them before the first Run or Drain.
	Hooks Hooks

	db     *sql.DB
	client *Client
	// Has an entry for each transaction under way, also for those that ask has left behind.
	transactions chan struct{}
	// Has an entry while a call of Drain has what follows.
	draining chan struct{}
	// Requests at a time, since the last 429.
	limit       int
	throttledAt time.Time
	// A failure that no success has followed. Nothing is sent until the receiver has taken an empty delivery.
	isInDoubt bool
	purgedAt  time.Time
}

// Hooks are called when the outbox has written down what became of a delivery, one after the other, by Run or Drain,
// which goes on when they return. A hook that is nil is not called.
type Hooks struct {
	// Sent: it is counted, now or before.
	Sent func(id string)
	// Failed: the answer did not count it, or there was no answer. It will be sent again.
	Failed func(id string, err error)
	// Parked: the receiver refused it for good. It waits for a person.
	Parked func(id string, err *RejectedError)
}

// NewOutbox returns the outbox in this database, whose table is in outbox.sql. The client sends. With gorm, pass what
// db.DB() returns.
func NewOutbox(db *sql.DB, client *Client) *Outbox {
	return &Outbox{
		db: db, client: client, limit: maxInFlight,
		transactions: make(chan struct{}, maxTransactions), draining: make(chan struct{}, 1),
	}
}

var errNoOutbox = errors.New("ledgermetrics: outbox: make it by NewOutbox, with a database and a client")

func (o *Outbox) isMade() bool { return o.draining != nil && o.db != nil && o.client != nil }

// Run drains the outbox until ctx ends, looks every second, and logs what goes wrong. While the receiver or Postgres is
// away, it asks every 5 s, or as the receiver said. It also deletes rows that were sent over 14 days ago.
//
// Call Run once in a process, in a goroutine of its own, and wait until it has returned before you close the database:
// at the end it gives back what it has claimed, so that no other process has to wait for that. It returns within
// milliseconds, or within 10 s if Postgres does not answer.
func (o *Outbox) Run(ctx context.Context) {
	for ctx.Err() == nil {
		_, err := o.Drain(ctx)
		if ctx.Err() != nil {
			return
		}
		wait := pollInterval
		if err != nil {
			wait = max(outagePause, retryAfterOf(err))
			o.client.logger().Warn("outbox not drained, will try again", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// ask runs a statement in a transaction, in the isolation level that SKIP LOCKED needs, and calls scan for each row. It
// ends with ctx, and leaves a driver behind that does not: read nothing of what scan writes after an error.
func (o *Outbox) ask(ctx context.Context, scan func(*sql.Rows) error, statement string, args ...any) error {
	select {
	case o.transactions <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	done := make(chan error, 1)
	go func() {
		defer func() { <-o.transactions }()
		done <- o.transact(ctx, scan, statement, args)
	}()
	left := make(chan struct{})
	defer context.AfterFunc(ctx, func() { time.AfterFunc(cancelTimeout, func() { close(left) }) })()
	select {
	case err := <-done:
		return err
	case <-left:
		return ctx.Err()
	}
}

func (o *Outbox) transact(ctx context.Context, scan func(*sql.Rows) error, statement string, args []any) error {
	tx, err := o.db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return err
	}
	defer tx.Rollback() // After a commit it does nothing.
	rows, err := tx.QueryContext(ctx, statement, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	return tx.Commit()
}
