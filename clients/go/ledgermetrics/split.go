package ledgermetrics

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strconv"
)

// The part's id is made from the delivery's id. Nothing is split when that id is taken or too long.
const splitSQL = `
	with rest as (
		update ledger_metrics_outbox as outbox set
			body = $3, parts = parts + 1, attempts = attempts + 1, last_error = $5,
			claimed_until = null, next_attempt_at = now()
		where id = $1 and claimed_until = $2 and length(id || '/part-' || parts + 1) <= 256 and not exists (
			select from ledger_metrics_outbox as other where other.id = outbox.id || '/part-' || outbox.parts + 1)
		returning id || '/part-' || parts as part_id, created_at
	)
	insert into ledger_metrics_outbox (id, body, created_at, attempts, last_error, parked_at)
	select part_id, $4, created_at, 1, $5, case when $6::boolean then now() end from rest
	returning id`

// split parks the event that a 400 names, or makes the second half of a delivery that is too large (413) its own
// delivery, and has the rest sent. It returns false when the delivery cannot be split, for instance a single event.
//
// The rest keeps the delivery's id, and only the part gets a new id. So the id counts once, even if the old body is
// still on its way, or was counted by a receiver of another version. Splitting ends the claim, in the same transaction,
// so that no event is split off twice.
func split(ctx context.Context, tx *sql.Tx, refused delivery, rejected *RejectedError) (bool, error) {
	rest, part, ok := divide(refused.body, rejected)
	if !ok {
		return false, nil
	}
	var partID string
	err := tx.QueryRowContext(ctx, splitSQL, refused.id, refused.claimedUntil, rest, part, shorten(rejected.Error()),
		rejected.Status == http.StatusBadRequest).Scan(&partID)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

var namedEvent = regexp.MustCompile(`^\[(\d{1,4})\]`)

// divide returns two bodies with the events of this one.
func divide(body string, rejected *RejectedError) (rest, part string, ok bool) {
	var events []json.RawMessage
	if json.Unmarshal([]byte(body), &events) != nil || len(events) < 2 {
		return "", "", false
	}
	from, to := 0, 0
	switch rejected.Status {
	case http.StatusBadRequest:
		named := namedEvent.FindStringSubmatch(rejected.Reason)
		if named == nil {
			return "", "", false
		}
		from, _ = strconv.Atoi(named[1])
		to = from + 1
	case http.StatusRequestEntityTooLarge:
		from, to = len(events)/2, len(events)
	}
	if from == to || to > len(events) {
		return "", "", false
	}
	partEvents := slices.Clone(events[from:to])
	restEvents := slices.Delete(events, from, to)
	return encodeRaw(restEvents), encodeRaw(partEvents), true
}

// encodeRaw cannot fail: its input was read as JSON.
func encodeRaw(events []json.RawMessage) string {
	text, _ := json.Marshal(events)
	return string(text)
}
