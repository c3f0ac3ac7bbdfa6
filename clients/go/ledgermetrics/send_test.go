package ledgermetrics

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestAClaimLastsLongerThanItsStatementsAndItsRequest(t *testing.T) {
	if !strings.Contains(claimBeginSQL, "set claimed_until = now() + interval '1 minute'") {
		t.Error("a claim is not for a minute")
	}
	if longest := statementTimeout + sendTimeout + statementTimeout; longest >= time.Minute {
		t.Errorf("a row may be under way for %s, and its claim is over after a minute", longest)
	}
}

func TestBackoffDoublesUpToAMinuteAndIsAsLongAsTheReceiverSays(t *testing.T) {
	for _, c := range []struct {
		failures int
		err      error
		want     time.Duration
	}{
		{0, errors.New("no answer"), 500 * time.Millisecond},
		{1, errors.New("no answer"), time.Second},
		{4, errors.New("no answer"), 8 * time.Second},
		{7, errors.New("no answer"), time.Minute},
		{100_000, &RejectedError{RetryAfter: time.Second}, time.Minute},
		{0, &RejectedError{RetryAfter: 10 * time.Minute}, 10 * time.Minute},
	} {
		longest := time.Duration(0)
		for range 1000 {
			got := backoff(c.failures, c.err)
			if longest = max(longest, got); got < c.want || got > c.want+c.want/4 {
				t.Errorf("after %d failures: %s, want %s and up to a quarter more", c.failures, got, c.want)
			}
		}
		if longest == c.want && retryAfterOf(c.err) < c.want {
			t.Errorf("after %d failures: always %s", c.failures, c.want)
		}
	}
}
