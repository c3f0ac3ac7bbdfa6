// Package test has the client's tests that need a PostgreSQL, with the drivers that people use.
package test

import (
	"context"
	"database/sql"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "github.com/lib/pq"

	"github.com/veza/veza-ledger-metrics/clients/go/ledgermetrics"
)

const testSecret = "whsec_YSBzZWNyZXQgZm9yIHRlc3RzLCAzMiBieXRlcyBsb25n"

var (
	ctx = context.Background()
	// pgx, or postgres for lib/pq.
	driver = os.Getenv("DRIVER")
	// A database of this run alone.
	databaseURL string
)

const howToRun = `These tests need a PostgreSQL in which they may make a database of their own:
	DATABASE_URL='postgres://USER:PASSWORD@127.0.0.1/postgres?sslmode=disable' go test -race ./...
DRIVER=postgres tries lib/pq instead of pgx. What tries the real receiver needs RECEIVER_URL and WEBHOOK_SECRET too.
npm test runs everything.`

func TestMain(m *testing.M) {
	flag.Parse()
	if driver == "" {
		driver = "pgx"
	}
	server := os.Getenv("DATABASE_URL")
	if server == "" {
		fmt.Println("All is skipped.", howToRun)
		os.Exit(0)
	}
	if os.Getenv("RECEIVER_URL") == "" {
		fmt.Println("What tries the real receiver is skipped: RECEIVER_URL is not set.")
		flag.Set("test.skip", "^TestTheReceiver")
	}
	os.Exit(inDatabase(server, m.Run))
}

// inDatabase runs the tests in a database of their own, with the outbox and what is repaired.
func inDatabase(server string, run func() int) int {
	admin, err := sql.Open("postgres", server)
	fatal(err)
	name := fmt.Sprintf("ledgermetrics_%d_%d", os.Getpid(), rand.Uint32())
	_, err = admin.Exec("create database " + name)
	fatal(err)
	defer admin.Exec("drop database " + name + " with (force)")
	address, err := url.Parse(server)
	fatal(err)
	address.Path = "/" + name
	databaseURL = address.String()
	db, err := sql.Open("postgres", databaseURL) // lib/pq runs several statements at once.
	fatal(err)
	defer db.Close()
	outbox, err := os.ReadFile("../outbox.sql")
	fatal(err)
	_, err = db.Exec(string(outbox) + "create table orders (id int primary key, status text, updated_at timestamptz)")
	fatal(err)
	return run()
}

func fatal(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// openDatabase returns the database of this run.
func openDatabase() *sql.DB {
	db, err := sql.Open(driver, databaseURL)
	fatal(err)
	return db
}

// open returns a database with an empty outbox in it.
func open(t testing.TB) *sql.DB {
	t.Helper()
	db := openDatabase()
	run(t, db, "delete from ledger_outbox.deliveries")
	t.Cleanup(func() { db.Close() })
	return db
}

// must ends a test, from the test's own goroutine, with an error if there is one.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// run runs a statement in a database or in a transaction.
func run(t testing.TB, in interface {
	Exec(string, ...any) (sql.Result, error)
}, query string, args ...any) {
	t.Helper()
	_, err := in.Exec(query, args...)
	must(t, err)
}

// rows returns what a query finds, each row as Postgres writes a record.
func rows(t testing.TB, db *sql.DB, query string) string {
	t.Helper()
	text := ""
	err := db.QueryRow("select coalesce(string_agg(found::text, ' '), '') from (" + query + ") found").Scan(&text)
	must(t, err)
	return text
}

func expect(t testing.TB, db *sql.DB, query, want string) {
	t.Helper()
	if got := rows(t, db, query); got != want {
		t.Errorf("%s\n got %s\nwant %s", query, got, want)
	}
}

// insert puts a body into the outbox as it is.
func insert(t testing.TB, db *sql.DB, id, body string) {
	t.Helper()
	run(t, db, "insert into ledger_outbox.deliveries (id, body) values ($1, $2)", id, body)
}

// insertMany puts so many deliveries without events into the outbox: row-1, row-2 and so on.
func insertMany(t testing.TB, db *sql.DB, count int) {
	t.Helper()
	run(t, db, "insert into ledger_outbox.deliveries (id, body) select 'row-' || n, '[]' from generate_series(1, $1::int) as n", count)
}

// serve returns the address of a receiver that answers as a test needs it, like proxies, load balancers and Lambda too.
// The real receiver is in test/go/go-client.test.ts.
func serve(t testing.TB, handler http.HandlerFunc) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // Only then does the server notice that a client has gone.
		r.Header.Set("test-body", string(body))
		handler(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// answering returns a client of such a receiver.
func answering(t testing.TB, handler http.HandlerFunc) *ledgermetrics.Client {
	t.Helper()
	client, err := ledgermetrics.NewClient(serve(t, handler), testSecret)
	must(t, err)
	client.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	return client
}

// outboxOf returns the outbox in this database, with such a client.
func outboxOf(t testing.TB, db *sql.DB, handler http.HandlerFunc) *ledgermetrics.Outbox {
	t.Helper()
	return ledgermetrics.NewOutbox(db, answering(t, handler))
}

func answer(w http.ResponseWriter, status int, body string) {
	w.WriteHeader(status)
	io.WriteString(w, body)
}

func recorded(w http.ResponseWriter, _ *http.Request) {
	answer(w, 200, `{"status":"recorded","published":true}`)
}

// hang answers nothing until the client has gone.
func hang(r *http.Request) { <-r.Context().Done() }

func bodyOf(r *http.Request) string { return r.Header.Get("test-body") }

func idOf(r *http.Request) string { return r.Header.Get("webhook-id") }

func drain(t testing.TB, outbox *ledgermetrics.Outbox, want ledgermetrics.Drained) {
	t.Helper()
	if drained, err := outbox.Drain(ctx); err != nil || drained != want {
		t.Errorf("%+v, %v, want %+v", drained, err, want)
	}
}

// running runs the outbox until the test ends it, or ends.
func running(t testing.TB, outbox *ledgermetrics.Outbox) (end func()) {
	t.Helper()
	runCtx, cancel := context.WithCancel(ctx)
	ended := make(chan bool)
	go func() {
		defer close(ended)
		if err := outbox.Run(runCtx); err != nil {
			t.Error(err)
		}
	}()
	end = func() {
		cancel()
		<-ended
	}
	t.Cleanup(end)
	return end
}

// endWithin ends what running has returned, and fails the test when that takes longer.
func endWithin(t testing.TB, limit time.Duration, end func()) {
	t.Helper()
	ended := make(chan bool)
	go func() {
		defer close(ended)
		end()
	}()
	within(t, limit, "the end of Run", ended)
}

// within fails the test when what is awaited does not happen in time.
func within[T any](t testing.TB, limit time.Duration, what string, awaited <-chan T) (value T) {
	t.Helper()
	select {
	case value = <-awaited:
	case <-time.After(limit):
		t.Fatalf("%s: not within %s", what, limit)
	}
	return value
}

// proxyToPostgres returns the address of the database behind a proxy. The proxy shows what it passes on, one piece at a
// time, and cuts the connection instead of passing on a piece that is to be cut.
func proxyToPostgres(t testing.TB, see func(bytes string, isAnswer bool) (cut bool)) string {
	t.Helper()
	address, err := url.Parse(databaseURL)
	must(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { listener.Close() })
	var mutex sync.Mutex
	forward := func(to, from net.Conn, isAnswer bool) {
		defer from.Close()
		defer to.Close()
		bytes := make([]byte, 4096)
		for {
			count, err := from.Read(bytes)
			if err != nil {
				return
			}
			mutex.Lock()
			cut := see(string(bytes[:count]), isAnswer)
			mutex.Unlock()
			if cut {
				return
			}
			to.Write(bytes[:count])
		}
	}
	server := address.Host
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			behind, err := net.Dial("tcp", server)
			if err != nil {
				connection.Close()
				continue
			}
			go forward(behind, connection, false)
			go forward(connection, behind, true)
		}
	}()
	address.Host = listener.Addr().String()
	return address.String()
}

// isCommit tells whether a driver commits by these bytes.
func isCommit(bytes string) bool { return strings.Contains(strings.ToLower(bytes), "commit\x00") }
