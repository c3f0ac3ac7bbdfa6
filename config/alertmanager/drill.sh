#!/bin/sh
# The drill of docs/drill.md: an overdue row of an invented stage `drill`, for as long as somebody waits for the page.
# Whatever ends this script, the row goes away.
#   PUSHGATEWAY_URL=https://push.example.com config/alertmanager/drill.sh
set -eu
group=${PUSHGATEWAY_URL:?set it to the address of the gateway}/metrics/job/veza_ledger/stage/drill

# curl reads address and token from its input, so that no list of processes shows a password.
gateway() {
  printf 'url = "%s"\n%s\n' "$group" "${PUSHGATEWAY_TOKEN:+header = \"authorization: Bearer $PUSHGATEWAY_TOKEN\"}" |
    curl -sSf -K - "$@"
}

# $1: how many rows of the drill are overdue.
overdue() {
  gateway --data-binary "# TYPE veza_ledger_overdue_rows gauge
veza_ledger_overdue_rows{check=\"orphan_refunds\"} $1
"
}

# Without a scrape of the 0, the page would go on for up to a day.
end() {
  trap '' INT TERM HUP
  trap - EXIT
  overdue 0
  echo "Ends the drill: wait for 2 minutes."
  sleep 120
  gateway -X DELETE || echo "The drill's group stays on the gateway, with 0 rows."
  echo "Ended. The page resolves within 22 minutes of your Enter or Ctrl-C."
}

trap end EXIT
trap 'exit 1' INT TERM HUP
overdue 1
printf 'Press Enter when the page has arrived: within 5 minutes. '
read -r _
