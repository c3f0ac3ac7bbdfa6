package ledgermetrics

import (
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
