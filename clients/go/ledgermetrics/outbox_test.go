package ledgermetrics

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

func drain(t *testing.T, outbox *Outbox, want Drained) {
	t.Helper()
	if drained, err := outbox.Drain(ctx); err != nil || drained != want {
		t.Errorf("%+v, %v, want %+v", drained, err, want)
	}
}

func TestDrainSendsTheBytesThatAreInTheOutboxAndKeepsTheRow(t *testing.T) {
	db := open(t)
	body := "[ {\"a\":\t\"ä \\u0000 😀\"}\r\n]"
	insert(t, db, "a", body)
	sent := ""
	outbox := NewOutbox(db, answering(t, func(w http.ResponseWriter, r *http.Request) {
		bytes, _ := io.ReadAll(r.Body)
		sent += r.Header.Get("webhook-id") + string(bytes)
		recorded(w)
	}))
	drain(t, outbox, Drained{Counted: 1})
	drain(t, outbox, Drained{})
	if sent != "a"+body {
		t.Errorf("sent %q", sent)
	}
	expect(t, db, `select id, attempts, sent_at = first_sent_at and sent_at <= now(), claimed_until, last_error, parked_at
		from ledger_metrics_outbox`, "(a,1,t,,,)")
}

func TestNoTransactionOrConnectionIsHeldDuringARequest(t *testing.T) {
	db := open(t)
	db.SetMaxOpenConns(1)
	insert(t, db, "a", "[1]")
	outbox := NewOutbox(db, answering(t, func(w http.ResponseWriter, r *http.Request) {
		if open := db.Stats().InUse; open != 0 {
			t.Errorf("%d connections are in use", open)
		}
		if got := rows(t, db, `select state from pg_stat_activity
			where pid <> pg_backend_pid() and datname = current_database() and state like 'idle in transaction%'`); got != "" {
			t.Error(got)
		}
		if r.Header.Get("webhook-id") == "a" {
			insert(t, db, "a-repair-meanwhile", "[2]")
		}
		recorded(w)
	}))
	drain(t, outbox, Drained{Counted: 2})
}

func TestDrainSendsSeveralAtATime(t *testing.T) {
	db := open(t)
	run(t, db, "insert into ledger_metrics_outbox (id, body) select 'row-' || n, '[]' from generate_series(1, 500) as n")
	var mutex sync.Mutex
	now, most := 0, 0
	connections := map[string]bool{}
	count := func(change int) {
		mutex.Lock()
		now += change
		most = max(most, now)
		mutex.Unlock()
	}
	outbox := NewOutbox(db, answering(t, func(w http.ResponseWriter, r *http.Request) {
		count(1)
		mutex.Lock()
		connections[r.RemoteAddr] = true
		mutex.Unlock()
		time.Sleep(5 * time.Millisecond)
		count(-1)
		recorded(w)
	}))
	drain(t, outbox, Drained{Counted: 500})
	if most != maxInFlight {
		t.Errorf("%d at a time, want %d", most, maxInFlight)
	}
	if len(connections) > 2*maxInFlight {
		t.Errorf("on %d connections", len(connections))
	}
}

func TestDrainSlowsDownWhenItIsToldTo(t *testing.T) {
	db := open(t)
	run(t, db, "insert into ledger_metrics_outbox (id, body) select 'row-' || n, '[]' from generate_series(1, 600) as n")
	var mutex sync.Mutex
	now, throttled := 0, 0
	// As Lambda, with a concurrency of 5.
	outbox := NewOutbox(db, answering(t, func(w http.ResponseWriter, r *http.Request) {
		mutex.Lock()
		now++
		isTooMany := now > 5
		if isTooMany {
			throttled++
		}
		mutex.Unlock()
		time.Sleep(5 * time.Millisecond)
		mutex.Lock()
		now--
		mutex.Unlock()
		if isTooMany {
			answer(w, 429, `{"Reason":"ReservedFunctionConcurrentInvocationLimitExceeded"}`)
			return
		}
		recorded(w)
	}))
	runCtx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	hasEnded := make(chan bool)
	go func() {
		outbox.Run(runCtx)
		close(hasEnded)
	}()
	for rows(t, db, "select id from ledger_metrics_outbox where sent_at is null limit 1") != "" && runCtx.Err() == nil {
		time.Sleep(20 * time.Millisecond)
	}
	cancel()
	<-hasEnded
	if throttled < 1 || throttled > 8 || outbox.inFlightLimit != 4 {
		t.Errorf("throttled %d times, %d at a time", throttled, outbox.inFlightLimit)
	}
	outbox.throttledAt = time.Now().Add(-throttledFor)
	outbox.adapt(nil)
	if outbox.inFlightLimit != maxInFlight {
		t.Errorf("still %d at a time an hour later", outbox.inFlightLimit)
	}
}

func TestDrainParksWhatIsRefusedAndGoesOn(t *testing.T) {
	db := open(t)
	orphan := `{"type":"reconciler.orphan_refund","timestamp":"2026-01-31T12:00:00Z"}`
	insert(t, db, "invalid", "["+orphan+`,{"type":"reconciler.orphan"}]`)
	insert(t, db, "large", "["+orphan+","+orphan+"]")
	insert(t, db, "taken", "["+orphan+"]")
	insert(t, db, "not-json", "[")
	insert(t, db, "good", "[]")
	sent := 0
	client := answering(t, func(w http.ResponseWriter, r *http.Request) {
		sent++
		switch r.Header.Get("webhook-id") {
		case "invalid":
			answer(w, 400, `{"error":"[1].type: must be another","stage":null}`)
		case "large":
			answer(w, 413, `{"error":"over 1 events","stage":null}`)
		case "not-json":
			answer(w, 400, `{"error":"the body is not JSON","stage":null}`)
		case "taken":
			answer(w, 409, `{"error":"webhook-id: was recorded before for other events","stage":null}`)
		default:
			recorded(w)
		}
	})
	var log strings.Builder
	client.Logger = slog.New(slog.NewTextHandler(&log, nil))
	outbox := NewOutbox(db, client)
	drain(t, outbox, Drained{Counted: 1, Parked: 4})
	drain(t, outbox, Drained{})
	if sent != 5 {
		t.Errorf("sent %d times", sent)
	}
	expect(t, db, `select id, jsonb_array_length(case id when 'not-json' then '[]' else body end::jsonb), attempts,
		parked_at is not null, sent_at, last_error from ledger_metrics_outbox where id <> 'good' order by id`,
		`(invalid,2,1,t,,"ledgermetrics: delivery invalid rejected with 400: [1].type: must be another; `+
			`not counted: 1 orphan refund, 1 reconciler.orphan") `+
			`(large,2,1,t,,"ledgermetrics: delivery large rejected with 413: over 1 events; not counted: 2 orphan refunds") `+
			`(not-json,0,1,t,,"ledgermetrics: delivery not-json rejected with 400: the body is not JSON") `+
			`(taken,1,1,t,,"ledgermetrics: delivery taken rejected with 409: `+
			`webhook-id: was recorded before for other events; not counted: 1 orphan refund")`)
	for _, want := range []string{
		`id=invalid error="[1].type: must be another" not_counted="1 orphan refund, 1 reconciler.orphan"`,
		`id=taken error="webhook-id: was recorded before for other events" not_counted="1 orphan refund"`,
	} {
		if strings.Count(log.String(), `level=ERROR msg="delivery refused and parked" `+want) != 1 {
			t.Errorf("logged %s, want %s", log.String(), want)
		}
	}
	// As the README says.
	run(t, db, "update ledger_metrics_outbox set body = '[4]' where id = 'invalid'")
	run(t, db, "update ledger_metrics_outbox set parked_at = null, next_attempt_at = now() where id = 'invalid'")
	outbox.client = answering(t, func(w http.ResponseWriter, r *http.Request) { recorded(w) })
	drain(t, outbox, Drained{Counted: 1})
}

func TestHooksTellWhatBecameOfEachDelivery(t *testing.T) {
	db := open(t)
	for _, id := range []string{"sent", "parked", "failed"} {
		insert(t, db, id, "[]")
	}
	outbox := NewOutbox(db, answering(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.Header.Get("webhook-id") {
		case "sent":
			recorded(w)
		case "parked":
			answer(w, 409, `{"error":"webhook-id: was recorded before for other events","stage":null}`)
		default:
			answer(w, 503, `{"error":"not confirmed"}`)
		}
	}))
	if _, err := outbox.Drain(ctx); err == nil { // Without hooks.
		t.Error("no error")
	}
	run(t, db, "update ledger_metrics_outbox set sent_at = null, parked_at = null, next_attempt_at = now() - interval '1 s'")
	var told []string
	tell := func(what ...any) { told = append(told, strings.TrimSpace(fmt.Sprintln(what...))) }
	outbox.Hooks = Hooks{
		Sent: func(id string) {
			tell("sent", id, rows(t, db, "select id from ledger_metrics_outbox where sent_at is not null"))
		},
		Failed: func(id string, err error) { tell("failed", id, err) },
		Parked: func(id string, err *RejectedError) { tell("parked", id, err.Status, err.NotCounted) },
	}
	outbox.lookAtAllAt = time.Time{}
	if _, err := outbox.Drain(ctx); err == nil {
		t.Error("no error")
	}
	want := []string{
		"sent sent (sent)", "parked parked 409 no events", "failed failed ledgermetrics: delivery failed rejected with 503: not confirmed",
	}
	if fmt.Sprint(told) != fmt.Sprint(want) {
		t.Errorf("told %q, want %q", told, want)
	}
}

func TestDrainBacksOffAndTouchesNoOther(t *testing.T) {
	db := open(t)
	insert(t, db, "slow", "[1]")
	run(t, db, "update ledger_metrics_outbox set attempts = 4")
	insert(t, db, "other", "[2]")
	run(t, db, "update ledger_metrics_outbox set next_attempt_at = now() - interval '1 minute'")
	var order []string
	outbox := NewOutbox(db, answering(t, func(w http.ResponseWriter, r *http.Request) {
		order = append(order, r.Header.Get("webhook-id"))
		if r.Header.Get("webhook-id") == "slow" {
			w.WriteHeader(502)
			return
		}
		recorded(w)
	}))
	drained, err := outbox.Drain(ctx)
	var rejected *RejectedError
	if drained != (Drained{}) || !errors.As(err, &rejected) || rejected.Status != 502 {
		t.Errorf("%+v, %v", drained, err)
	}
	// 8 s to 10 s after the fifth attempt, counted from when it was answered.
	expect(t, db, `select id, attempts, parked_at, claimed_until, last_error like '%: delivery slow rejected with 502: %',
		next_attempt_at - now() between interval '1 second' and interval '10 seconds'
		from ledger_metrics_outbox where id = 'slow'`, "(slow,5,,,t,t)")
	expect(t, db, "select attempts, claimed_until, last_error from ledger_metrics_outbox where id = 'other'", "(0,,)")
	drain(t, outbox, Drained{Counted: 1})
	// Due again, and the delivery that came later still goes first.
	run(t, db, "update ledger_metrics_outbox set next_attempt_at = now() - interval '1 millisecond'")
	insert(t, db, "third", "[3]")
	run(t, db, "update ledger_metrics_outbox set next_attempt_at = now() - interval '1 second' where id = 'third'")
	outbox.inFlight = 1
	if drained, err := outbox.Drain(ctx); err == nil || drained != (Drained{Counted: 1}) {
		t.Errorf("%+v, %v", drained, err)
	}
	if fmt.Sprint(order) != "[slow other third slow]" {
		t.Errorf("sent in the order %v", order)
	}
}

func TestDrainWaitsAsLongAsTheReceiverAsks(t *testing.T) {
	db := open(t)
	insert(t, db, "a", "[1]")
	outbox := NewOutbox(db, answering(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "600")
		answer(w, 503, `{"error":"not confirmed; send again with the same webhook-id"}`)
	}))
	if _, err := outbox.Drain(ctx); err == nil {
		t.Error("no error")
	}
	expect(t, db, `select next_attempt_at - now() between interval '500 seconds' and interval '600 seconds'
		from ledger_metrics_outbox`, "(t)")
}

func TestTwoWorkersNeverSendTheSameRowSideBySide(t *testing.T) {
	db := open(t)
	// A strict default of the role's must not make them fail.
	run(t, db, `do $$ begin execute format('alter database %I set default_transaction_isolation = serializable',
		current_database()); end $$`)
	defer run(t, db, `do $$ begin execute format('alter database %I reset default_transaction_isolation',
		current_database()); end $$`)
	db.SetMaxIdleConns(0)
	run(t, db, "insert into ledger_metrics_outbox (id, body) select 'row-' || n, '[]' from generate_series(1, 400) as n")
	var mutex sync.Mutex
	times := map[string]int{}
	bothAreHere := make(chan bool)
	client := answering(t, func(w http.ResponseWriter, r *http.Request) {
		mutex.Lock()
		times[r.Header.Get("webhook-id")]++
		if len(times) == 2 {
			close(bothAreHere)
		}
		mutex.Unlock()
		io.ReadAll(r.Body)
		select { // The first request is held until the second worker has sent another row.
		case <-bothAreHere:
			recorded(w)
		case <-r.Context().Done():
		}
	})
	var group sync.WaitGroup
	for range 2 {
		group.Add(1)
		go func() {
			defer group.Done()
			if _, err := NewOutbox(db, client).Drain(ctx); err != nil {
				t.Error(err)
			}
		}()
	}
	group.Wait()
	for id, n := range times {
		if n != 1 {
			t.Errorf("%s was sent %d times", id, n)
		}
	}
	if len(times) != 400 {
		t.Errorf("%d of 400 were sent", len(times))
	}
	expect(t, db, "select id from ledger_metrics_outbox where sent_at is null", "")
}

func TestAClaimTakesTheLongestDueAndWaitsForNoLock(t *testing.T) {
	db := open(t)
	run(t, db, `insert into ledger_metrics_outbox (id, body, next_attempt_at)
		select 'row-' || n, '[]', now() - n * interval '1 second' from generate_series(1, 10) as n`)
	tx := begin(t, db)
	if _, err := tx.Exec("select from ledger_metrics_outbox where id = 'row-9' for update"); err != nil {
		t.Fatal(err)
	}
	outbox := NewOutbox(db, answering(t, func(w http.ResponseWriter, r *http.Request) {}))
	batch, _, err := outbox.claim(ctx)
	ids := ""
	for _, delivery := range batch {
		ids += delivery.id + " "
	}
	if want := "row-10 row-8 row-7 row-6 row-5 row-4 row-3 row-2 "; err != nil || ids != want {
		t.Errorf("%s, %v, want %s", ids, err, want)
	}
}

func TestADrainThatIsEndedInMidRequestLeavesTheRowDue(t *testing.T) {
	db := open(t)
	insert(t, db, "a", "[1]")
	run(t, db, "update ledger_metrics_outbox set attempts = 3, last_error = 'an earlier failure'")
	drainCtx, cancel := context.WithCancel(ctx)
	outbox := NewOutbox(db, answering(t, func(w http.ResponseWriter, r *http.Request) {
		io.ReadAll(r.Body) // Only then does the server notice that the client has gone.
		cancel()
		<-r.Context().Done()
	}))
	if _, err := outbox.Drain(drainCtx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	expect(t, db, "select id, attempts, last_error, claimed_until from ledger_metrics_outbox", `(a,3,"an earlier failure",)`)
	outbox.client = answering(t, func(w http.ResponseWriter, r *http.Request) { recorded(w) })
	drain(t, outbox, Drained{Counted: 1})
}

func TestWhatADeadProcessHasClaimedIsSentWhenTheLeaseEnds(t *testing.T) {
	db := open(t)
	insert(t, db, "a", "[1]")
	client := answering(t, func(w http.ResponseWriter, r *http.Request) { recorded(w) })
	if batch, _, err := NewOutbox(db, client).claim(ctx); err != nil || len(batch) != 1 { // And dies.
		t.Fatal(batch, err)
	}
	outbox := NewOutbox(db, client)
	drain(t, outbox, Drained{})
	run(t, db, "update ledger_metrics_outbox set claimed_until = claimed_until - interval '1 minute'") // A minute passes.
	outbox.lookAtAllAt = time.Time{}
	drain(t, outbox, Drained{Counted: 1})
}

// A process may be frozen for longer than its lease. What it knows of the receiver is old then.
func TestNothingIsSettledAfterTheClaimHasEnded(t *testing.T) {
	db := open(t)
	insert(t, db, "a", `[1,2]`)
	for _, err := range []error{
		nil,
		errors.New("no answer"),
		&RejectedError{Status: 400, Reason: "[1]: is wrong"},
		&RejectedError{Status: 409, Reason: "was recorded before"},
	} {
		outbox := NewOutbox(db, answering(t, func(w http.ResponseWriter, r *http.Request) {}))
		batch, _, claimErr := outbox.claim(ctx)
		if claimErr != nil || len(batch) != 1 {
			t.Fatal(batch, claimErr)
		}
		if _, err := outbox.ResendSince(ctx, time.Now()); err != nil { // Ends all claims.
			t.Fatal(err)
		}
		batch[0].isTried, batch[0].err = true, err
		if drained, err := outbox.settle(ctx, batch); err != nil || drained != (Drained{}) {
			t.Errorf("%+v, %v", drained, err)
		}
		expect(t, db, "select id, body, attempts, sent_at, parked_at, last_error from ledger_metrics_outbox",
			`(a,"[1,2]",0,,,)`)
	}
}

func TestTheOutboxOutlivesItsSessionsAndStrangeDefaults(t *testing.T) {
	db := open(t)
	var name string
	if err := db.QueryRow("select current_database()").Scan(&name); err != nil {
		t.Fatal(err)
	}
	settings := []string{
		"idle_in_transaction_session_timeout = 50",
	}
	if rows(t, db, "select from pg_settings where name = 'idle_session_timeout'") != "" { // Since PostgreSQL 14.
		settings = append(settings, "idle_session_timeout = 50")
	}
	for _, setting := range settings {
		run(t, db, fmt.Sprintf("alter database %s set %s", name, setting))
		defer run(t, db, fmt.Sprintf("alter database %s reset %s", name, strings.Fields(setting)[0]))
	}
	insert(t, db, "a", "[1]")
	outbox := NewOutbox(db, answering(t, func(w http.ResponseWriter, r *http.Request) {
		run(t, db, `select pg_terminate_backend(pid) from pg_stat_activity
			where datname = current_database() and pid <> pg_backend_pid()`)
		time.Sleep(200 * time.Millisecond) // Longer than a session may be idle.
		recorded(w)
	}))
	drain(t, outbox, Drained{Counted: 1})
}

// A repair commits behind rows that are sent already.
func TestARowThatBecomesVisibleLateIsFound(t *testing.T) {
	db := open(t)
	outbox := NewOutbox(db, answering(t, func(w http.ResponseWriter, r *http.Request) { recorded(w) }))
	for secondsAgo, isFoundAtOnce := range map[int]bool{1: true, 60: false} {
		tx := begin(t, db)
		if _, err := tx.Exec(`insert into ledger_metrics_outbox (id, body, next_attempt_at)
			values ($1, '[]', now() - $2::int * interval '1 second')`, fmt.Sprint("late-", secondsAgo), secondsAgo); err != nil {
			t.Fatal(err)
		}
		insert(t, db, fmt.Sprint("early-", secondsAgo), "[]")
		drain(t, outbox, Drained{Counted: 1})
		tx.Commit()
		if isFoundAtOnce {
			drain(t, outbox, Drained{Counted: 1})
			continue
		}
		drain(t, outbox, Drained{})
		outbox.lookAtAllAt = outbox.lookAtAllAt.Add(-lookAtAllEvery) // Ten seconds pass.
		drain(t, outbox, Drained{Counted: 1})
	}
}

// A snapshot that is held keeps every dead entry in the index, as pg_dump and a long report do.
func TestPickingStaysCheapUnderAHeldSnapshot(t *testing.T) {
	db := open(t)
	run(t, db, "vacuum ledger_metrics_outbox")
	// All due in the same moment, as one large transaction has enqueued them.
	total := cmp.Or(os.Getenv("OUTBOX_ROWS"), "10000")
	run(t, db, `insert into ledger_metrics_outbox (id, body, next_attempt_at)
		select 'row-' || n, '[]', now() - interval '1 minute' from generate_series(1, $1::int) as n`, total)
	run(t, db, "analyze ledger_metrics_outbox")
	snapshot := begin(t, db)
	if _, err := snapshot.Exec(`set transaction isolation level repeatable read;
		select count(*) from ledger_metrics_outbox`); err != nil {
		t.Fatal(err)
	}
	outbox := NewOutbox(db, answering(t, func(w http.ResponseWriter, r *http.Request) {}))
	outbox.inFlight = maxInFlight
	pages := func() int {
		t.Helper()
		tx := begin(t, db)
		defer tx.Rollback()
		var plan string
		query := "explain (analyze, buffers, format json) " + claimSQL(batchFactor*outbox.inFlight)
		if err := tx.QueryRow(query, outbox.cursor.at, outbox.cursor.seq).Scan(&plan); err != nil {
			t.Fatal(err)
		}
		var explained []struct {
			Plan struct {
				Hit  int `json:"Shared Hit Blocks"`
				Read int `json:"Shared Read Blocks"`
			}
		}
		if err := json.Unmarshal([]byte(plan), &explained); err != nil {
			t.Fatal(err)
		}
		return explained[0].Plan.Hit + explained[0].Plan.Read
	}
	first := pages()
	for {
		batch, _, err := outbox.claim(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if len(batch) == 0 {
			break
		}
		outbox.lookAtAllAt = time.Now().Add(time.Hour) // It goes on from where it was.
		for i := range batch {
			batch[i].isTried = true
		}
		if _, err := outbox.settle(ctx, batch); err != nil {
			t.Fatal(err)
		}
	}
	run(t, db, "insert into ledger_metrics_outbox (id, body) values ('zz-last', '[]')")
	one, cursor := pages(), outbox.cursor
	outbox.cursor = position{}
	all := pages()
	fmt.Printf("claiming 128 of %s rows: %d pages; a row behind them, when they are sent: %d; a look at everything: %d\n",
		total, first, one, all)
	if one > 40 {
		t.Errorf("claiming one row takes %d pages, from %v on", one, cursor)
	}
}

func TestRunGoesOnAfterAFailureAndEndsWithItsContext(t *testing.T) {
	db := open(t)
	insert(t, db, "a", "[1]")
	attempts := 0
	runCtx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	outbox := NewOutbox(db, answering(t, func(w http.ResponseWriter, r *http.Request) {
		attempts++
		if attempts == 1 {
			w.WriteHeader(502)
			return
		}
		recorded(w)
		cancel()
	}))
	outbox.Run(runCtx)
	if !errors.Is(runCtx.Err(), context.Canceled) || attempts != 2 {
		t.Errorf("%d attempts, %v", attempts, runCtx.Err())
	}
}

// As behind a host that is frozen: nothing comes any more, and no connection ends.
func TestDrainEndsWithItsContextWhenPostgresFallsSilent(t *testing.T) {
	open(t)
	address, err := url.Parse(os.Getenv("DATABASE_URL"))
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	var silence sync.RWMutex
	forward := func(to, from net.Conn) {
		defer to.Close()
		bytes := make([]byte, 4096)
		for {
			count, err := from.Read(bytes)
			if err != nil {
				return
			}
			silence.RLock()
			to.Write(bytes[:count])
			silence.RUnlock()
		}
	}
	server := address.Host
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			if behind, err := net.Dial("tcp", server); err == nil {
				go forward(behind, connection)
				go forward(connection, behind)
			}
		}
	}()
	address.Host = listener.Addr().String()
	db, err := sql.Open(os.Getenv("DRIVER"), address.String())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	outbox := NewOutbox(db, answering(t, func(w http.ResponseWriter, _ *http.Request) { recorded(w) }))
	drain(t, outbox, Drained{})

	silence.Lock()
	defer silence.Unlock()
	for range maxTransactions + 2 {
		drainCtx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		ended := make(chan error, 1)
		go func() {
			_, err := outbox.Drain(drainCtx)
			ended <- err
		}()
		select {
		case err := <-ended:
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		case <-time.After(2*cancelTimeout + 3*time.Second):
			t.Fatal("it waits for Postgres")
		}
	}
	// The pool is the application's, too.
	if open := db.Stats().InUse; open > maxTransactions {
		t.Errorf("%d connections wait for Postgres", open)
	}
}
