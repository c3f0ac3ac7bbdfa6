#!/bin/sh
# Lints the client, its tests and its example. Where Go, or a module proxy, is not, it says so and passes.
set -eu
cd "$(dirname "$0")"
if ! command -v go >/dev/null; then
  echo "clients/go is not linted: Go is not on the PATH" >&2
  exit
fi
unformatted=$(gofmt -l -s .)
if [ -n "$unformatted" ]; then
  printf 'not as gofmt -s writes it:\n%s\n' "$unformatted" >&2
  exit 1
fi
# Its version is in test/go.mod.
if ! staticcheck=$(cd test && go tool -n staticcheck 2>&1); then
  printf 'clients/go is linted by gofmt alone: staticcheck is not to be had\n%s\n' "$staticcheck" >&2
  exit
fi
staticcheck=$(printf '%s\n' "$staticcheck" | tail -n 1)
for folder in . test example; do
  (cd "$folder" && go vet ./... && "$staticcheck" ./...)
done
