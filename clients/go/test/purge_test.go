package test

import (
	"strings"
	"testing"

	"github.com/veza/veza-ledger-metrics/clients/go/ledgermetrics"
)

func TestPurgeDeletesIdsOfChanceAfterTwoWeeksAndOthersAfterAYearAFewAtATime(t *testing.T) {
	db := open(t)
	run(t, db, `insert into ledger_outbox.deliveries (id, body, sent_at)
		select 'evt-' || gen_random_uuid(), '[]', now() - interval '14 days 1 minute' from generate_series(1, 1500) as n`)
	run(t, db, `insert into ledger_outbox.deliveries (id, body, sent_at, parked_at, created_at) values
		('evt-0123456789abcdef0123456789abcdef', '[]', now() - interval '13 days 23 hours', null, now() - interval '30 days'),
		('of-ones-own', '[]', now() - interval '364 days', null, now() - interval '365 days'),
		('evt-order-17', '[]', now() - interval '364 days', null, now() - interval '365 days'),
		('year-old', '[]', now() - interval '1 year 1 minute', null, now() - interval '400 days'),
		('waiting', '[]', null, null, now() - interval '30 days'),
		('parked', '[]', null, now() - interval '30 days', now() - interval '30 days')`)
	// A process purges once a minute, so each Drain is of another one.
	for _, want := range []string{"(505)", "(5)"} {
		if _, err := outboxOf(t, db, recorded).Drain(ctx); err != nil {
			t.Fatal(err)
		}
		expect(t, db, "select count(*) from ledger_outbox.deliveries", want)
	}
	outbox := outboxOf(t, db, recorded)
	drain(t, outbox, ledgermetrics.Drained{})
	run(t, db, "update ledger_outbox.deliveries set sent_at = now() - interval '15 days' where id like 'evt-0%'")
	drain(t, outbox, ledgermetrics.Drained{}) // Within the same minute.
	expect(t, db, "select id from ledger_outbox.deliveries order by id",
		"(evt-0123456789abcdef0123456789abcdef) (evt-order-17) (of-ones-own) (parked) (waiting)")
}

func TestPurgeDeletesTheOldestFirst(t *testing.T) {
	db := open(t)
	for _, age := range []string{"2 years", "3 years"} {
		run(t, db, `insert into ledger_outbox.deliveries (id, body, sent_at)
			select $1 || n, '[]', now() - $1::interval from generate_series(1, 1000) as n`, strings.ReplaceAll(age, " ", ""))
	}
	drain(t, outboxOf(t, db, recorded), ledgermetrics.Drained{})
	expect(t, db, "select distinct left(id, 1) from ledger_outbox.deliveries", "(2)")
}

// Such as a person's transaction, or a purge of another process.
func TestPurgeWaitsForNoRowThatSomebodyElseHasLocked(t *testing.T) {
	db := open(t)
	run(t, db, `insert into ledger_outbox.deliveries (id, body, sent_at)
		select id, '[]', now() - interval '2 years' from unnest(array['free', 'locked']) as id`)
	tx := begin(t, db)
	run(t, tx, "select from ledger_outbox.deliveries where id = 'locked' for update")
	drain(t, outboxOf(t, db, recorded), ledgermetrics.Drained{})
	expect(t, db, "select id from ledger_outbox.deliveries", "(locked)")
}
