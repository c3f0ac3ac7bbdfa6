package ledgermetrics

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
)

// What needs a PostgreSQL is tested in ../test, a module with drivers.

const testSecret = "whsec_YSBzZWNyZXQgZm9yIHRlc3RzLCAzMiBieXRlcyBsb25n"

var ctx = context.Background()

// must ends a test, from the test's own goroutine, with an error if there is one.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// answering returns a client whose receiver answers as a test needs it, like proxies, load balancers and Lambda too.
func answering(t *testing.T, handler http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	client, err := NewClient(server.URL, testSecret)
	must(t, err)
	client.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	return client
}

func answer(w http.ResponseWriter, status int, body string) {
	w.WriteHeader(status)
	io.WriteString(w, body)
}

func recorded(w http.ResponseWriter, _ *http.Request) {
	answer(w, 200, `{"status":"recorded","published":true}`)
}
