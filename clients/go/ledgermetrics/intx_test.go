package ledgermetrics

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

// conflict is what Postgres answers when it has rolled a transaction back that may succeed when it is run again.
type conflict string

func (c conflict) Error() string    { return "conflict " + string(c) }
func (c conflict) SQLState() string { return string(c) }

func TestRetryGivesUpAfterTenAttemptsAndKeepsTheReason(t *testing.T) {
	attempts := 0
	err := Retry(ctx, func() error {
		attempts++
		return fmt.Errorf("repair: %w", conflict("40001"))
	})
	var reason conflict
	if attempts != 10 || !errors.As(err, &reason) || err.Error() != "ledgermetrics: gave up after 10 attempts: repair: conflict 40001" {
		t.Errorf("%d attempts, %v", attempts, err)
	}
}

func TestRetryDoesNotRepeatWhatIsNoConflict(t *testing.T) {
	for _, failure := range []error{nil, errors.New("no"), conflict("23505"), conflict("25P02")} {
		attempts := 0
		err := Retry(ctx, func() error {
			attempts++
			return failure
		})
		if attempts != 1 || !errors.Is(err, failure) {
			t.Errorf("%d attempts, %v", attempts, err)
		}
	}
}

func TestRetryEndsWithItsContext(t *testing.T) {
	ended, cancel := context.WithCancel(ctx)
	startedAt := time.Now()
	err := Retry(ended, func() error {
		cancel()
		return conflict("40P01")
	})
	if !errors.Is(err, context.Canceled) || !isConflict(err) || time.Since(startedAt) > 10*time.Second {
		t.Error(err)
	}
}
