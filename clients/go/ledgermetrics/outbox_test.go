package ledgermetrics

import (
	"errors"
	"testing"
	"time"
)

// A proxy may say to come back in an hour, and this would silence all workers.
func TestNoAnswerSilencesAWorkerForLong(t *testing.T) {
	for _, c := range []struct {
		err        error
		took, want time.Duration
	}{
		{errors.New("no answer"), 0, 5 * time.Second},
		{errors.New("no answer"), 2 * time.Second, 3 * time.Second},
		{&RejectedError{RetryAfter: time.Second}, 0, 5 * time.Second},
		{&RejectedError{RetryAfter: 7 * time.Second}, 4 * time.Second, 7 * time.Second},
		{&awayError{&RejectedError{RetryAfter: time.Hour}}, 0, 20 * time.Second},
	} {
		if got := outagePauseAfter(c.err, c.took); got != c.want {
			t.Errorf("%v after %s: %s, want %s", c.err, c.took, got, c.want)
		}
	}
}
