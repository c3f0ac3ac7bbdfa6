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
		isNew, err := EnqueueAs(ctx, untouched{}, c.id, c.events...)
		if isNew || !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.reason) {
			t.Errorf("%.20q: %t, %v", c.id, isNew, err)
		}
		if len(c.events) == 0 || len(c.events) > maxEvents { // The id is wrong, or Enqueue makes several deliveries.
			continue
		}
		if err := Enqueue(ctx, untouched{}, c.events...); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.reason) {
			t.Error(err)
		}
	}
	must(t, Enqueue(ctx, untouched{}))
	if isNew, err := EnqueueAs(ctx, untouched{}, "nothing-to-do"); isNew || err != nil {
		t.Error(isNew, err)
	}
}

func TestEnqueueNamesWhatIsNoTransaction(t *testing.T) {
	for want, enqueue := range map[string]func() error{
		"the transaction is nil":    func() error { return Enqueue(ctx, nil, OrphanRefund()) },
		"*sql.DB is no transaction": func() error { return EnqueueGorm(ctx, &sql.DB{}, OrphanRefund()) },
		"<nil> is no transaction":   func() error { return EnqueueGorm(ctx, nil, OrphanRefund()) },
		"InTx: the database is nil": func() error { return InTx(ctx, nil, nil, nil) },
		"*sql.DB is no transaction;": func() error {
			_, err := EnqueueGormAs(ctx, &sql.DB{}, "a", OrphanRefund())
			return err
		},
		"id \"a.b\": must be 1 to 240": func() error {
			_, err := EnqueueGormAs(ctx, untouched{}, "a.b", OrphanRefund())
			return err
		},
	} {
		if err := enqueue(); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
