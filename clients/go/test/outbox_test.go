package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"testing"
	"time"

	ledgermetrics "github.com/veza/veza-ledger-metrics/clients/go"
)

const secret = "whsec_YSBzZWNyZXQgZm9yIHRlc3RzLCAzMiBieXRlcyBsb25n"

var ctx = context.Background()

// open returns the database of DATABASE_URL with an empty outbox in it.
func open(t *testing.T) *sql.DB {
	t.Helper()
	db, err := sql.Open("postgres", os.Getenv("DATABASE_URL"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	run(t, db, "delete from ledger_metrics_outbox")
	return db
}

func run(t *testing.T, db *sql.DB, query string, args ...any) {
	t.Helper()
	if _, err := db.Exec(query, args...); err != nil {
		t.Fatal(err)
	}
}

func rows(t *testing.T, db *sql.DB, query string) string {
	t.Helper()
	text := ""
	err := db.QueryRow("select coalesce(string_agg(row::text, ' '), '') from (" + query + ") row").Scan(&text)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func enqueue(t *testing.T, db *sql.DB, id, body string) {
	t.Helper()
	tx, err := db.Begin()
	if err == nil {
		err = ledgermetrics.Enqueue(ctx, tx, id, []byte(body))
	}
	if err == nil {
		err = tx.Commit()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// receiver stands in for a receiver that answers as each test needs it. The real one is in test/go-client.test.ts.
func receiver(t *testing.T, db *sql.DB, answer http.HandlerFunc) *ledgermetrics.Outbox {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	client, err := ledgermetrics.NewClient(server.URL, secret)
	if err != nil {
		t.Fatal(err)
	}
	client.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	return ledgermetrics.NewOutbox(db, client)
}

func recorded(w http.ResponseWriter) { io.WriteString(w, `{"status":"recorded","published":true}`) }

func TestEnqueueIsPartOfTheTransaction(t *testing.T) {
	db := open(t)
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	if err := ledgermetrics.Enqueue(ctx, tx, "a", []byte("[1]")); err != nil {
		t.Fatal(err)
	}
	if got := rows(t, db, "select id from ledger_metrics_outbox"); got != "" {
		t.Errorf("before the commit there is %s", got)
	}
	tx.Rollback()
	if got := rows(t, db, "select id from ledger_metrics_outbox"); got != "" {
		t.Errorf("after the rollback there is %s", got)
	}
	enqueue(t, db, "a", "[1]")
	if got := rows(t, db, "select id, body from ledger_metrics_outbox"); got != "(a,[1])" {
		t.Errorf("after the commit there is %s", got)
	}
}

func TestEnqueueLeavesTheTransactionUsable(t *testing.T) {
	db := open(t)
	enqueue(t, db, "a", "[1]")
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	if err := ledgermetrics.Enqueue(ctx, tx, "a", []byte("[1]")); err != nil {
		t.Errorf("the same once more: %v", err)
	}
	if err := ledgermetrics.Enqueue(ctx, tx, "a", []byte("[2]")); !errors.Is(err, ledgermetrics.ErrIDTaken) {
		t.Errorf("another body: %v", err)
	}
	var rejected *ledgermetrics.ErrRejected
	for _, c := range [][2]string{{"a.b", "[]"}, {"b", "{"}, {"b", "\"\xff\""}, {"b", "\"\x00\""}} {
		if err := ledgermetrics.Enqueue(ctx, tx, c[0], []byte(c[1])); !errors.As(err, &rejected) {
			t.Errorf("%q: %v", c, err)
		}
	}
	if err := ledgermetrics.Enqueue(ctx, tx, "c", []byte("[3]")); err != nil {
		t.Error(err)
	}
	if err := tx.Commit(); err != nil {
		t.Error(err)
	}
	if got := rows(t, db, "select id, body from ledger_metrics_outbox order by id"); got != "(a,[1]) (c,[3])" {
		t.Errorf("there is %s", got)
	}
}

func TestTheTableRefusesWhatNoReceiverTakes(t *testing.T) {
	db := open(t)
	for _, id := range []string{"", "a.b", "two words", "ä", "line\nbreak"} {
		if _, err := db.Exec("insert into ledger_metrics_outbox (id, body) values ($1, '[]')", id); err == nil {
			t.Errorf("took %q", id)
		}
	}
	_, err := db.Exec("insert into ledger_metrics_outbox (id, body) values ('a', repeat('x', 262145))")
	if err == nil {
		t.Error("took a body that is too long")
	}
	run(t, db, "insert into ledger_metrics_outbox (id, body) values ('!-/~#2', repeat('x', 262144))")
}

func TestDrainSendsTheBytesThatWereEnqueued(t *testing.T) {
	db := open(t)
	body := "[ {\"a\":\t\"ä \\u0000 😀\"}\r\n]"
	enqueue(t, db, "a", body)
	got := ""
	outbox := receiver(t, db, func(w http.ResponseWriter, r *http.Request) {
		bytes, _ := io.ReadAll(r.Body)
		got = r.Header.Get("webhook-id") + string(bytes)
		recorded(w)
	})
	drained, err := outbox.Drain(ctx)
	if err != nil || drained != (ledgermetrics.Drained{Counted: 1}) {
		t.Errorf("%+v, %v", drained, err)
	}
	if got != "a"+body {
		t.Errorf("sent %q", got)
	}
	if got := rows(t, db, "select id from ledger_metrics_outbox"); got != "" {
		t.Errorf("there is still %s", got)
	}
}

func TestDrainParksWhatIsRefusedAndGoesOn(t *testing.T) {
	db := open(t)
	enqueue(t, db, "bad", "[1]")
	enqueue(t, db, "good", "[2]")
	sent := 0
	outbox := receiver(t, db, func(w http.ResponseWriter, r *http.Request) {
		sent++
		if r.Header.Get("webhook-id") == "bad" {
			w.WriteHeader(400)
			io.WriteString(w, `{"error":"[0].type: is missing"}`)
			return
		}
		recorded(w)
	})
	drained, err := outbox.Drain(ctx)
	if err != nil || drained != (ledgermetrics.Drained{Counted: 1, Parked: 1}) {
		t.Errorf("%+v, %v", drained, err)
	}
	want := `(bad,[1],1,t,"delivery bad rejected with 400: [0].type: is missing")`
	if got := rows(t, db, "select id, body, attempts, parked_at is not null, last_error from ledger_metrics_outbox"); got != want {
		t.Errorf("there is %s, want %s", got, want)
	}
	if drained, err := outbox.Drain(ctx); err != nil || drained != (ledgermetrics.Drained{}) || sent != 2 {
		t.Errorf("%+v, %v, sent %d times", drained, err, sent)
	}
}

func TestDrainBacksOffAndDoesNotLetOneBlockTheOthers(t *testing.T) {
	db := open(t)
	enqueue(t, db, "slow", "[1]")
	run(t, db, "update ledger_metrics_outbox set attempts = 4")
	enqueue(t, db, "other", "[2]")
	var order []string
	outbox := receiver(t, db, func(w http.ResponseWriter, r *http.Request) {
		order = append(order, r.Header.Get("webhook-id"))
		if r.Header.Get("webhook-id") == "slow" {
			w.WriteHeader(502)
			return
		}
		recorded(w)
	})
	drained, err := outbox.Drain(ctx)
	var rejected *ledgermetrics.ErrRejected
	if drained != (ledgermetrics.Drained{}) || !errors.As(err, &rejected) || rejected.Status != 502 {
		t.Errorf("%+v, %v", drained, err)
	}
	// 8 s to 10 s after the fifth attempt, counted from when it was answered.
	state := `select id, attempts, parked_at, next_attempt_at - now() between interval '1 second' and interval '10 seconds',
		last_error like 'delivery slow rejected with 502: %' from ledger_metrics_outbox where id = 'slow'`
	if got := rows(t, db, state); got != "(slow,5,,t,t)" {
		t.Errorf("there is %s", got)
	}
	if drained, err := outbox.Drain(ctx); err != nil || drained != (ledgermetrics.Drained{Counted: 1}) {
		t.Errorf("%+v, %v", drained, err)
	}
	// Due again, and the one that came later still goes first.
	run(t, db, "update ledger_metrics_outbox set next_attempt_at = now() - interval '1 millisecond'")
	enqueue(t, db, "third", "[3]")
	run(t, db, "update ledger_metrics_outbox set next_attempt_at = now() - interval '1 second' where id = 'third'")
	if drained, err := outbox.Drain(ctx); err == nil || drained != (ledgermetrics.Drained{Counted: 1}) {
		t.Errorf("%+v, %v", drained, err)
	}
	if fmt.Sprint(order) != "[slow other third slow]" {
		t.Errorf("sent in the order %v", order)
	}
}

func TestDrainWaitsAsLongAsTheReceiverAsks(t *testing.T) {
	db := open(t)
	enqueue(t, db, "a", "[1]")
	outbox := receiver(t, db, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "600")
		w.WriteHeader(503)
		io.WriteString(w, `{"error":"not confirmed; send again with the same webhook-id"}`)
	})
	if _, err := outbox.Drain(ctx); err == nil {
		t.Error("no error")
	}
	state := "select next_attempt_at - now() between interval '500 seconds' and interval '600 seconds' from ledger_metrics_outbox"
	if got := rows(t, db, state); got != "(t)" {
		t.Error(rows(t, db, "select * from ledger_metrics_outbox"))
	}
}

func TestTwoWorkersNeverSendTheSameRowSideBySide(t *testing.T) {
	db := open(t)
	for i := 0; i < 40; i++ {
		enqueue(t, db, fmt.Sprintf("sweep-%d", i), "[1]")
	}
	var mutex sync.Mutex
	times := map[string]int{}
	bothAreHere := make(chan bool)
	outbox := receiver(t, db, func(w http.ResponseWriter, r *http.Request) {
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
	for worker := 0; worker < 2; worker++ {
		group.Add(1)
		go func() {
			defer group.Done()
			if _, err := outbox.Drain(ctx); err != nil {
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
	if len(times) != 40 || rows(t, db, "select id from ledger_metrics_outbox") != "" {
		t.Errorf("%d of 40 were sent", len(times))
	}
}

func TestDrainThatIsEndedInMidRequestLeavesTheRowAsItWas(t *testing.T) {
	db := open(t)
	enqueue(t, db, "a", "[1]")
	drainCtx, cancel := context.WithCancel(ctx)
	outbox := receiver(t, db, func(w http.ResponseWriter, r *http.Request) {
		io.ReadAll(r.Body) // Only then does the server notice that the client has gone.
		cancel()
		<-r.Context().Done()
	})
	if _, err := outbox.Drain(drainCtx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if got := rows(t, db, "select id, attempts, last_error from ledger_metrics_outbox"); got != "(a,0,)" {
		t.Errorf("there is %s", got)
	}
	outbox = receiver(t, db, func(w http.ResponseWriter, r *http.Request) { recorded(w) })
	// The lock goes when Postgres has rolled back, which nobody waits for.
	for until := time.Now().Add(15 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		drained, err := outbox.Drain(ctx)
		if err == nil && drained.Counted == 1 {
			break
		}
		if err != nil || time.Now().After(until) {
			t.Fatalf("%+v, %v", drained, err)
		}
	}
}

func TestDrainHoldsOutARolesShortIdleTimeout(t *testing.T) {
	db := open(t)
	db.SetMaxOpenConns(1)
	enqueue(t, db, "a", "[1]")
	run(t, db, "set idle_in_transaction_session_timeout = 50")
	outbox := receiver(t, db, func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(500 * time.Millisecond)
		recorded(w)
	})
	if drained, err := outbox.Drain(ctx); err != nil || drained.Counted != 1 {
		t.Errorf("%+v, %v", drained, err)
	}
}

func TestRunGoesOnAfterAFailureAndEndsWithItsContext(t *testing.T) {
	db := open(t)
	enqueue(t, db, "a", "[1]")
	attempts := 0
	runCtx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	outbox := receiver(t, db, func(w http.ResponseWriter, r *http.Request) {
		attempts++
		if attempts == 1 {
			w.WriteHeader(502)
			return
		}
		recorded(w)
		cancel()
	})
	outbox.Run(runCtx)
	if !errors.Is(runCtx.Err(), context.Canceled) || attempts != 2 {
		t.Errorf("%d attempts, %v", attempts, runCtx.Err())
	}
}
