package ledgermetrics

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

var testSecret = "whsec_" + base64.StdEncoding.EncodeToString([]byte("a secret for tests, 32 bytes long"))

// answering returns a client whose receiver gives one answer. It stands in for proxies, load balancers and Lambda itself;
// the receiver's own answers come from the real one in test/go-client.test.ts.
func answering(t *testing.T, handler http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	client, err := NewClient(server.URL, testSecret)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func TestSignsAsInTheVectorOfStandardWebhooks(t *testing.T) {
	client, err := NewClient("http://127.0.0.1", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw "+testSecret)
	if err != nil {
		t.Fatal(err)
	}
	signatures := strings.Fields(client.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", []byte(`{"test": 2432232314}`)))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; len(signatures) != 2 || signatures[0] != want {
		t.Errorf("signed %q, want %q and one more", signatures, want)
	}
}

func TestSendJudgesAnswers(t *testing.T) {
	const final, retry, counted = "final", "retry", "counted"
	html := "<html>hello</html>"
	cases := []struct {
		status int
		body   string
		want   string
	}{
		{200, `{"status":"recorded","published":false}`, counted},
		{200, `{"status":"duplicate","published":true}`, counted},
		{200, html, retry},
		{200, `{"status":"ok"}`, retry},
		{200, `"recorded"`, retry},
		{204, "", retry},
		{302, "", retry},
		{400, `{"error":"[0].type: is missing"}`, final},
		{400, html, retry},
		{401, `{"error":"webhook-signature: does not match"}`, retry},
		{403, `{"Message":"Forbidden"}`, retry},
		{403, `{"error":"forbidden"}`, retry},
		{404, `{"error":"not found"}`, retry},
		{405, `{"error":"only POST is allowed"}`, final},
		{408, `{"error":"slow"}`, retry},
		{409, `{"error":"webhook-id: was recorded before with a different body"}`, counted},
		{409, html, retry},
		{413, `{"error":"over 1000 events"}`, final},
		{429, `{"error":"too many"}`, retry},
		{429, `{"Reason":"ConcurrentInvocationLimitExceeded"}`, retry},
		{500, `{"error":"x"}`, retry},
		{502, "", retry},
		{503, `{"error":"not confirmed; send again with the same webhook-id"}`, retry},
	}
	for _, c := range cases {
		t.Run(fmt.Sprint(c.status, c.body), func(t *testing.T) {
			client := answering(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(c.status)
				if c.status != 204 {
					io.WriteString(w, c.body)
				}
			})
			client.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
			err := client.Send(context.Background(), "sweep-1", []byte("[]"))
			var rejected *ErrRejected
			got := counted
			if errors.As(err, &rejected) {
				got = map[bool]string{true: retry, false: final}[rejected.Retryable]
				if rejected.Status != c.status || rejected.Reason == "" {
					t.Errorf("status %d and reason %q, want %d and some reason", rejected.Status, rejected.Reason, c.status)
				}
			} else if err != nil {
				t.Fatal(err)
			}
			if got != c.want {
				t.Errorf("got %s (%v), want %s", got, err, c.want)
			}
		})
	}
}

func TestSendGivesTheReasonInOneShortLine(t *testing.T) {
	client := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(400)
		fmt.Fprintf(w, `{"error":"[2].data.phase:\n is missing%s"}`, strings.Repeat("ä", 1000))
	})
	err := client.Send(context.Background(), "sweep-1", []byte("[]"))
	if want := "delivery sweep-1 rejected with 400: [2].data.phase:  is missingää"; !strings.HasPrefix(fmt.Sprint(err), want) {
		t.Errorf("%v, want %s…", err, want)
	}
	if got := len([]rune(err.Error())); got > maxReasonRunes+100 {
		t.Errorf("the reason has %d characters", got)
	}
}

func TestSendNotesA409(t *testing.T) {
	client := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(409)
		io.WriteString(w, `{"error":"webhook-id: was recorded before with a different body"}`)
	})
	var log bytes.Buffer
	client.Logger = slog.New(slog.NewTextHandler(&log, nil))
	if err := client.Send(context.Background(), "sweep-1", []byte("[]")); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), `level=WARN msg="delivery was counted before with another body" id=sweep-1`) {
		t.Errorf("logged %q", log.String())
	}
}

func TestSendReadsRetryAfter(t *testing.T) {
	inAMinute := time.Now().Add(time.Minute).UTC().Format(http.TimeFormat)
	for header, want := range map[string]time.Duration{
		"": 0, "5": 5 * time.Second, "-5": 0, "soon": 0, "99999999999": time.Hour, inAMinute: time.Minute,
		"Wed, 21 Oct 2015 07:28:00 GMT": 0,
	} {
		client := answering(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", header)
			w.WriteHeader(503)
		})
		var rejected *ErrRejected
		if !errors.As(client.Send(context.Background(), "sweep-1", []byte("[]")), &rejected) {
			t.Fatal("was not rejected")
		}
		// A date is only so exact, and time passes until it is read.
		if rejected.RetryAfter > want || rejected.RetryAfter < want-30*time.Second {
			t.Errorf("%q: wait %s, want %s", header, rejected.RetryAfter, want)
		}
	}
}

func TestSendDoesNotSendWhatCannotBeCounted(t *testing.T) {
	client := answering(t, func(http.ResponseWriter, *http.Request) { t.Error("was sent") })
	big := `"` + strings.Repeat("x", maxBodyBytes) + `"`
	for _, c := range [][2]string{
		{"", "[]"}, {"v1.2", "[]"}, {"two words", "[]"}, {"line\r\nbreak", "[]"}, {"ä", "[]"}, {strings.Repeat("x", 257), "[]"},
		{"sweep-1", ""}, {"sweep-1", "{"}, {"sweep-1", "\"\xff\""}, {"sweep-1", big},
	} {
		var rejected *ErrRejected
		err := client.Send(context.Background(), c[0], []byte(c[1]))
		if !errors.As(err, &rejected) || rejected.Retryable || rejected.Status != 0 {
			t.Errorf("%.20q with %.20q: %v", c[0], c[1], err)
		}
	}
}

func TestSendDoesNotRepeatTheURLWhenNobodyAnswers(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for connection, err := listener.Accept(); err == nil; connection, err = listener.Accept() {
			connection.Close()
		}
	}()
	defer listener.Close()
	client, err := NewClient(fmt.Sprintf("http://user:hidden@%s/secret-path", listener.Addr()), testSecret)
	if err != nil {
		t.Fatal(err)
	}
	err = client.Send(context.Background(), "sweep-1", []byte("[]"))
	var rejected *ErrRejected
	if err == nil || errors.As(err, &rejected) {
		t.Fatalf("%v, want an error that is not an answer", err)
	}
	if text := err.Error(); strings.Contains(text, "hidden") || strings.Contains(text, "secret-path") || !strings.Contains(text, "sweep-1") {
		t.Error(text)
	}
}

func TestSendEndsWithItsContext(t *testing.T) {
	asked, over := make(chan bool), make(chan bool)
	client := answering(t, func(http.ResponseWriter, *http.Request) {
		close(asked)
		<-over
	})
	defer close(over)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-asked
		cancel()
	}()
	if err := client.Send(ctx, "sweep-1", []byte("[]")); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestNewClientNamesWhatIsWrongAndNoSecret(t *testing.T) {
	for _, c := range [][3]string{
		{"receiver.internal", testSecret, "receiver URL: "},
		{"ftp://receiver.internal", testSecret, "receiver URL: "},
		{"http://", testSecret, "receiver URL: "},
		{"http://127.0.0.1", "", "secret: "},
		{"http://127.0.0.1", "hidden", "secret: "},
		{"http://127.0.0.1", "whsec_hidden", "secret: "},
		{"http://127.0.0.1", testSecret + " whsec_aGlkZGVu", "secret: "},
	} {
		_, err := NewClient(c[0], c[1])
		if err == nil || !strings.HasPrefix(err.Error(), c[2]) || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%q: %v", c, err)
		}
	}
}
