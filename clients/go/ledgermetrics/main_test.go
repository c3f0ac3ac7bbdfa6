package ledgermetrics

import (
	"context"
	"database/sql"
	"flag"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
)

// The outbox's tests need a PostgreSQL with outbox.sql and a driver, named by DATABASE_URL and DRIVER, and the examples
// need a receiver too. test/go/go-client.test.ts sets all that up. Without it, only the other tests run.
func TestMain(m *testing.M) {
	flag.Parse()
	if os.Getenv("DATABASE_URL") == "" || os.Getenv("RECEIVER_URL") == "" {
		flag.Set("test.skip", "^(Example|TestTheReceiver)")
	}
	os.Exit(m.Run())
}

const testSecret = "whsec_YSBzZWNyZXQgZm9yIHRlc3RzLCAzMiBieXRlcyBsb25n"

var ctx = context.Background()

// open returns a database with an empty outbox in it.
func open(t *testing.T) *sql.DB {
	t.Helper()
	if os.Getenv("DATABASE_URL") == "" {
		t.Skip("DATABASE_URL is not set")
	}
	db, err := sql.Open(os.Getenv("DRIVER"), os.Getenv("DATABASE_URL"))
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

// rows returns what a query finds, each row as Postgres writes a record.
func rows(t *testing.T, db *sql.DB, query string) string {
	t.Helper()
	text := ""
	err := db.QueryRow("select coalesce(string_agg(found::text, ' '), '') from (" + query + ") found").Scan(&text)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func expect(t *testing.T, db *sql.DB, query, want string) {
	t.Helper()
	if got := rows(t, db, query); got != want {
		t.Errorf("%s\n got %s\nwant %s", query, got, want)
	}
}

// insert puts a body into the outbox as it is.
func insert(t *testing.T, db *sql.DB, id, body string) {
	t.Helper()
	run(t, db, "insert into ledger_metrics_outbox (id, body) values ($1, $2)", id, body)
}

// answering returns a client whose receiver answers as a test needs it, like proxies, load balancers and Lambda too.
// The real receiver is in test/go/go-client.test.ts.
func answering(t *testing.T, handler http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	client, err := NewClient(server.URL, testSecret)
	if err != nil {
		t.Fatal(err)
	}
	client.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	return client
}

func answer(w http.ResponseWriter, status int, body string) {
	w.WriteHeader(status)
	io.WriteString(w, body)
}

func recorded(w http.ResponseWriter) { answer(w, 200, `{"status":"recorded","published":true}`) }
