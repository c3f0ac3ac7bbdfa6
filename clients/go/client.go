// Package ledgermetrics tells veza-ledger-metrics what the reconciler did, so that each repair is counted once.
//
// A [Sweep] collects events and writes them to the outbox within the repair's own transaction. An [Outbox] sends them
// later, for as long as it takes. A [Client] sends one delivery, once. Only the standard library is used.
package ledgermetrics

import (
	"bytes"
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
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	// The receiver itself answers within 15 s.
	sendTimeout    = 20 * time.Second
	maxBodyBytes   = 256 * 1024
	maxIDLength    = 256
	idRule         = "id: must be 1 to 256 printable ASCII characters without spaces and full stops"
	maxAnswerBytes = 64 * 1024
	maxReasonRunes = 500
	// No answer can silence a sender for longer.
	maxRetryAfter = time.Hour
)

// Client sends deliveries to one receiver. It is safe for concurrent use.
type Client struct {
	// HTTPClient makes the requests. Replace it for another transport, such as one that signs for aws_iam.
	HTTPClient *http.Client
	// Logger takes the notes on deliveries; nil means slog.Default().
	Logger *slog.Logger

	url  string
	keys [][]byte
}

// NewClient returns a client for the receiver's URL. The secret has the form of WEBHOOK_SECRET: whsec_ and base64; each
// delivery is signed with every one of several secrets that spaces separate. The error names what is wrong with which of
// the two, and never repeats the secret.
func NewClient(receiverURL, secret string) (*Client, error) {
	target, err := url.Parse(receiverURL)
	if err != nil || target.Host == "" || (target.Scheme != "http" && target.Scheme != "https") {
		return nil, errors.New("receiver URL: must start with http:// or https:// and name a host")
	}
	var keys [][]byte
	for _, text := range strings.Fields(secret) {
		encoded, hasPrefix := strings.CutPrefix(text, "whsec_")
		key, err := base64.StdEncoding.DecodeString(encoded)
		if !hasPrefix || err != nil || len(key) < 24 || len(key) > 64 {
			return nil, errors.New("secret: must be whsec_ and 24 to 64 bytes in base64")
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.New("secret: is empty")
	}
	return &Client{
		// A redirect could turn the POST into a GET, whose 200 would say nothing about the delivery.
		HTTPClient: &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		url:        receiverURL,
		keys:       keys,
	}, nil
}

// ErrRejected says that a delivery was answered, and not counted. Match it with errors.As and a *ErrRejected.
type ErrRejected struct {
	ID string
	// Status is the HTTP status; 0 when the delivery was not sent because no receiver could take it.
	Status int
	// Reason is the receiver's own, such as "[2].data.phase: must be one of …".
	Reason string
	// Retryable: the same delivery can be counted later. False means that it never can.
	Retryable bool
	// RetryAfter is how long the receiver asked to wait; 0 when it did not say, and never over an hour.
	RetryAfter time.Duration
}

func (e *ErrRejected) Error() string {
	if e.Status == 0 {
		return fmt.Sprintf("delivery %s not sent: %s", e.ID, e.Reason)
	}
	return fmt.Sprintf("delivery %s rejected with %d: %s", e.ID, e.Status, e.Reason)
}

// Send signs a delivery, now, and posts it once. The id names this delivery and no other: 1 to 256 printable ASCII
// characters without spaces and full stops. The body is one event or an array of up to 1,000, at most 256 KiB. A retry
// passes the same id and the same bytes; it is counted once, however often it is sent within 14 days.
//
// It returns
//   - nil when the delivery is counted, now or before. That includes 409: the id was counted before with another body, as
//     after a retry that built its body anew. Send logs that, since it is a mistake if these are two deliveries;
//   - a *ErrRejected when the answer says anything else;
//   - another error when there was no answer: the delivery may be counted or not, so send it again.
//
// It takes at most 20 s.
func (c *Client) Send(ctx context.Context, id string, body []byte) error {
	if err := check(id, body); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	timestamp := strconv.FormatInt(time.Now().Unix(), 10)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("webhook-id", id)
	request.Header.Set("webhook-timestamp", timestamp)
	request.Header.Set("webhook-signature", c.sign(id, timestamp, body))
	response, err := c.HTTPClient.Do(request)
	if err != nil {
		return noAnswer(id, err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswerBytes))
	if err != nil {
		return noAnswer(id, err)
	}
	return c.judge(id, response, answer)
}

// sign returns one v1 signature for each secret.
func (c *Client) sign(id, timestamp string, body []byte) string {
	signatures := make([]string, len(c.keys))
	for i, key := range c.keys {
		mac := hmac.New(sha256.New, key)
		fmt.Fprintf(mac, "%s.%s.%s", id, timestamp, body)
		signatures[i] = "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	return strings.Join(signatures, " ")
}

// judge turns an answer into what Send returns. Only the receiver's own JSON counts a delivery or ends it: a load balancer
// or a wrong URL can answer 200, 404 or 409 just as well.
func (c *Client) judge(id string, response *http.Response, body []byte) error {
	var answer struct{ Status, Error string }
	if json.Unmarshal(body, &answer) != nil {
		answer.Status, answer.Error = "", ""
	}
	status := response.StatusCode
	switch {
	case status == http.StatusOK && (answer.Status == "recorded" || answer.Status == "duplicate"):
		return nil
	case status == http.StatusConflict && answer.Error != "":
		c.logger().Warn("delivery was counted before with another body", "id", id)
		return nil
	}
	rejected := &ErrRejected{
		ID:         id,
		Status:     status,
		Reason:     shorten(answer.Error),
		Retryable:  answer.Error == "" || !isFinal(status),
		RetryAfter: retryAfter(response.Header.Get("Retry-After")),
	}
	if answer.Error == "" {
		rejected.Reason = "not an answer of the receiver; is it running, and is the URL right?"
	}
	return rejected
}

// isFinal reports whether a status tells of the delivery itself, so that sending it again cannot help. Clock, rotation,
// policy, URL and load are mended elsewhere, and do not make a delivery wrong.
func isFinal(status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusRequestTimeout, http.StatusTooManyRequests:
		return false
	}
	return status >= 400 && status < 500
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
	if c.Logger != nil {
		return c.Logger
	}
	return slog.Default()
}

// check returns a *ErrRejected for what no receiver would take.
func check(id string, body []byte) error {
	reason := ""
	switch {
	case !isValidID(id):
		reason = idRule
	case len(body) > maxBodyBytes:
		reason = fmt.Sprintf("body: is over %d bytes", maxBodyBytes)
	case !utf8.Valid(body) || !json.Valid(body):
		reason = "body: must be JSON in UTF-8"
	default:
		return nil
	}
	return &ErrRejected{ID: shorten(id), Reason: reason}
}

func isValidID(id string) bool {
	for _, char := range []byte(id) {
		if char < '!' || char > '~' || char == '.' {
			return false
		}
	}
	return len(id) >= 1 && len(id) <= maxIDLength
}

// noAnswer drops the URL, which net/http would repeat in each message.
func noAnswer(id string, err error) error {
	var withURL *url.Error
	if errors.As(err, &withURL) {
		err = withURL.Err
	}
	return fmt.Errorf("delivery %s not confirmed: %w", id, err)
}

// shorten makes a text fit for an error message, a log and a column of the outbox, whoever sent it.
func shorten(text string) string {
	runes := []rune(strings.Map(func(char rune) rune {
		if char < ' ' || char == 0x7f {
			return ' '
		}
		return char
	}, text))
	return string(runes[:min(len(runes), maxReasonRunes)])
}
