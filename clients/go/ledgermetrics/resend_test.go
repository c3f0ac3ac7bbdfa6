package ledgermetrics

import (
	"os"
	"strings"
	"testing"
)

func TestThePageForOnCallHasResendSinceAsOneStatement(t *testing.T) {
	page, err := os.ReadFile("../on-call.md")
	if err != nil {
		t.Fatal(err)
	}
	words := func(text string) string { return strings.Join(strings.Fields(text), " ") }
	statement := strings.Replace(words(resendSQL), "$1", "'2026-01-31 12:00:00Z'", 1) + ";"
	if !strings.Contains(words(string(page)), statement) {
		t.Errorf("lacks %s", statement)
	}
}
