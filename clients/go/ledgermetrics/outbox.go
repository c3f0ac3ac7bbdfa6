package ledgermetrics

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"
)

const (
	// How many deliveries a process sends at a time: one for each entry of workers.
	maxRequests = 4
	// How often a worker looks where nothing is due.
	pollInterval = time.Second
	// After so many failures in a row, the receiver is taken to be away. Then each worker begins one request in
	// outagePause. If the receiver says how long to wait, the worker waits as long, up to maxOutagePause.
	maxFailures    = 3
	outagePause    = 5 * time.Second
	maxOutagePause = 20 * time.Second

	// Of the outbox's own statements. A claim in send.go has to last longer than a request and two of them.
	statementTimeout = 9 * time.Second
	// What a statement has left once the process has been told to end.
	endTimeout = time.Second
	// Transactions at a time: no mute Postgres takes more connections of a pool that the application shares.
	maxTransactions = 2
)

// What each worker claims: the row that the first of these statements finds. Any number of rows may hang, each for
// 20 s. So a row that has failed holds up no row that was never tried, and a row that has waited for long holds up no
// new row.
var workers = [maxRequests][]string{
	{claimFailedSQL, claimNewSQL},
	{claimNewSQL},
	{claimNewSQL},
	{claimFreshSQL},
}

// Outbox sends what was enqueued until it is counted. Any number of processes may do so side by side. [NewOutbox] makes
// it. It is safe for concurrent use.
type Outbox struct {
	// Hooks tell your own metrics what becomes of deliveries. Set them before the first Run or Drain.
	Hooks Hooks

	db     *sql.DB
	client *Client
	// Has an entry for each transaction under way, also for those that ask has left behind.
	transactions chan struct{}

	// Guards what follows.
	mutex sync.Mutex
	// Deliveries that failed since one was sent or parked.
	failures int
	purgedAt time.Time
}

// Hooks are called when the outbox has written down what became of a delivery: by the goroutine that called Run or
// Drain, one after the other. They may call Drain. While a hook runs, a worker that has to call a hook waits, and the
// others go on. A hook that panics is logged. A hook that is nil is not called.
type Hooks struct {
	// Sent: it is counted. Run logs a warning if the receiver had counted the id before the first attempt: another sender
	// may have used it.
	Sent func(id string)
	// Failed: the answer did not confirm it, or there was no answer. It will be sent again.
	Failed func(id string, err error)
	// Parked: the receiver refused it for good, or it was first sent over 13 days ago. It waits for a person.
	Parked func(id string, err *RejectedError)
}

// NewOutbox returns the outbox in this database, whose table is in outbox.sql. The client sends. With gorm, pass what
// db.DB() returns.
func NewOutbox(db *sql.DB, client *Client) *Outbox {
	return &Outbox{db: db, client: client, transactions: make(chan struct{}, maxTransactions)}
}

// check returns an error that says what an outbox lacks.
func (o *Outbox) check() error {
	switch {
	case o == nil || o.transactions == nil:
		return fmt.Errorf("%w: outbox: make it with NewOutbox, with a database and a client", ErrInvalid)
	case o.db == nil:
		return fmt.Errorf("%w: outbox: the database is nil", ErrInvalid)
	}
	return o.client.check()
}

// Run sends what is due, four deliveries at a time, and looks every second. It returns nil when ctx has ended, and an
// error at once when it can never work: without a database or a client, without the table of this version, or without
// the rights on it. It logs this error, too. So it is a function for an errgroup.
//
// An outage is no error: Run logs each attempt that fails, and tries again. While the receiver or Postgres is away,
// each of its four workers tries every 5 s, or as the receiver said, up to 20 s. Run also deletes rows that were sent
// over 14 days ago, or over a year ago under an id of your own.
//
// Wait until Run has returned before you close the database: at the end it gives back what it has claimed, so that no
// other process has to wait for that. It returns within milliseconds, or within a second if Postgres does not answer.
func (o *Outbox) Run(ctx context.Context) error {
	err := o.run(ctx)
	if err != nil {
		var client *Client
		if o != nil {
			client = o.client
		}
		client.logger().Error("the outbox is not sent", "error", err)
	}
	return err
}

func (o *Outbox) run(ctx context.Context) error {
	if err := o.check(); err != nil {
		return err
	}
	for wait := time.Duration(0); ; wait = outagePause {
		pause(ctx, wait)
		if ctx.Err() != nil {
			return nil
		}
		err := o.try(ctx)
		if err == nil {
			break
		}
		if slices.Contains(hopeless, stateOf(err)) {
			return err
		}
		o.client.logger().Warn("outbox not read, will try again", "error", err)
	}
	return o.sideBySide(&Drained{}, func(w *worker) error {
		for ctx.Err() == nil {
			wait := pollInterval
			if err := w.sendDue(ctx); err != nil && ctx.Err() == nil {
				wait = outagePauseAfter(err, time.Since(w.beganAt))
				if !errors.As(err, new(*awayError)) { // It is logged.
					o.client.logger().Warn("outbox not drained, will try again", "error", err)
				}
			}
			pause(ctx, wait)
		}
		return nil
	})
}

// outagePauseAfter returns how long a worker waits whose attempt has failed, and took so long.
func outagePauseAfter(err error, took time.Duration) time.Duration {
	return min(max(outagePause-took, retryAfterOf(err)), maxOutagePause)
}

// pause waits, or until ctx has ended.
func pause(ctx context.Context, wait time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(wait):
	}
}

// trySQL touches no row. It fails if a column or a right is missing that Run needs.
const trySQL = `
	with updated as (
		update ledger_outbox.deliveries set claimed_until = null, attempts = attempts + 1, last_error = null,
			next_attempt_at = now(), sent_at = now(), first_sent_at = now(), parked_at = now()
		where false returning id, body, seq, created_at
	), deleted as (
		delete from ledger_outbox.deliveries where false returning id
	) select count(*) from updated, deleted`

// The table, the schema or a column is missing, or a right on them. No retry can help.
var hopeless = []string{"42P01", "3F000", "42703", "42501"}

// try returns an error if the table cannot be sent from.
func (o *Outbox) try(ctx context.Context) error {
	if err := o.ask(ctx, func(*sql.Rows) error { return nil }, trySQL); err != nil {
		return failure("outbox not read", err)
	}
	return nil
}

// Drained is what a call of Drain did.
type Drained struct {
	Counted int // Sent. Their rows stay for 14 days, or for a year under an id of your own.
	Parked  int // They wait for a person, with the reason in last_error.
	Failed  int // Attempts. Each delivery will be sent again.
}

// Drain sends what is due, four deliveries at a time, and returns when nothing is due. A delivery that has failed is
// due again later.
//
// When three attempts have failed, and none has succeeded in between, the receiver is taken to be away. Drain then
// returns the error of the last. It also returns when ctx ends, and after an error of Postgres.
func (o *Outbox) Drain(ctx context.Context) (Drained, error) {
	if err := o.check(); err != nil {
		return Drained{}, err
	}
	var drained Drained
	err := o.sideBySide(&drained, func(w *worker) error { return w.sendDue(ctx) })
	return drained, cmp.Or(ctx.Err(), err)
}

// worker sends one delivery after the other.
type worker struct {
	*Outbox
	claims []string
	// What it did, with the others. Guarded by the mutex of the outbox.
	drained *Drained
	// Takes the hooks that are to be called.
	hooks chan<- func()
	// When it last looked for a delivery.
	beganAt time.Time
}

// sideBySide runs the workers, and calls the hooks meanwhile. It returns an error of one of them when all have
// returned.
func (o *Outbox) sideBySide(drained *Drained, work func(*worker) error) (err error) {
	ended, hooks := make(chan error), make(chan func())
	for _, claims := range workers {
		go func() { ended <- work(&worker{Outbox: o, claims: claims, drained: drained, hooks: hooks}) }()
	}
	for working := len(workers); working > 0; {
		select {
		case hook := <-hooks:
			hook()
		case workerErr := <-ended:
			working--
			err = cmp.Or(err, workerErr)
		}
	}
	return err
}

// call has a hook called for a delivery, and logs when it panics.
func (w *worker) call(name, id string, hook func()) {
	w.hooks <- func() {
		defer func() {
			if reason := recover(); reason != nil {
				w.client.logger().Error("hook panicked", "hook", name, "id", id,
					"panic", reason, "stack", string(debug.Stack()))
			}
		}()
		hook()
	}
}

// ask runs a statement in a transaction of its own, and calls scan for each row.
//
// It does not end with ctx, since nobody would know then whether the statement was done, but endTimeout later. It
// leaves a driver behind that goes on waiting for a mute server: after an error, read nothing that scan writes.
func (o *Outbox) ask(ctx context.Context, scan func(*sql.Rows) error, statement string, args ...any) error {
	asking, cancel := context.WithTimeout(context.WithoutCancel(ctx), statementTimeout)
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(endTimeout, cancel) })()
	select {
	case o.transactions <- struct{}{}:
	case <-asking.Done():
		return fmt.Errorf("no connection: %w", asking.Err())
	}
	done := make(chan error, 1)
	go func() {
		defer func() { <-o.transactions }()
		done <- o.transact(asking, scan, statement, args)
	}()
	select {
	case err := <-done:
		return err
	case <-asking.Done():
		return fmt.Errorf("no answer: %w", asking.Err())
	}
}

// transact names the isolation level that SKIP LOCKED needs, because a role may have another default. It looks for no
// function and no operator that others have made in a schema of the application.
func (o *Outbox) transact(ctx context.Context, scan func(*sql.Rows) error, statement string, args []any) error {
	tx, err := o.db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return err
	}
	defer tx.Rollback() // After a commit it does nothing.
	if _, err := tx.ExecContext(ctx, "set local search_path = pg_catalog, pg_temp"); err != nil {
		return err
	}
	if err := each(ctx, tx, scan, statement, args...); err != nil {
		return err
	}
	return tx.Commit()
}

// each calls scan for each row of a query.
func each(ctx context.Context, tx Tx, scan func(*sql.Rows) error, query string, args ...any) error {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// failure wraps an error of Postgres, and names the remedy where the table is not the one of this version.
func failure(what string, err error) error {
	switch stateOf(err) {
	case "42P01", "42703": // Undefined table or column.
		err = fmt.Errorf("ledger_outbox.deliveries is missing or lacks a column, run outbox.sql: %w", err)
	case "42501": // Insufficient privilege.
		err = fmt.Errorf("the login lacks a right on ledger_outbox.deliveries; to enqueue, it needs usage on the"+
			" schema, select and insert, and to send, also update and delete: %w", err)
	}
	return fmt.Errorf("ledgermetrics: %s: %w", what, err)
}

// stateOf returns the SQLSTATE of an error of pgx or lib/pq, which have this method, or "".
func stateOf(err error) string {
	var withState interface{ SQLState() string }
	if errors.As(err, &withState) {
		return withState.SQLState()
	}
	return ""
}
