package ledgermetrics

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
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

// untilUnused returns when nothing looks for more.
func untilUnused(db *sql.DB) {
	for wait := 0; db.Stats().InUse > 0 && wait < 1000; wait++ {
		time.Sleep(time.Millisecond)
	}
}

func TestNoTransactionOrConnectionIsHeldDuringARequest(t *testing.T) {
	db := open(t)
	db.SetMaxOpenConns(1)
	insert(t, db, "a", "[1]")
	outbox := NewOutbox(db, answering(t, func(w http.ResponseWriter, r *http.Request) {
		untilUnused(db)
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
	// Without it, most of the 600 would be throttled. On a machine that stalls, all under way are, more than once.
	if throttled < 1 || throttled > 4*maxInFlight || outbox.limit < 2 || outbox.limit > 5 {
		t.Errorf("throttled %d times, %d at a time", throttled, outbox.limit)
	}
	outbox.throttledAt = time.Now().Add(-throttledFor)
	(&round{Outbox: outbox}).adapt(&delivery{State: sent})
	if outbox.limit != maxInFlight {
		t.Errorf("still %d at a time an hour later", outbox.limit)
	}
}

func TestAFailureHalvesHowManyMayFail(t *testing.T) {
	lane := lane{limit: 5}
	for index, state := range []string{failed, failed, failed, sent} {
		(&round{Outbox: &Outbox{}}).adapt(&delivery{State: state, lane: &lane})
		if want := []int{2, 1, 1, 2}[index]; lane.limit != want {
			t.Errorf("%d after %s, want %d", lane.limit, state, want)
		}
	}
}

func TestDrainParksWhatIsRefusedAndGoesOn(t *testing.T) {
	db := open(t)
	insert(t, db, "taken", `[{"type":"reconciler.orphan_refund","timestamp":"2026-01-31T12:00:00Z"}]`)
	insert(t, db, "not-json", "[")
	insert(t, db, "good", "[]")
	client := answering(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.Header.Get("webhook-id") {
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
	drain(t, outbox, Drained{Counted: 1, Parked: 2})
	drain(t, outbox, Drained{})
	expect(t, db, `select id, body, attempts, parked_at is not null, sent_at, last_error
		from ledger_metrics_outbox where id <> 'good' order by id`,
		`(not-json,[,1,t,,"ledgermetrics: delivery not-json rejected with 400: the body is not JSON") `+
			`(taken,"[{""type"":""reconciler.orphan_refund"",""timestamp"":""2026-01-31T12:00:00Z""}]",1,t,,`+
			`"ledgermetrics: delivery taken rejected with 409: webhook-id: was recorded before for other events; `+
			`not counted: 1 orphan refund")`)
	want := `level=ERROR msg="delivery refused and parked" id=taken ` +
		`error="webhook-id: was recorded before for other events" not_counted="1 orphan refund"`
	if strings.Count(log.String(), want) != 1 {
		t.Errorf("logged %s, want %s", log.String(), want)
	}
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
		case "failed":
			answer(w, 503, `{"error":"not confirmed"}`)
		default:
			recorded(w)
		}
	}))
	drain(t, outbox, Drained{Counted: 1, Parked: 1, Failed: 1}) // Without hooks.
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
	drain(t, outbox, Drained{Counted: 1, Parked: 1, Failed: 1})
	slices.Sort(told)
	want := []string{
		"failed failed ledgermetrics: delivery failed rejected with 503: not confirmed", "parked parked 409 no events", "sent sent (sent)",
	}
	if fmt.Sprint(told) != fmt.Sprint(want) {
		t.Errorf("told %q, want %q", told, want)
	}
}

func TestAFailureDelaysItsOwnRowAlone(t *testing.T) {
	db := open(t)
	run(t, db, `insert into ledger_metrics_outbox (id, body, attempts)
		values ('first', '[]', 0), ('fifth', '[]', 4), ('often', '[]', 100000), ('asked', '[]', 0), ('other', '[]', 0)`)
	drain(t, NewOutbox(db, answering(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.Header.Get("webhook-id") {
		case "asked":
			w.Header().Set("Retry-After", "600")
			fallthrough
		case "first", "fifth", "often":
			answer(w, 503, `{"error":"not confirmed"}`)
		default:
			recorded(w)
		}
	})), Drained{Counted: 1, Failed: 4})
	// In seconds, from when it was written down: time has passed since then.
	expect(t, db, `select id, parked_at, claimed_until, last_error like '%: delivery ' || id || ' rejected with 503: %',
		next_attempt_at - now() between (longest - 5) * interval '1 second' and longest * 1.25 * interval '1 second'
		from ledger_metrics_outbox join (values ('first', 0.5), ('fifth', 8), ('often', 60), ('asked', 600))
			as longest (of, longest) on of = id order by longest`,
		"(first,,,t,t) (fifth,,,t,t) (often,,,t,t) (asked,,,t,t)")
	expect(t, db, "select attempts, sent_at is not null, last_error from ledger_metrics_outbox where id = 'other'", "(1,t,)")
}

func TestARowThatIsSetAsideByHandStaysAside(t *testing.T) {
	db := open(t)
	insert(t, db, "a", "[1]")
	page, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, setAside, _ := strings.Cut(string(page), "To set it aside:\n\n```sql\n")
	setAside, _, _ = strings.Cut(setAside, "```")
	drain(t, NewOutbox(db, answering(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("webhook-id") == "a" {
			run(t, db, strings.ReplaceAll(setAside, "…", "a"))
			w.WriteHeader(503)
			return
		}
		recorded(w)
	})), Drained{})
	expect(t, db, "select id, parked_at is not null, claimed_until, attempts from ledger_metrics_outbox", "(a,t,,0)")
}

// However many deliveries fail, and whatever way, the first good delivery behind them is counted soon.
func TestFailingRowsHoldUpNoOther(t *testing.T) {
	db := open(t)
	refuse := func(wait time.Duration, retryAfter string) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-time.After(wait):
			case <-r.Context().Done():
			}
			w.Header().Set("Retry-After", retryAfter)
			answer(w, 503, `{"error":"no"}`)
		}
	}
	for name, fail := range map[string]http.HandlerFunc{
		"at once":       refuse(0, ""),
		"behind a lock": refuse(2*time.Second, "5"),
		"no answer":     refuse(time.Hour, ""),
	} {
		t.Run(name, func(t *testing.T) {
			run(t, db, "delete from ledger_metrics_outbox")
			run(t, db, `insert into ledger_metrics_outbox (id, body)
				select case when n <= 100 then 'bad-' else 'good-' end || n, '[]' from generate_series(1, 1100) n`)
			receivers := 1000
			if strings.HasSuffix(name, "lock") {
				receivers = 5 // As receiverConcurrency is, where requests wait instead of a 429.
			}
			running := make(chan bool, receivers)
			outbox := NewOutbox(db, answering(t, func(w http.ResponseWriter, r *http.Request) {
				io.ReadAll(r.Body)
				running <- true
				defer func() { <-running }()
				if strings.HasPrefix(r.Header.Get("webhook-id"), "bad") {
					fail(w, r)
					return
				}
				recorded(w)
			}))
			runCtx, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			startedAt, first, good := time.Now(), time.Duration(0), 0
			outbox.Hooks.Sent = func(string) {
				good++
				if good == 1 {
					first = time.Since(startedAt)
				}
				if good == 1000 {
					cancel()
				}
			}
			outbox.Run(runCtx)
			if good != 1000 || first > 5*time.Second || time.Since(startedAt) > 40*time.Second {
				t.Errorf("%d sent, the first after %s, all after %s", good, first, time.Since(startedAt))
			}
		})
	}
}

func TestRowsThatHangHoldUpNoNewRow(t *testing.T) {
	db := open(t)
	// After the good ones, many of the others may hang at a time.
	run(t, db, `insert into ledger_metrics_outbox (id, body, next_attempt_at)
		select case when n <= 60 then 'bad-' else 'good-' end || n, '[]', now() - interval '1 hour'
		from generate_series(1, 160) as n`)
	hanging := make(chan bool, 60)
	outbox := NewOutbox(db, answering(t, func(w http.ResponseWriter, r *http.Request) {
		io.ReadAll(r.Body)
		if strings.HasPrefix(r.Header.Get("webhook-id"), "bad") {
			hanging <- true
			<-r.Context().Done()
			return
		}
		recorded(w)
	}))
	runCtx, cancel := context.WithTimeout(ctx, sendTimeout-5*time.Second)
	defer cancel()
	outbox.Hooks.Sent = func(id string) {
		if id == "new" {
			cancel()
		}
	}
	go func() {
		for range 1 + maxInFlight/3 {
			<-hanging
		}
		insert(t, db, "new", "[]")
	}()
	outbox.Run(runCtx)
	expect(t, db, "select count(*) from ledger_metrics_outbox where sent_at is not null", "(101)")
}

func TestInAnOutageTheProcessAsksOnceInFiveSeconds(t *testing.T) {
	db := open(t)
	run(t, db, "insert into ledger_metrics_outbox (id, body) select 'row-' || n, '[]' from generate_series(1, 2000) as n")
	var mutex sync.Mutex
	var ids []string
	var askedAt []time.Time
	outbox := NewOutbox(db, answering(t, func(w http.ResponseWriter, r *http.Request) {
		mutex.Lock()
		defer mutex.Unlock()
		if len(askedAt) > 5 || len(askedAt) == 5 && time.Since(askedAt[4]) > time.Second {
			recorded(w)
			return
		}
		ids, askedAt = append(ids, r.Header.Get("webhook-id")), append(askedAt, time.Now())
		answer(w, 503, `{"error":"not confirmed; send again with the same webhook-id"}`)
	}))
	runCtx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	sent := 0
	outbox.Hooks.Sent = func(string) {
		if sent++; sent == 2000 {
			cancel()
		}
	}
	outbox.Run(runCtx)
	if got := fmt.Sprint(ids); sent != 2000 || len(ids) != 5 || strings.Count(got, pingID) != 2 {
		t.Errorf("asked with %s, sent %d", got, sent)
	}
	if wait := askedAt[4].Sub(askedAt[3]); wait < outagePause {
		t.Errorf("asked after %s", wait)
	}
}

func TestAfterAnOutageADrainAsksFirst(t *testing.T) {
	db := open(t)
	insert(t, db, "a", "[1]")
	requests, isBack := 0, false
	outbox := NewOutbox(db, answering(t, func(w http.ResponseWriter, r *http.Request) {
		requests++
		if isBack {
			recorded(w)
			return
		}
		w.Header().Set("Retry-After", "600")
		w.WriteHeader(502)
	}))
	for _, want := range []int{2, 3, 4} {
		_, err := outbox.Drain(ctx)
		var rejected *RejectedError
		if !errors.As(err, &rejected) || rejected.ID != pingID || rejected.RetryAfter != 10*time.Minute || requests != want {
			t.Errorf("%v after %d requests, want %d", err, requests, want)
		}
	}
	isBack = true
	run(t, db, "update ledger_metrics_outbox set next_attempt_at = now()")
	drain(t, outbox, Drained{Counted: 1})
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

// claim claims deliveries, and leaves them claimed.
func claim(t *testing.T, outbox *Outbox, claimSQL string) []*delivery {
	t.Helper()
	round := round{Outbox: outbox}
	lane := lane{claimSQL: claimSQL}
	if err := round.claim(ctx, &lane); err != nil {
		t.Fatal(err)
	}
	return lane.queue
}

func TestAClaimTakesOneEndAndWaitsForNoLock(t *testing.T) {
	db := open(t)
	run(t, db, `insert into ledger_metrics_outbox (id, body, attempts, next_attempt_at)
		select 'row-' || n, '[]', n * 3 % 4, now() - n * 7 % 10 * interval '6 seconds' from generate_series(0, 9) as n`)
	tx := begin(t, db)
	if _, err := tx.Exec("select from ledger_metrics_outbox where id = 'row-8' for update"); err != nil {
		t.Fatal(err)
	}
	outbox := NewOutbox(db, answering(t, func(w http.ResponseWriter, r *http.Request) {}))
	for want, claimSQL := range map[string]string{
		"row-7 row-4 row-1 row-5 row-2 row-9 row-6 row-3 row-0 ": claimOldestSQL,
		"row-7 row-6 row-4 row-3 row-2 row-0 ":                   claimNewestSQL,
		"row-0 ":                                                 claimFreshSQL,
	} {
		ids := ""
		for _, delivery := range claim(t, outbox, claimSQL) {
			ids += delivery.ID + " "
		}
		if ids != want {
			t.Errorf("%s, want %s", ids, want)
		}
		run(t, db, "update ledger_metrics_outbox set claimed_until = null where id <> 'row-8'")
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
	if claimed := claim(t, NewOutbox(db, client), claimOldestSQL); len(claimed) != 1 { // And dies.
		t.Fatal(claimed)
	}
	outbox := NewOutbox(db, client)
	drain(t, outbox, Drained{})
	run(t, db, "update ledger_metrics_outbox set claimed_until = claimed_until - interval '1 minute'") // A minute passes.
	drain(t, outbox, Drained{Counted: 1})
}

// A process may be frozen for longer than its lease. What it knows of the receiver is old then.
func TestNothingIsSettledAfterTheClaimHasEnded(t *testing.T) {
	db := open(t)
	insert(t, db, "a", `[1,2]`)
	for _, state := range []string{untried, sent, failed, parked} {
		outbox := NewOutbox(db, answering(t, func(w http.ResponseWriter, r *http.Request) {}))
		claimed := claim(t, outbox, claimOldestSQL)
		if _, err := outbox.ResendSince(ctx, time.Now()); err != nil { // Ends all claims.
			t.Fatal(err)
		}
		claimed[0].State, claimed[0].err = state, errors.New("no answer")
		round := round{Outbox: outbox, done: claimed}
		if err := round.settle(ctx); err != nil || round.drained != (Drained{}) {
			t.Errorf("%+v, %v", round.drained, err)
		}
		expect(t, db, "select id, body, attempts, sent_at, parked_at, last_error from ledger_metrics_outbox",
			`(a,"[1,2]",0,,,)`)
	}
}

// A deployment ends the process at any moment.
func TestRunLeavesNothingClaimed(t *testing.T) {
	db := open(t)
	run(t, db, "insert into ledger_metrics_outbox (id, body) select 'row-' || n, '[]' from generate_series(1, 300) as n")
	for end := range 40 {
		run(t, db, "update ledger_metrics_outbox set sent_at = null, next_attempt_at = now()")
		runCtx, cancel := context.WithCancel(ctx)
		outbox := NewOutbox(db, answering(t, func(w http.ResponseWriter, r *http.Request) {
			io.ReadAll(r.Body)
			time.Sleep(time.Millisecond)
			recorded(w)
		}))
		time.AfterFunc(time.Duration(end)*time.Millisecond, cancel)
		outbox.Run(runCtx)
		if got := rows(t, db, "select count(*) from ledger_metrics_outbox where claimed_until is not null"); got != "(0)" {
			t.Fatalf("%s stay claimed after %d ms", got, end)
		}
	}
}

// A settle takes 9 s where Postgres is mute, and Run ends after the last.
func TestAnswersThatCameMeanwhileOrAtTheEndAreSettledOnce(t *testing.T) {
	db := open(t)
	db.Close() // So that each settle fails at once.
	ended, cancel := context.WithCancel(ctx)
	cancel()
	for _, runCtx := range []context.Context{ctx, ended} {
		oldest := &lane{inFlight: 3}
		r := round{
			Outbox: NewOutbox(db, &Client{}), answers: make(chan *delivery, maxInFlight), failure: errors.New("mute"),
			lanes: []*lane{oldest},
		}
		answered := make(chan bool)
		go func() {
			defer close(answered)
			for range 3 {
				for runCtx == ended && len(r.answers) > 0 { // At the end, one comes after the other.
					time.Sleep(time.Millisecond)
				}
				r.answers <- &delivery{State: untried, lane: oldest}
			}
		}()
		if runCtx == ctx {
			<-answered
		}
		r.run(runCtx)
		if strings.Count(r.failure.Error(), "outbox not settled") != 1 {
			t.Error(r.failure)
		}
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
