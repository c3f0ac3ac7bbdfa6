package ledgermetrics

import (
	"database/sql"
	"errors"
	"strings"
	"testing"
)

// untouched is a transaction that must not be used.
type untouched struct{ Tx }

func TestEnqueueRefusesWrongInputBeforeItTouchesTheTransaction(t *testing.T) {
	for _, c := range wrongInputs {
		if err := Enqueue(ctx, untouched{}, c.id, c.events...); !errors.Is(err, ErrInvalid) {
			t.Errorf("%.20q: %v", c.id, err)
		}
	}
	if err := Enqueue(ctx, untouched{}, "nothing-to-do"); err != nil {
		t.Error(err)
	}
}

func TestEnqueueNamesWhatIsNoTransaction(t *testing.T) {
	for want, enqueue := range map[string]func() error{
		"the transaction is nil":       func() error { return Enqueue(ctx, nil, "a", OrphanRefund()) },
		"*sql.DB is no transaction":    func() error { return EnqueueGorm(ctx, &sql.DB{}, "a", OrphanRefund()) },
		"<nil> is no transaction":      func() error { return EnqueueGorm(ctx, nil, "a", OrphanRefund()) },
		"InTx: the database is nil":    func() error { return InTx(ctx, nil, nil, nil) },
		"id \"a.b\": must be 1 to 240": func() error { return EnqueueGorm(ctx, untouched{}, "a.b", OrphanRefund()) },
	} {
		if err := enqueue(); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
