package test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/veza/veza-ledger-metrics/clients/go/ledgermetrics"
)

const workers = 4

func TestDrainSendsTheBytesThatAreInTheOutboxAndKeepsTheRow(t *testing.T) {
	db := open(t)
	body := "[ {\"a\":\t\"ä \\u0000 😀\"}\r\n]"
	insert(t, db, "a", body)
	sent := ""
	outbox := outboxOf(t, db, func(w http.ResponseWriter, r *http.Request) {
		sent += idOf(r) + bodyOf(r)
		recorded(w, r)
	})
	drain(t, outbox, ledgermetrics.Drained{Counted: 1})
	drain(t, outbox, ledgermetrics.Drained{})
	if sent != "a"+body {
		t.Errorf("sent %q", sent)
	}
	expect(t, db, `select id, attempts, first_sent_at < sent_at and sent_at <= now(), claimed_until, last_error, parked_at
		from ledger_outbox.deliveries`, "(a,1,t,,,)")
}

func TestNoTransactionOrConnectionIsHeldDuringARequest(t *testing.T) {
	db := open(t)
	db.SetMaxOpenConns(2)
	insertMany(t, db, 4)
	hanging := make(chan bool, workers)
	running(t, outboxOf(t, db, func(w http.ResponseWriter, r *http.Request) {
		hanging <- true
		hang(r)
	}))
	for range workers {
		within(t, time.Minute, "a request of each worker", hanging)
	}
	if open := db.Stats().InUse; open != 0 {
		t.Errorf("%d connections are in use", open)
	}
	if got := rows(t, db, `select state from pg_stat_activity
		where pid <> pg_backend_pid() and datname = current_database() and state like 'idle in transaction%'`); got != "" {
		t.Error(got)
	}
}

// One worker prefers what has failed, the least often failed first. Two take the newest that was never tried, and one
// only what is fresh.
func TestWhoIsNext(t *testing.T) {
	db := open(t)
	run(t, db, `insert into ledger_outbox.deliveries (id, body, attempts, next_attempt_at) values
		('old', '[]', 0, now() - interval '30 s'), ('older', '[]', 0, now() - interval '40 s'),
		('oldest', '[]', 0, now() - interval '50 s'),
		('new', '[]', 0, now() - interval '1 s'), ('newer', '[]', 0, now()), ('newest', '[]', 0, now()),
		('locked', '[]', 0, now()), ('later', '[]', 0, now() + interval '1 hour'),
		('failed-later', '[]', 1, now() + interval '1 hour'),
		('failed-twice', '[]', 2, now() - interval '20 s'), ('failed-once', '[]', 1, now())`)
	run(t, begin(t, db), "select from ledger_outbox.deliveries where id = 'locked' for update")
	asked := make(chan string, 100)
	answers := sync.Map{}
	running(t, outboxOf(t, db, func(w http.ResponseWriter, r *http.Request) {
		mayAnswer := make(chan bool)
		answers.Store(idOf(r), mayAnswer)
		asked <- idOf(r)
		select {
		case <-mayAnswer:
			recorded(w, r)
		case <-r.Context().Done():
		}
	}))
	next := func(count int) string {
		t.Helper()
		ids := make([]string, count)
		for i := range ids {
			ids[i] = within(t, time.Minute, "a request", asked)
		}
		slices.Sort(ids)
		return strings.Join(ids, " ")
	}
	answer := func(ids ...string) {
		for _, id := range ids {
			mayAnswer, _ := answers.Load(id)
			close(mayAnswer.(chan bool))
		}
	}
	expectNext := func(count int, want string) {
		t.Helper()
		if got := next(count); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	expectNext(4, "failed-once new newer newest")
	answer("failed-once")
	expectNext(1, "failed-twice")
	answer("new", "newer", "newest")
	expectNext(2, "old older")
	insert(t, db, "fresh", "[]")
	expectNext(1, "fresh")
	answer("failed-twice")
	expectNext(1, "oldest")
}

// The real receiver is behind proxies and load balancers, which answer in HTML, with any status.
func TestInAnOutageEachWorkerAsksOnceInFiveSecondsAndNothingIsParked(t *testing.T) {
	db := open(t)
	insertMany(t, db, 100)
	var asked, sent atomic.Int32
	var isBack atomic.Bool
	startedAt, isAskedAgain := time.Now(), make(chan bool)
	outbox := outboxOf(t, db, func(w http.ResponseWriter, r *http.Request) {
		if isBack.Load() {
			recorded(w, r)
			return
		}
		number := int(asked.Add(1))
		// Two failures are no outage. From the third on, a worker asks again 5 s after it has asked.
		if rounds := 1 + int(time.Since(startedAt)/(5*time.Second)); number > 2+workers*rounds {
			t.Errorf("asked %d times within %s", number, time.Since(startedAt))
		}
		if number == 2+workers+1 {
			close(isAskedAgain)
		}
		answer(w, []int{200, 400, 404, 409, 413, 502}[number%6], "<html>is there anybody?</html>")
	})
	allSent := make(chan bool)
	outbox.Hooks.Sent = func(string) {
		if sent.Add(1) == 100 {
			close(allSent)
		}
	}
	running(t, outbox)
	within(t, time.Minute, "asked again", isAskedAgain)
	isBack.Store(true)
	within(t, time.Minute, "all are sent", allSent)
	expect(t, db, "select count(*), count(parked_at) from ledger_outbox.deliveries", "(100,0)")
}

func TestDrainEndsAfterThreeFailuresInARow(t *testing.T) {
	db := open(t)
	insertMany(t, db, 50)
	outbox := outboxOf(t, db, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "600")
		w.WriteHeader(502)
	})
	drained, err := outbox.Drain(ctx)
	var rejected *ledgermetrics.RejectedError
	if !errors.As(err, &rejected) || rejected.RetryAfter != 10*time.Minute {
		t.Error(err)
	}
	if drained.Counted+drained.Parked != 0 || drained.Failed < 3 || drained.Failed > 2+workers {
		t.Errorf("%+v", drained)
	}
}

func TestASuccessBetweenFailuresIsNoOutage(t *testing.T) {
	db := open(t)
	outbox := outboxOf(t, db, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(idOf(r), "good") {
			recorded(w, r)
			return
		}
		w.Header().Set("Retry-After", "600") // Or it could be due again in the same Drain.
		answer(w, 503, `{"error":"no"}`)
	})
	for number := range 2 {
		insert(t, db, fmt.Sprint("good-", number), "[]")
		drain(t, outbox, ledgermetrics.Drained{Counted: 1})
		insert(t, db, fmt.Sprint("bad-", number), "[]")
		insert(t, db, fmt.Sprint("worse-", number), "[]")
		drain(t, outbox, ledgermetrics.Drained{Failed: 2})
	}
}

func TestAFailureDelaysItsOwnRowAlone(t *testing.T) {
	db := open(t)
	run(t, db, `insert into ledger_outbox.deliveries (id, body, attempts, last_error) values
		('often', '[]', 100000, null), ('asked', '[]', 0, null), ('other', '[]', 1, 'an earlier failure')`)
	outbox := outboxOf(t, db, func(w http.ResponseWriter, r *http.Request) {
		switch idOf(r) {
		case "asked":
			w.Header().Set("Retry-After", "600")
			fallthrough
		case "often":
			answer(w, 503, `{"error":"not confirmed"}`)
		default:
			recorded(w, r)
		}
	})
	drain(t, outbox, ledgermetrics.Drained{Counted: 1, Failed: 2})
	expect(t, db, `select id, attempts, (extract(epoch from next_attempt_at - now()) + 20)::int / 50 * 50, parked_at,
		claimed_until, last_error like '%: delivery ' || id || ' rejected with 503: %'
		from ledger_outbox.deliveries where id <> 'other' order by id`,
		"(asked,1,600,,,t) (often,100001,50,,,t)")
	expect(t, db, "select attempts, sent_at is not null, last_error from ledger_outbox.deliveries where id = 'other'", "(2,t,)")
}

// A deployment ends the process by SIGTERM, which ends the context.
func TestRunEndsAtOnceWhileRowsHangAndGivesThemBack(t *testing.T) {
	db := open(t)
	run(t, db, `insert into ledger_outbox.deliveries (id, body, attempts, last_error)
		select 'row-' || n, '[]', 3, 'an earlier failure' from generate_series(1, 4) as n`)
	hanging := make(chan bool, workers)
	end := running(t, outboxOf(t, db, func(w http.ResponseWriter, r *http.Request) {
		hanging <- true
		hang(r)
	}))
	within(t, time.Minute, "a request", hanging)
	endWithin(t, 15*time.Second, end) // The requests would end after 20 s.
	expect(t, db, "select attempts, last_error, claimed_until, count(*) from ledger_outbox.deliveries group by 1, 2, 3",
		`(3,"an earlier failure",,4)`)
	drain(t, outboxOf(t, db, recorded), ledgermetrics.Drained{Counted: 4})
}

func TestWhatADeadProcessHasClaimedIsSentWhenTheClaimEnds(t *testing.T) {
	db := open(t)
	insert(t, db, "a", "[1]")
	asked := make(chan bool, 100)
	itsDatabase, err := sql.Open(driver, databaseURL+"&application_name=dead")
	must(t, err)
	running(t, outboxOf(t, itsDatabase, func(w http.ResponseWriter, r *http.Request) {
		asked <- true
		hang(r)
	}))
	within(t, time.Minute, "a request", asked)
	itsDatabase.Close()
	for rows(t, db, "select pid from pg_stat_activity where application_name = 'dead'") != "" {
		time.Sleep(time.Millisecond) // Its other workers may be about to claim.
	} // It is dead: from now on, it claims nothing and writes nothing down.
	outbox := outboxOf(t, db, recorded)
	drain(t, outbox, ledgermetrics.Drained{})
	expect(t, db, "select claimed_until > now() from ledger_outbox.deliveries", "(t)")
	run(t, db, "update ledger_outbox.deliveries set claimed_until = claimed_until - interval '1 minute'") // A minute passes.
	drain(t, outbox, ledgermetrics.Drained{Counted: 1})
}

// A process may be frozen for longer than its claim. What it knows of the receiver is old then.
func TestNothingIsWrittenDownAfterTheClaimHasEnded(t *testing.T) {
	db := open(t)
	insert(t, db, "a", `[1,2]`)
	for status, body := range map[int]string{
		200: `{"status":"recorded"}`, 400: `{"error":"[0]: no","stage":null}`, 503: `{"error":"no","stage":null}`,
	} {
		run(t, db, "update ledger_outbox.deliveries set next_attempt_at = now()")
		outbox := outboxOf(t, db, func(w http.ResponseWriter, r *http.Request) {
			run(t, db, "update ledger_outbox.deliveries set claimed_until = null, next_attempt_at = now() + interval '1 hour'")
			answer(w, status, body)
		})
		outbox.Hooks.Sent = func(id string) { t.Error("told that it is sent") }
		drain(t, outbox, ledgermetrics.Drained{})
		expect(t, db, "select id, body, attempts, sent_at, parked_at, last_error from ledger_outbox.deliveries",
			`(a,"[1,2]",0,,,)`)
	}
}

// lines is a log that a test reads line by line.
type lines chan string

func (l lines) Write(line []byte) (int, error) {
	l <- string(line)
	return len(line), nil
}

// logged returns the log of a client.
func logged(client *ledgermetrics.Client) lines {
	log := make(lines, 1000)
	client.Logger = slog.New(slog.NewTextHandler(log, nil))
	return log
}

func TestRunReturnsAtOnceWhatItCanNeverDo(t *testing.T) {
	admin := open(t)
	role := strings.Trim(rows(t, admin, "select current_database()"), "()")
	run(t, admin, "create role "+role+"; grant usage on schema ledger_outbox to "+role+"; grant select, insert, update on ledger_outbox.deliveries to "+role)
	defer run(t, admin, "drop owned by "+role+"; drop role "+role)
	for _, c := range []struct{ role, change, undo, want string }{
		{role, "", "", "also update and delete: "},
		{"postgres", "alter table ledger_outbox.deliveries rename first_sent_at to gone",
			"alter table ledger_outbox.deliveries rename gone to first_sent_at", "run outbox.sql: "},
		{"postgres", "alter table ledger_outbox.deliveries rename to gone",
			"alter table ledger_outbox.gone rename to deliveries", "run outbox.sql: "},
	} {
		run(t, admin, c.change)
		defer run(t, admin, c.undo)
		db, err := sql.Open(driver, databaseURL+"&role="+c.role)
		must(t, err)
		defer db.Close()
		client := answering(t, recorded)
		log := logged(client)
		ended := make(chan error)
		go func() { ended <- ledgermetrics.NewOutbox(db, client).Run(ctx) }()
		err = within(t, time.Minute, "the end of Run", ended)
		if line := within(t, time.Minute, "a line of the log", log); !strings.Contains(line, `level=ERROR msg="the outbox is not sent" error=`) ||
			!strings.Contains(line, c.want) {
			t.Error(line)
		}
		if err == nil || !strings.HasPrefix(err.Error(), "ledgermetrics: outbox not read: ") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.change, err)
		}
	}
}

func TestRunTakesAnOutageOfPostgresForNoError(t *testing.T) {
	db := open(t)
	insert(t, db, "a", "[]")
	var isBack atomic.Bool
	behind, err := sql.Open(driver, proxyToPostgres(t, func(string, bool) bool { return !isBack.Load() }))
	must(t, err)
	defer behind.Close()
	sent := make(chan string, 1)
	client := answering(t, recorded)
	log := logged(client)
	outbox := ledgermetrics.NewOutbox(behind, client)
	outbox.Hooks.Sent = func(id string) { sent <- id }
	end := running(t, outbox) // Which expects no error.
	if line := within(t, time.Minute, "a line of the log", log); !strings.Contains(line, "level=WARN") {
		t.Error(line)
	}
	endWithin(t, time.Minute, end)
	end = running(t, outbox)
	isBack.Store(true)
	within(t, time.Minute, "a delivery that is sent", sent)
	endWithin(t, time.Minute, end)
}

func TestRunLogsEachFailureOnce(t *testing.T) {
	db := open(t)
	insertMany(t, db, 20)
	client := answering(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(502) })
	log := logged(client)
	outbox := ledgermetrics.NewOutbox(db, client)
	failed, isAway := 0, make(chan bool)
	outbox.Hooks.Failed = func(string, error) {
		if failed++; failed == 2+workers { // Each worker takes the receiver to be away, or is about to.
			close(isAway)
		}
	}
	end := running(t, outbox)
	within(t, time.Minute, "requests in an outage", isAway)
	end()
	close(log)
	warned := 0
	for line := range log {
		if warned++; !strings.Contains(line, `level=WARN msg="delivery failed, will be sent again" id=row-`) {
			t.Error(line)
		}
	}
	if warned != failed {
		t.Errorf("%d lines for %d failures", warned, failed)
	}
}

func TestAHookMayDrainAndMayPanic(t *testing.T) {
	db := open(t)
	insert(t, db, "first", "[]")
	client := answering(t, recorded)
	log := logged(client)
	outbox := ledgermetrics.NewOutbox(db, client)
	told, counted := "", 0
	outbox.Hooks.Sent = func(id string) {
		told += id + " "
		if id == "first" {
			insert(t, db, "second", "[]")
			drained, err := outbox.Drain(ctx)
			if err != nil {
				t.Error(err)
			}
			counted += drained.Counted
			panic("in a hook")
		}
	}
	ended := make(chan bool)
	go func() {
		defer close(ended)
		drained, err := outbox.Drain(ctx)
		if err != nil {
			t.Error(err)
		}
		counted += drained.Counted
	}()
	within(t, time.Minute, "the end of Drain", ended)
	if told != "first second " || counted != 2 {
		t.Errorf("told of %s, counted %d", told, counted)
	}
	line := within(t, time.Minute, "a line of the log", log)
	if !strings.Contains(line, `level=ERROR msg="hook panicked" hook=Sent id=first panic="in a hook" stack=`) {
		t.Error(line)
	}
}

// A claim of another process may be there by the time that this process ends.
func TestAnEndingProcessGivesBackNoClaimButItsOwn(t *testing.T) {
	db := open(t)
	insert(t, db, "a", "[]")
	asked := make(chan bool, 100)
	end := running(t, outboxOf(t, db, func(w http.ResponseWriter, r *http.Request) {
		asked <- true
		hang(r)
	}))
	within(t, time.Minute, "a request", asked)
	run(t, db, "update ledger_outbox.deliveries set claimed_until = now() + interval '1 hour'") // Another's.
	end()
	expect(t, db, "select claimed_until > now() from ledger_outbox.deliveries", "(t)")
}

func TestEnqueueNamesAMissingTable(t *testing.T) {
	tx := begin(t, open(t))
	run(t, tx, "alter table ledger_outbox.deliveries rename to elsewhere")
	want := " not enqueued: ledger_outbox.deliveries is missing or lacks a column, run outbox.sql: "
	if err := ledgermetrics.Enqueue(ctx, tx, ledgermetrics.OrphanRefund()); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestDrainParksWhatIsRefusedAndTellsHooksWhatBecameOfEachDelivery(t *testing.T) {
	db := open(t)
	insert(t, db, "taken", `[{"type":"reconciler.orphan_refund","timestamp":"2026-01-31T12:00:00Z"}]`)
	insert(t, db, "not-json", "[")
	insert(t, db, "good", "[]")
	insert(t, db, "late", "[]")
	client := answering(t, func(w http.ResponseWriter, r *http.Request) {
		switch idOf(r) {
		case "not-json":
			answer(w, 400, `{"error":"the body is not JSON","stage":null}`)
		case "taken":
			answer(w, 409, `{"error":"webhook-id: was recorded before for other events","stage":null}`)
		case "late":
			w.Header().Set("Retry-After", "600") // Or it could be due again in the same Drain.
			answer(w, 503, `{"error":"not confirmed"}`)
		default:
			recorded(w, r)
		}
	})
	var log strings.Builder
	client.Logger = slog.New(slog.NewTextHandler(&log, nil))
	outbox := ledgermetrics.NewOutbox(db, client)
	var told []string
	tell := func(what ...any) { told = append(told, strings.TrimSpace(fmt.Sprintln(what...))) }
	outbox.Hooks = ledgermetrics.Hooks{
		Sent: func(id string) {
			tell("sent", id, rows(t, db, "select id from ledger_outbox.deliveries where sent_at is not null"))
		},
		Failed: func(id string, err error) { tell("failed", id, err) },
		Parked: func(id string, err *ledgermetrics.RejectedError) { tell("parked", id, err.Status, err.NotCounted) },
	}
	drain(t, outbox, ledgermetrics.Drained{Counted: 1, Parked: 2, Failed: 1})
	drain(t, outbox, ledgermetrics.Drained{})
	expect(t, db, `select id, body, attempts, sent_at, last_error
		from ledger_outbox.deliveries where parked_at is not null order by id`,
		`(not-json,[,1,,"ledgermetrics: delivery not-json rejected with 400: the body is not JSON") `+
			`(taken,"[{""type"":""reconciler.orphan_refund"",""timestamp"":""2026-01-31T12:00:00Z""}]",1,,`+
			`"ledgermetrics: delivery taken rejected with 409: webhook-id: was recorded before for other events; `+
			`not counted: 1 orphan refund")`)
	want := `level=ERROR msg="delivery parked" id=taken ` +
		`error="webhook-id: was recorded before for other events" not_counted="1 orphan refund"`
	if strings.Count(log.String(), want) != 1 {
		t.Errorf("logged %s, want %s", log.String(), want)
	}
	slices.Sort(told)
	if got := strings.Join(told, "\n"); got != `failed late ledgermetrics: delivery late rejected with 503: not confirmed
parked not-json 400
parked taken 409 1 orphan refund
sent good (good)` {
		t.Errorf("told %s", got)
	}
}

func TestTwoProcessesNeverSendTheSameRowSideBySide(t *testing.T) {
	plain := open(t)
	// A strict default of the role's must not make them fail.
	run(t, plain, `do $$ begin execute format('alter database %I set default_transaction_isolation = serializable',
		current_database()); end $$`)
	defer run(t, plain, `do $$ begin execute format('alter database %I reset default_transaction_isolation',
		current_database()); end $$`)
	db := openDatabase() // Its sessions have that default.
	defer db.Close()
	expect(t, db, "select current_setting('default_transaction_isolation')", "(serializable)")
	insertMany(t, db, 40)
	var mutex sync.Mutex
	requests, times := 0, map[string]int{}
	allAreHere := make(chan bool)
	client := answering(t, func(w http.ResponseWriter, r *http.Request) {
		mutex.Lock()
		times[idOf(r)]++
		if requests++; requests == 2*workers {
			close(allAreHere)
		}
		mutex.Unlock()
		select { // Until each worker of both has a request under way.
		case <-allAreHere:
			recorded(w, r)
		case <-r.Context().Done():
		}
	})
	var group sync.WaitGroup
	for range 2 {
		group.Add(1)
		go func() {
			defer group.Done()
			if _, err := ledgermetrics.NewOutbox(db, client).Drain(ctx); err != nil {
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
	if len(times) != 40 {
		t.Errorf("%d of 40 were sent", len(times))
	}
	expect(t, plain, "select id from ledger_outbox.deliveries where sent_at is null", "")
}

// A deployment ends the process at any moment.
func TestRunLeavesNothingClaimed(t *testing.T) {
	db := open(t)
	insertMany(t, db, 300)
	for end := 0; end < 40; end += 2 {
		run(t, db, "update ledger_outbox.deliveries set sent_at = null, next_attempt_at = now()")
		runCtx, cancel := context.WithCancel(ctx)
		outbox := outboxOf(t, db, func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(time.Millisecond)
			recorded(w, r)
		})
		var endedAt time.Time
		time.AfterFunc(time.Duration(end)*time.Millisecond, func() {
			endedAt = time.Now()
			cancel()
		})
		outbox.Run(runCtx)
		// It leaves a row to its claim when Postgres does not answer for a second, as on a machine without a free core.
		if time.Since(endedAt) > 900*time.Millisecond {
			end -= 2
			continue
		}
		if got := rows(t, db, "select count(*) from ledger_outbox.deliveries where claimed_until is not null"); got != "(0)" {
			t.Fatalf("%s stay claimed after %d ms", got, end)
		}
	}
}

// As behind a host that is frozen: nothing comes any more, and no connection ends.
func TestDrainEndsWithItsContextWhenPostgresFallsSilent(t *testing.T) {
	open(t)
	var silence sync.RWMutex
	db, err := sql.Open(driver, proxyToPostgres(t, func(string, bool) bool {
		silence.RLock()
		defer silence.RUnlock()
		return false
	}))
	must(t, err)
	defer db.Close()
	outbox := outboxOf(t, db, recorded)
	drain(t, outbox, ledgermetrics.Drained{})

	silence.Lock()
	defer silence.Unlock()
	for range 4 {
		drainCtx, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		defer cancel()
		ended := make(chan error, 1)
		go func() {
			_, err := outbox.Drain(drainCtx)
			ended <- err
		}()
		isOver := time.After(8 * time.Second) // Before that of a statement.
		for isEnded := false; !isEnded; {
			select {
			case err := <-ended:
				if isEnded = true; !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
			case <-isOver:
				t.Fatal("it waits for Postgres")
			case <-time.After(time.Millisecond): // The pool is the application's, too.
				if open := db.Stats().InUse; open > 2 {
					t.Fatalf("%d connections wait for Postgres", open)
				}
			}
		}
	}
}

// Before PostgreSQL 15, every login may create in public. What it has made there would run with the rights of the
// application, most of all where the application looks there first.
func TestNoFunctionAndNoOperatorThatOthersHaveMadeIsRun(t *testing.T) {
	db := open(t)
	insert(t, db, "old", "[]")
	run(t, db, "update ledger_outbox.deliveries set sent_at = now() - interval '2 years'")
	types := "array['integer', 'bigint', 'float8', 'numeric', 'text', 'name', 'timestamptz', 'interval']"
	run(t, db, `create function public.ran() returns boolean language plpgsql as $$ begin raise exception 'ran'; end $$;
		create function public.now() returns timestamptz language sql as $$ select '-infinity'::timestamptz where public.ran() $$;
		do $do$ declare one record; begin
			for one in select a, b, operator from unnest(`+types+`) a, unnest(`+types+`) b,
				unnest(array['=', '<>', '<', '<=', '>', '>=', '+', '-', '*', '/', '^', '~', '||']) operator
			loop
				execute format('create function public.%I(%s, %s) returns boolean language sql as $$ select public.ran() $$',
					one.operator, one.a, one.b);
				execute format('create operator public.%s (leftarg = %s, rightarg = %s, function = public.%1$I)',
					one.operator, one.a, one.b);
			end loop;
		end $do$`)
	defer run(t, db, "drop function public.ran() cascade")
	defer run(t, db, `do $$ declare made regprocedure; begin
		for made in select oid from pg_proc where pronamespace = 'public'::regnamespace and prosrc ~ 'public.ran' loop
			execute format('drop function %s cascade', made);
		end loop;
	end $$`)
	publicFirst, err := sql.Open(driver, databaseURL+"&search_path=public,pg_catalog")
	must(t, err)
	defer publicFirst.Close()
	err = ledgermetrics.InTx(ctx, publicFirst, nil, func(ctx context.Context, tx *sql.Tx) ([]ledgermetrics.Event, error) {
		for _, id := range []string{"sent", "sent", "parked", "failed"} {
			if _, err := ledgermetrics.EnqueueAs(ctx, tx, id, ledgermetrics.OrphanRefund()); err != nil {
				return nil, err
			}
		}
		return nil, nil
	})
	must(t, err)
	outbox := outboxOf(t, publicFirst, func(w http.ResponseWriter, r *http.Request) {
		switch idOf(r) {
		case "parked":
			answer(w, 400, `{"error":"no","stage":null}`)
		case "failed":
			w.WriteHeader(503)
		default:
			recorded(w, r)
		}
	})
	drain(t, outbox, ledgermetrics.Drained{Counted: 1, Parked: 1, Failed: 1})
}
