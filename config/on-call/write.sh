# shellcheck shell=bash
# Writes the commands of people on call for one stage: `source config/on-call/write.sh; write_on_call FILE`. It is for
# ./setup and deploy/aws.sh, which have the names.

# Writes on-call.sh to the file $1 with the addresses in STAGE, AWS_REGION, PROMETHEUS_URL, ALERTMANAGER_URL,
# PUSHGATEWAY_URL, HYPERSWITCH_URL, DATABASE_URL, PGSSLMODE, PGSSLROOTCERT, LEDGER_SCHEMA and LEDGER_TIMEZONE, and
# tries each. The file has no password: where PUSHGATEWAY_URL has one, or PUSHGATEWAY_TOKEN is set, it asks for it when
# it is loaded. Prints a line for each address. Returns 1 if the file cannot be written, which leaves an earlier one as
# it is, and 2 if an address does not answer, which may be right where people on call work elsewhere.
write_on_call() {
  local file=$1 template line name value asks='' gateway=${PUSHGATEWAY_URL-} database=${DATABASE_URL-} failed=0
  local with_password='^([a-z]+://[^/@:]*):[^/]*@(.*)$'
  template=${BASH_SOURCE[0]%/*}/on-call.sh
  # VictoriaMetrics takes pushes there, and has no groups that could be asked for or deleted.
  case $gateway in */api/v1/import/prometheus*) gateway= ;; esac
  if [[ $gateway =~ $with_password ]]; then
    gateway=${BASH_REMATCH[1]}@${BASH_REMATCH[2]} asks=password
  elif [ -n "${PUSHGATEWAY_TOKEN-}" ]; then
    asks=token
  fi
  if [[ $database =~ $with_password ]]; then database=${BASH_REMATCH[1]}@${BASH_REMATCH[2]}; fi
  case $database in
    postgres://veza_ledger_oncall@?* | postgresql://veza_ledger_oncall@?*) ;;
    *)
      echo "Not written: $file. DATABASE_URL has to be postgres://veza_ledger_oncall@HOST:5432/DATABASE" >&2
      return 1 ;;
  esac
  if ! _on_call_file >"$file.next" || ! mv "$file.next" "$file"; then
    rm -f "$file.next"
    return 1
  fi
  echo "Written: $file"
  _on_call_tries || failed=2
  return $failed
}

# Prints the file: the template, with the addresses.
_on_call_file() {
  while IFS= read -r line; do
    printf '%s\n' "$line" || return
    [ "$line" = '# The addresses of the stage.' ] || continue
    for name in STAGE AWS_REGION PROMETHEUS_URL ALERTMANAGER_URL PUSHGATEWAY_URL HYPERSWITCH_URL DATABASE_URL \
      PGSSLMODE PGSSLROOTCERT LEDGER_SCHEMA LEDGER_TIMEZONE; do
      case $name in
        PUSHGATEWAY_URL) value=$gateway ;;
        DATABASE_URL) value=$database ;;
        LEDGER_SCHEMA) value=${LEDGER_SCHEMA:-public} ;;
        LEDGER_TIMEZONE) value=${LEDGER_TIMEZONE:-UTC} ;;
        *) value=${!name-} ;;
      esac
      printf '%s=%q\n' "$name" "${value%/}"
    done
    printf '%s=%q\n' GATEWAY_ASKS "$asks"
  done <"$template"
}

# Tries the addresses as people on call use them, without a password of Postgres.
_on_call_tries() {
  local failed=0 said
  _on_call_try Prometheus "${PROMETHEUS_URL-}" /-/ready || failed=1
  _on_call_try Alertmanager "${ALERTMANAGER_URL-}" /-/ready || failed=1
  case ${PUSHGATEWAY_URL-} in
    '' | */api/v1/import/prometheus*) ;;
    *) _on_call_try 'The gateway' "$PUSHGATEWAY_URL" /-/ready "${PUSHGATEWAY_TOKEN-}" || failed=1 ;;
  esac
  _on_call_try Hyperswitch "${HYPERSWITCH_URL-}" /health || failed=1
  said=$(PGSSLMODE=${PGSSLMODE:-verify-full} PGSSLROOTCERT=${PGSSLROOTCERT-} PGCONNECT_TIMEOUT=10 PGPASSWORD='' \
    psql -XAtw "$DATABASE_URL" -c '' 2>&1) || true
  case $said in
    '' | *'no password supplied'* | *'password authentication failed'*) echo '✓ Postgres answers' ;;
    *)
      printf '%s\n' "✗ Postgres: $said"
      failed=1
      ;;
  esac
  return $failed
}

# Whether something answers at the URL $2 with the path $3, perhaps with the token $4. $1 is what it is. No password is
# in the process list.
_on_call_try() {
  local said
  [ -n "$2" ] || { printf '%s\n' "! $1 has no address: the commands that ask it will not work"; return; }
  said=$(printf '%s\n' "url = \"${2%/}$3\"" "${4:+header = \"authorization: Bearer $4\"}" |
    curl -sS -g -m 10 -o /dev/null -w '%{http_code}' -K - 2>&1) || true
  case $said in
    2??) printf '%s\n' "✓ $1 answers" ;;
    *) printf '%s\n' "✗ $1 does not answer: ${said%?000}"; return 1 ;;
  esac
}
