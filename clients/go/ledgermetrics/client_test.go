package ledgermetrics

import (
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

func TestSignsAsInTheVectorOfStandardWebhooks(t *testing.T) {
	client, err := NewClient("http://127.0.0.1", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw "+testSecret)
	must(t, err)
	signatures := strings.Fields(client.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", `{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; len(signatures) != 2 || signatures[0] != want {
		t.Errorf("signed %q, want %q and one more", signatures, want)
	}
}

func TestSendJudgesAnswers(t *testing.T) {
	const final, retry, counted, known = "final", "retry", "counted", "counted before"
	html := "<html>hello</html>"
	cases := []struct {
		status int
		body   string
		want   string
	}{
		{200, `{"status":"recorded","published":false}`, counted},
		{200, `{"status":"duplicate","published":true}`, known},
		{200, html, retry},
		{200, `{"status":"ok"}`, retry},
		{201, `{"status":"recorded"}`, retry},
		{204, "", retry},
		{302, "", retry},
		{400, `{"error":"[0].type: is missing","stage":null}`, final},
		{400, `{"error":"a stranger's"}`, retry},
		{400, html, retry},
		{401, `{"error":"webhook-signature: does not match","stage":null}`, retry},
		{403, `{"Message":"Forbidden"}`, retry},
		{408, `{"error":"slow"}`, retry},
		{409, `{"error":"webhook-id: was recorded before with a different body","stage":"prod"}`, final},
		{409, html, retry},
		{413, `{"error":"over 1000 events","stage":"prod"}`, final},
		{413, html, retry},
		{422, `{"error":"not ours","stage":null}`, retry},
		{429, `{"Reason":"ConcurrentInvocationLimitExceeded"}`, retry},
		{502, "", retry},
		{503, `{"error":"not confirmed; send again with the same webhook-id","stage":null}`, retry},
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
			isNew, err := client.Send(ctx, "sweep-1")
			var rejected *RejectedError
			got := map[bool]string{true: counted, false: known}[isNew]
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

// Another stage's receiver refuses the delivery, or has counted it there. What it says decides nothing here.
func TestSendSaysItsStageAndTrustsNoAnswerOfAnother(t *testing.T) {
	const refused = "veza-stage: the delivery is of the stage prod, and this receiver of the stage staging"
	for _, c := range []struct {
		stage, body string
		status      int
		want        string
	}{
		{"prod", `{"status":"recorded","stage":"prod"}`, 200, ""},
		{"", `{"status":"recorded","stage":"staging"}`, 200, ""},
		{"prod", `{"error":"[0].type: is missing","stage":"prod"}`, 400, "final: [0].type: is missing"},
		{"prod", `{"error":"` + refused + `","stage":"staging"}`, 409, "again: " + refused},
		{"prod", `{"error":"[0].type: is missing","stage":null}`, 400, "again: [0].type: is missing"},
		{"prod", `{"status":"recorded","stage":"staging"}`, 200, `again: counted by a receiver of stage "staging" instead of "prod"; is the URL right?`},
		{"prod", `{"status":"duplicate","stage":null}`, 200, `again: counted by a receiver of stage "" instead of "prod"; is the URL right?`},
	} {
		headers := make(chan []string, 1)
		client := answering(t, func(w http.ResponseWriter, r *http.Request) {
			headers <- r.Header.Values("veza-stage")
			answer(w, c.status, c.body)
		})
		client.Stage = c.stage
		_, err := client.Send(ctx, "sweep-1")
		if got := strings.Join(<-headers, ","); got != c.stage {
			t.Errorf("the header is %q, want %q", got, c.stage)
		}
		got := ""
		var rejected *RejectedError
		if errors.As(err, &rejected) {
			got = map[bool]string{true: "again: ", false: "final: "}[rejected.Retryable] + rejected.Reason
		}
		if got != c.want {
			t.Errorf("%d %s: got %q, want %q", c.status, c.body, got, c.want)
		}
	}
}

func TestSendGivesTheReasonInOneShortLine(t *testing.T) {
	client := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(400)
		fmt.Fprintf(w, `{"error":"[2].data.phase:\n is missing%s"}`, strings.Repeat("ä", 1000))
	})
	_, err := client.Send(ctx, "sweep-1")
	want := "ledgermetrics: delivery sweep-1 rejected with 400: [2].data.phase:  is missingää"
	if !strings.HasPrefix(fmt.Sprint(err), want) {
		t.Errorf("%v, want %s…", err, want)
	}
	if got := len([]rune(err.Error())); got > maxReasonRunes+100 {
		t.Errorf("the reason has %d characters", got)
	}
}

func TestRetryAfterIsSecondsOrADateAndAnHourAtMost(t *testing.T) {
	in := func(wait time.Duration) string { return time.Now().Add(wait).UTC().Format(http.TimeFormat) }
	for header, want := range map[string]time.Duration{
		"": 0, "5": 5 * time.Second, "-5": 0, "soon": 0, "9223372037": time.Hour, in(time.Minute): time.Minute,
		in(2 * time.Hour):               time.Hour,
		"Wed, 21 Oct 2015 07:28:00 GMT": 0,
	} {
		// A date is only so exact, and time passes until it is read.
		if got := retryAfter(header); got > want || got < want-30*time.Second {
			t.Errorf("%q: wait %s, want %s", header, got, want)
		}
	}
}

func TestSendReadsNoEndlessAnswer(t *testing.T) {
	client := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		for {
			if _, err := w.Write(make([]byte, maxAnswerBytes)); err != nil {
				return
			}
		}
	})
	_, err := client.Send(ctx, "sweep-1")
	var rejected *RejectedError
	if !errors.As(err, &rejected) || !rejected.Retryable {
		t.Errorf("%v, want an answer that is not the receiver's", err)
	}
}

// transport is an http.RoundTripper.
type transport func(*http.Request) (*http.Response, error)

func (t transport) RoundTrip(request *http.Request) (*http.Response, error) { return t(request) }

func TestSendEndsAfter20SecondsAlsoByAnHTTPClientWithoutATimeout(t *testing.T) {
	client := answering(t, func(http.ResponseWriter, *http.Request) { t.Error("was sent") })
	var left time.Duration
	client.HTTPClient = &http.Client{Transport: transport(func(request *http.Request) (*http.Response, error) {
		deadline, _ := request.Context().Deadline()
		left = time.Until(deadline)
		return nil, errors.New("not sent")
	})}
	if _, err := client.Send(ctx, "sweep-1"); err == nil || left <= 0 || left > 20*time.Second {
		t.Errorf("%v, %s left", err, left)
	}
}

func TestSendDoesNotSendWrongInput(t *testing.T) {
	client := answering(t, func(http.ResponseWriter, *http.Request) { t.Error("was sent") })
	for _, c := range wrongInputs {
		if _, err := client.Send(ctx, c.id, c.events...); !errors.Is(err, ErrInvalid) {
			t.Errorf("%.20q: %v", c.id, err)
		}
	}
}

// Go keeps two connections, if nobody says more: the other senders of an outbox would dial for each delivery.
func TestAConnectionIsKeptForEachSender(t *testing.T) {
	if kept := defaultHTTPClient().Transport.(*http.Transport).MaxIdleConnsPerHost; kept < maxRequests {
		t.Errorf("%d connections are kept", kept)
	}
}

func TestSendDoesNotRepeatTheURLWhenNobodyAnswers(t *testing.T) {
	client, err := NewClient("http://user:hidden@127.0.0.1:4/secret-path", testSecret)
	must(t, err)
	_, err = client.Send(ctx, "sweep-1")
	text := fmt.Sprint(err)
	if strings.Contains(text, "hidden") || strings.Contains(text, "secret-path") ||
		!strings.HasPrefix(text, "ledgermetrics: delivery sweep-1 not confirmed: ") {
		t.Error(text)
	}
}

func TestASecretHas24To64Bytes(t *testing.T) {
	for size, isRight := range map[int]bool{23: false, 24: true, 64: true, 65: false} {
		_, err := NewClient("http://127.0.0.1", "whsec_"+base64.StdEncoding.EncodeToString(make([]byte, size)))
		if (err == nil) != isRight {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
	for _, secret := range []string{strings.TrimPrefix(testSecret, "whsec_"), testSecret + "!"} {
		if _, err := NewClient("http://127.0.0.1", secret); err == nil {
			t.Error("taken: " + secret)
		}
	}
}

func TestNewClientNamesWhatIsWrongAndNoSecret(t *testing.T) {
	for _, c := range [][3]string{
		{"receiver.internal", testSecret, "ledgermetrics: receiver URL: "},
		{"ftp://receiver.internal", testSecret, "ledgermetrics: receiver URL: "},
		{"http://", testSecret, "ledgermetrics: receiver URL: "},
		{"http://:8080", testSecret, "ledgermetrics: receiver URL: "},
		{"http://127.0.0.1:65536", testSecret, "ledgermetrics: receiver URL: the port must be a number up to 65535"},
		{"http://127.0.0.1", "", "ledgermetrics: secret: "},
		{"http://127.0.0.1", "hidden", "ledgermetrics: secret: "},
		{"http://127.0.0.1", "whsec_hidden", "ledgermetrics: secret: "},
		{"http://127.0.0.1", testSecret + " whsec_aGlkZGVu", "ledgermetrics: secret: "},
	} {
		_, err := NewClient(c[0], c[1])
		if err == nil || !strings.HasPrefix(err.Error(), c[2]) || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%q: %v", c, err)
		}
	}
}

func TestZeroValuesWorkOrSayWhyNot(t *testing.T) {
	var noClient *Client
	for _, client := range []*Client{{}, noClient} {
		if _, err := client.Send(ctx, "a"); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "make it with NewClient") {
			t.Error(err)
		}
	}
	client := answering(t, recorded)
	client.Stage = "prod\r\n"
	if _, err := client.Send(ctx, "a"); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "stage \"prod\\r\\n\": may hold") {
		t.Error(err)
	}
	client.Stage = ""
	client.HTTPClient = nil
	if _, err := client.Send(ctx, "a"); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		outbox *Outbox
		want   string
	}{
		{&Outbox{}, "outbox: make it with NewOutbox"},
		{nil, "outbox: make it with NewOutbox"},
		{NewOutbox(nil, client), "outbox: the database is nil"},
		{NewOutbox(&sql.DB{}, nil), "client: make it with NewClient"},
		{NewOutbox(&sql.DB{}, &Client{}), "client: make it with NewClient"},
	} {
		_, drainErr := c.outbox.Drain(ctx)
		for _, err := range []error{c.outbox.Run(ctx), drainErr} {
			if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %s", err, c.want)
			}
		}
	}
}

func TestSendNamesTheClientItsVersionAndWhatMakesNetHTTPDialAnew(t *testing.T) {
	agents := make(chan string, 1)
	client := answering(t, func(w http.ResponseWriter, r *http.Request) {
		agents <- r.UserAgent()
		if key := r.Header.Get("Idempotency-Key"); key != "a" {
			t.Errorf("Idempotency-Key %q", key)
		}
		recorded(w, r)
	})
	if _, err := client.Send(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	name, version, _ := strings.Cut(<-agents, "/")
	module, err := os.ReadFile("../test/go.mod") // It names the next version, too.
	must(t, err)
	if name != "veza-ledger-metrics-go" || !strings.Contains(string(module), "clients/go v"+version+"\n") {
		t.Errorf("%s, version %q", name, version)
	}
}
