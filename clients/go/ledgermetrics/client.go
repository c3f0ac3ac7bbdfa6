// Package ledgermetrics tells veza-ledger-metrics what the reconciler did, so that each repair is counted once.
//
// [EnqueueGorm], [Enqueue] and [InTx] write events to an outbox, in the transaction of the repair that they count. A
// guard in this transaction lets the repair happen once. [EnqueueAs] is for work without such a guard. An [Outbox]
// sends the events later, for as long as it takes. A [Client] signs and posts one delivery. The package uses the
// standard library only.
package ledgermetrics

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// Of this module, as in its next tag.
	version = "1.0.0"
	// The receiver itself answers within 15 s. A claim in send.go has to last longer.
	sendTimeout    = 20 * time.Second
	maxAnswerBytes = 64 * 1024
	maxReasonRunes = 500
	// No answer silences a sender for longer.
	maxRetryAfter = time.Hour
)

// Client sends deliveries to one receiver. [NewClient] makes it. It is safe for concurrent use.
type Client struct {
	// HTTPClient makes the requests. If it is nil, the client makes them with the one that NewClient sets. Replace it for
	// another transport, for instance to sign for aws_iam.
	HTTPClient *http.Client
	// Logger takes the notes on deliveries; nil means slog.Default().
	Logger *slog.Logger
	// Stage is the receiver's STAGE, such as prod. Each request says it, and a receiver of another stage counts nothing.
	// Nor is a delivery confirmed by an answer of another stage. It is sent again, until the URL or the stage is right.
	// Empty means that any receiver will do.
	Stage string

	url  string
	keys [][]byte
}

// NewClient returns a client for the receiver's URL. The secret has the form of WEBHOOK_SECRET: whsec_ and base64.
// Spaces separate several secrets; the client signs each delivery with all of them. The error says what is wrong with
// the URL or the secret, and never repeats the secret.
func NewClient(receiverURL, secret string) (*Client, error) {
	target, err := url.Parse(receiverURL)
	if err != nil || target.Hostname() == "" || (target.Scheme != "http" && target.Scheme != "https") {
		return nil, errors.New("ledgermetrics: receiver URL: must start with http:// or https:// and name a host")
	}
	if _, err := strconv.ParseUint(cmp.Or(target.Port(), "443"), 10, 16); err != nil {
		return nil, errors.New("ledgermetrics: receiver URL: the port must be a number up to 65535")
	}
	var keys [][]byte
	for _, text := range strings.Fields(secret) {
		encoded, hasPrefix := strings.CutPrefix(text, "whsec_")
		key, err := base64.StdEncoding.DecodeString(encoded)
		if !hasPrefix || err != nil || len(key) < 24 || len(key) > 64 {
			return nil, errors.New("ledgermetrics: secret: must be whsec_ and 24 to 64 bytes in base64")
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.New("ledgermetrics: secret: is empty")
	}
	return &Client{HTTPClient: defaultHTTPClient(), url: receiverURL, keys: keys}, nil
}

var defaultHTTPClient = sync.OnceValue(func() *http.Client {
	// A redirect could turn the POST into a GET, whose 200 would say nothing about the delivery.
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if transport, ok := http.DefaultTransport.(*http.Transport); ok {
		transport = transport.Clone()
		transport.MaxIdleConnsPerHost = maxRequests // Instead of 2: the others would dial again for each delivery.
		client.Transport = transport
	}
	return client
})

// RejectedError says that the answer did not confirm a delivery, or that an outbox no longer sends it.
type RejectedError struct {
	ID string
	// Status is the HTTP status. It is 0 for a delivery that was first sent over 13 days ago.
	Status int
	// Reason is the receiver's own, such as "[2].data.phase: must be one of …". Where Status is 0, it is the outbox's, and
	// says the events in words.
	Reason string
	// Retryable: the same delivery can be counted later. False means that it never can, or that nobody knows whether it
	// is counted: where Status is 0.
	Retryable bool
	// RetryAfter is how long the receiver asked to wait, an hour at most. It is 0 when the receiver did not ask.
	RetryAfter time.Duration
	// NotCounted says in words which events were refused for good, such as "2 actions stuck_orders, 1 sweep (1.84s)". It
	// is empty if they may be counted now or later: where Retryable is true or Status is 0. It is also empty for a body
	// that cannot be read.
	NotCounted string
}

func (e *RejectedError) Error() string {
	if e.Status == 0 {
		return fmt.Sprintf("ledgermetrics: delivery %s not sent again: %s", e.ID, e.Reason)
	}
	text := fmt.Sprintf("ledgermetrics: delivery %s rejected with %d: %s", e.ID, e.Status, e.Reason)
	if e.NotCounted != "" {
		text += "; not counted: " + e.NotCounted
	}
	return text
}

// Send signs and posts a delivery once, without an outbox; [EnqueueAs] says what the id and the events may be. Without
// events it is a ping: it tries secret, database and gateway, and counts nothing. To retry, pass the same id and
// events: they count once, however often you send them within 14 days.
//
// isNew is true if this request has counted the delivery, and false if it was counted before. If it is false at the
// first attempt, another sender may have used the id for the same events, and yours are not counted. Or net/http has
// lost an answer, and repeated the request by itself.
//
// The error is
//   - nil when the delivery is counted, now or before;
//   - an error that wraps [ErrInvalid] when it was not sent;
//   - a [*RejectedError] when the answer says anything else;
//   - another error when there was no answer: the delivery may be counted or not, so send it again.
//
// It takes at most 20 s.
func (c *Client) Send(ctx context.Context, id string, events ...Event) (isNew bool, err error) {
	body, err := encode(id, events)
	if err != nil {
		return false, err
	}
	return c.post(ctx, id, string(body))
}

var validStage = regexp.MustCompile(`^[A-Za-z0-9_-]*$`)

// check returns an error that says what a client lacks.
func (c *Client) check() error {
	switch {
	case c == nil || len(c.keys) == 0:
		return fmt.Errorf("%w: client: make it with NewClient, with the receiver's URL and secret", ErrInvalid)
	case !validStage.MatchString(c.Stage):
		return fmt.Errorf("%w: client: stage %.40q: may hold letters, digits, _ and - only", ErrInvalid, c.Stage)
	}
	return nil
}

// post is Send for a body as it is in the outbox.
func (c *Client) post(ctx context.Context, id, body string) (isNew bool, err error) {
	if err := c.check(); err != nil {
		return false, err
	}
	httpClient := cmp.Or(c.HTTPClient, defaultHTTPClient())
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, strings.NewReader(body))
	if err != nil {
		return false, noAnswer(id, err)
	}
	timestamp := strconv.FormatInt(time.Now().Unix(), 10)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "veza-ledger-metrics-go/"+version)
	request.Header.Set("webhook-id", id)
	request.Header.Set("webhook-timestamp", timestamp)
	request.Header.Set("webhook-signature", c.sign(id, timestamp, body))
	if c.Stage != "" {
		request.Header.Set("veza-stage", c.Stage)
	}
	// Lets net/http dial again when the server has just closed an idle connection.
	request.Header.Set("Idempotency-Key", id)
	response, err := httpClient.Do(request)
	if err != nil {
		return false, noAnswer(id, err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswerBytes))
	if err != nil {
		return false, noAnswer(id, err)
	}
	return c.judge(id, body, response, answer)
}

// sign returns one v1 signature for each secret.
func (c *Client) sign(id, timestamp, body string) string {
	signatures := make([]string, len(c.keys))
	for i, key := range c.keys {
		mac := hmac.New(sha256.New, key)
		fmt.Fprintf(mac, "%s.%s.%s", id, timestamp, body)
		signatures[i] = "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	return strings.Join(signatures, " ")
}

// What is about the delivery itself, so that a retry cannot help. Everything else is fixed elsewhere: a clock, a
// rotation, a policy, a URL, load.
var finalStatuses = []int{http.StatusBadRequest, http.StatusConflict, http.StatusRequestEntityTooLarge}

// judge turns an answer into what Send returns. Only the receiver's own JSON counts a delivery or ends it, because a
// load balancer or a wrong URL can answer 200, 400 or 409 too. That of another stage does neither: it says where the
// delivery went, and the right receiver may have yet to count it.
func (c *Client) judge(id, body string, response *http.Response, answerBody []byte) (isNew bool, err error) {
	var answer struct {
		Status, Error string
		Stage         json.RawMessage // The receiver tells it, also null, to those who have signed.
	}
	if json.Unmarshal(answerBody, &answer) != nil {
		answer.Status, answer.Error = "", ""
	}
	status := response.StatusCode
	isCounted := status == http.StatusOK && (answer.Status == "recorded" || answer.Status == "duplicate")
	var stage string
	_ = json.Unmarshal(answer.Stage, &stage) // Without a stage, it is null or not there.
	isOfAnotherStage := c.Stage != "" && stage != c.Stage
	if isCounted && !isOfAnotherStage {
		return answer.Status == "recorded", nil
	}
	rejected := &RejectedError{
		ID:         id,
		Status:     status,
		Reason:     shorten(answer.Error, maxReasonRunes),
		Retryable:  isOfAnotherStage || answer.Error == "" || answer.Stage == nil || !slices.Contains(finalStatuses, status),
		RetryAfter: retryAfter(response.Header.Get("Retry-After")),
	}
	switch {
	case isCounted:
		rejected.Reason = fmt.Sprintf("counted by a receiver of stage %.40q instead of %q; is the URL right?", stage, c.Stage)
	case answer.Error == "":
		rejected.Reason = "not an answer of the receiver; is it running, and is the URL right?"
	}
	if !rejected.Retryable {
		rejected.NotCounted = inWords(body)
	}
	return false, rejected
}

// retryAfterOf returns how long the receiver asked to wait, if this error is its answer.
func retryAfterOf(err error) time.Duration {
	var rejected *RejectedError
	if errors.As(err, &rejected) {
		return rejected.RetryAfter
	}
	return 0
}

func retryAfter(header string) time.Duration {
	wait := time.Duration(0)
	if seconds, err := strconv.Atoi(header); err == nil {
		wait = time.Duration(min(max(seconds, 0), int(maxRetryAfter/time.Second))) * time.Second
	} else if at, err := http.ParseTime(header); err == nil {
		wait = time.Until(at)
	}
	return min(max(wait, 0), maxRetryAfter)
}

func (c *Client) logger() *slog.Logger {
	if c != nil && c.Logger != nil {
		return c.Logger
	}
	return slog.Default()
}

// noAnswer leaves out the URL, which net/http puts into each message.
func noAnswer(id string, err error) error {
	var withURL *url.Error
	if errors.As(err, &withURL) {
		err = withURL.Err
	}
	return fmt.Errorf("ledgermetrics: delivery %s not confirmed: %w", id, err)
}

// shorten makes any text fit for an error message, a log and a column of the outbox.
func shorten(text string, maxRunes int) string {
	runes := []rune(strings.Map(func(char rune) rune {
		if char < ' ' || char == 0x7f {
			return ' '
		}
		return char
	}, text))
	return string(runes[:min(len(runes), maxRunes)])
}
