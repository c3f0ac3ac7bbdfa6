# shellcheck shell=bash
# The commands of people on call, to be sourced in bash (3.2 too) or zsh: `. ./on-call-prod.sh`. `help` lists them. They
# need psql, curl, jq and awk; `logs` also needs the AWS CLI or, without AWS, the host of the service. `./setup oncall`
# and `deploy/aws.sh oncall` make the file of a stage from this one: write.sh has what they call.

# The addresses of the stage.

help() {
  [ $# -gt 0 ] || echo 'COMMAND help says this of one of them.'
  awk -v name="${1-}" '/^[a-z]/ { shown = name == "" || $0 ~ "(^|, )" name "( |,|$)"; any = any || shown }
    shown { print }
    END { if (!any) { print "There is no command " name ". help lists them."; exit 1 } }' <<'END'
rows CHECK
    How many rows of a check fire, since when, whether it goes on, and the ten oldest. Of orphan refunds, also those
    that were marked as failed. All: sql 'select * from ledger_metrics.CHECK() where fires'
all_rows
    How many rows of each check fire. Use it while the sampler or Prometheus is down.
accept CHECK SPAN
    Takes rows out of the alerts for a time, such as 5 days. It asks for their ids and for the reason. 0 days takes
    them back in.
accept_backlog CHECK SPAN
    Accepts all rows of a check that fire, or that are accepted by the first day or for less than 3 more days. Only
    those that have waited for over a day, or for as long as you say.
accepted
    What is accepted now: how many rows of each check, until when, by whom, and why.
ask payments ID, ask refunds ID
    Asks Hyperswitch, and through it the bank, how a payment or a refund ended. It changes nothing.
why_silent
    Which of sampler, gateway, Prometheus and Alertmanager stands still, and whom to call.
why_failing
    The codes and reasons of the last 15 minutes for which a count is unknown.
why_blind
    Which statuses new rows have, and which rows are in no count since they have no time, or a future one.
why_lost
    Which counters Postgres has lost events of, and since when.
why_alerts_fail
    Which rules fail, and by which way notifications fail.
sweeps
    When the reconciler's sweeps ended last, and what has arrived since.
outbox
    Which events wait in the reconciler's outbox, and what the receiver says.
samplers
    Who has counted for this stage in the last 20 minutes.
locks
    Who holds a lock on the ledger's tables, or waits for one.
firing
    The alerts of this stage that fire now.
silence SPAN ALERT [check=CHECK] [reason=REASON]
    Mutes one alert of this stage, for such as 8h or 2d. 0h ends it.
query EXPRESSION, gateway PATH
    Ask Prometheus, and the Pushgateway.
logs sampler SPAN [TEXT], logs receiver SPAN [TEXT]
    The log of such as the last 15m, with the time of each line: all of it, or the lines with this text.
sql ['SELECT ...']
    psql, read-only. \q leaves it.
takeback ID [KIND [NUMBER]] [now]
    Takes back what one delivery has counted and should not have. No counter falls: the next events of the kind are
    left out instead. With now, the number is right at once, and the counter falls.
drop_group
    Deletes this stage's counters on the gateway where they are too high. The next tick fills them in again.
resend SINCE
    Has the reconciler's outbox send again what it has sent since then, such as '2026-01-31 12:00Z'. What was counted
    before counts once.
retire STAGE, retire_phase PHASE
    Ends the alerts of a stage whose functions are removed, or of a phase that no sweep names any more.
END
}

# Whether a command ($1) was asked for help alone ($2). Prints it.
_helps() {
  [ "${2-}" = help ] && help "$1"
}

_say() { printf '%s\n' "$@" >&2; }

# Asks for a line ($1) that is not shown. Prints the line.
_secret() {
  local secret=
  printf '%s: ' "$1" >&2
  IFS= read -rs secret
  echo >&2
  printf '%s' "$secret"
}

# Asks for a line ($1). Prints it.
_line() {
  local line=
  printf '%s: ' "$1" >&2
  read -r line
  printf '%s' "$line"
}

# Whether a person writes yes. $1: for what.
_confirmed() {
  [ "$(_line "Write yes $1")" = yes ] || { _say 'Nothing is done.'; return 1; }
}

# --- Postgres

# psql with SQL from standard input, as people on call, or by as_url and as_password, where a command has set them.
_psql() {
  local code=0 url=$DATABASE_URL secret=$LEDGER_PASSWORD
  [ -z "${as_url-}" ] || { url=$as_url secret=$as_password; }
  PGPASSWORD=$secret PGSSLMODE=${PGSSLMODE:-verify-full} PGSSLROOTCERT=$PGSSLROOTCERT \
    PGTZ=$LEDGER_TIMEZONE PGCONNECT_TIMEOUT=10 psql "$url" -X -q -P pager=off -P footer=off \
    -v ON_ERROR_STOP=1 -v VERBOSITY=terse -v SHOW_CONTEXT=never "$@" || code=$?
  [ "$code" != 2 ] || _say 'Postgres is away, or does not let you in: the line above says why. Is the password wrong?' \
    'Then load this file again, or repeat the command that asked for it. Is your VPN down? If neither, call the' \
    'platform engineer.'
  return "$code"
}

# Whether Postgres answers, is of this stage, and has the check $1, if there is a $1.
_ready() {
  local found stage checks
  found=$(echo "select coalesce((select stage from ledger_metrics.stage), :'stage') || chr(10) ||
    string_agg(proname, ' ' order by proname) from pg_proc
    where pronamespace = 'ledger_metrics'::regnamespace and 'fires' = any (proargnames);" |
    _psql -At -v stage="$STAGE") || return
  stage=${found%%
*}
  checks=${found#*
}
  if [ "$stage" != "$STAGE" ]; then
    _say "Nothing is done: this file is of the stage '$STAGE', and its database is of the stage '$stage'." \
      'Load the file of the other stage, or have the platform engineer write this one again.'
    return 1
  fi
  [ $# = 0 ] || case " $checks " in
    *" ${1:-none} "*) ;;
    *) _say "Nothing is done: there is no check '$1'. The checks are: $checks"; return 1 ;;
  esac
}

rows() {
  ! _helps rows "$@" || return 0
  _ready "${1-}" || return
  _psql -v check="$1" -v f="ledger_metrics.$1()" <<'END'
select count(*) filter (where fires) as firing, count(*) filter (where fires) > 0 as any_fires,
  count(*) filter (where accepted_until > now()) as accepted,
  count(*) filter (where not fires and coalesce(accepted_until <= now(), true)) as young,
  coalesce(to_char(min(since) filter (where fires), 'YYYY-MM-DD HH24:MI'), 'a time that is unknown') as oldest,
  extract(epoch from now() - max(since) filter (where coalesce(accepted_until <= now(), true)))::int / 60 as newest,
  to_char(now(), 'YYYY-MM-DD HH24:MI TZ') as now
from :f \gset
-- What else the check's list has, such as the provider's id. And from which age on its rows count, in minutes: the last
-- interval in the text of its function.
select coalesce((
    select string_agg(', ' || quote_ident(name), '' order by place)
    from unnest(proargnames) with ordinality as columns (name, place)
    where name not in ('id', 'since', 'fires', 'accepted_until', 'accepted_because')
  ), '') as more, coalesce((
    select extract(epoch from found[1]::interval)::int / 60
    from regexp_matches(prosrc, 'interval ''([^'']+)''', 'g') with ordinality as intervals (found, place)
    order by place desc limit 1
  ), 0) as youngest
from pg_proc where pronamespace = 'ledger_metrics'::regnamespace and proname = :'check' \gset
\pset format unaligned
\pset tuples_only on
select format('%s of %s fire now, %s. Besides: %s accepted, %s too young to fire.',
  :'firing', :'check', :'now', :'accepted', :'young');
\if :any_fires
select format('The oldest began to wait at %s. ', :'oldest') || case
  when nullif(:'newest', '')::int <= :youngest + 10 then format('IT GOES ON: the newest is %s minutes old', :'newest')
  else format('No new one for a while: the newest is %s minutes old', :'newest') end
  || case when :youngest > 0 then format(', and none counts before %s.', :youngest) else '.' end;
\pset format aligned
\pset tuples_only off
\echo 'The 10 oldest that fire:'
select id, date_trunc('second', since) as since :more from :f where fires order by since nulls first limit 10;
\echo 'When those that nobody has accepted began to wait, by 10 minutes; the last 12 that have any:'
select * from (
  select to_char(to_timestamp(floor(extract(epoch from since) / 600) * 600), 'MM-DD HH24:MI') as began, count(*) as rows
  from :f where coalesce(accepted_until <= now(), true) group by 1 order by 1 desc limit 12
) as newest order by 1;
\else
\echo 'So they were repaired or accepted, or their status was renamed.'
\endif
END
  [ "$1" != orphan_refunds ] || _failed_orphans
}

# Orphan refunds that the reconciler, or a person, has marked as failed, which pays nobody. Then the orders and payments
# of all orphans, where people on call may read the column for it.
_failed_orphans() {
  _psql -v schema="$LEDGER_SCHEMA" <<'END'
select count(*) > 0 as any_failed from ledger_metrics.failed_orphan_refunds() \gset
\if :any_failed
select count(*) filter (where failed_at > now() - interval '1 hour') as "marked as failed in the last hour",
  count(*) filter (where failed_at > now() - interval '1 day') as "day", count(*) as "14 days"
from ledger_metrics.failed_orphan_refunds();
\echo 'Nobody has paid those marked as failed. Of the last 3 days, at most 20, the latest first:'
select id, date_trunc('second', since) as since, date_trunc('second', failed_at) as failed_at
from ledger_metrics.failed_orphan_refunds() where failed_at > now() - interval '3 days'
order by failed_at desc nulls last limit 20;
\else
\echo 'None was marked as failed in the last 14 days.'
\endif
select exists (
  select from pg_attribute where attrelid = to_regclass(format('%I.refunds', :'schema')) and attname = 'order_id'
    and has_column_privilege(attrelid, attnum, 'select')
) as has_orders \gset
\if :has_orders
\echo 'Their orders and payments; at most 30, the newest refunds first:'
select orphan.id as refund, orders.id as "order", hyperswitch_payment_id as payment
from (
  select id, since from ledger_metrics.orphan_refunds() where fires union
  select id, since from ledger_metrics.failed_orphan_refunds() where failed_at > now() - interval '3 days'
) as orphan join :"schema".refunds on refunds.id::text = orphan.id
  left join :"schema".orders on orders.id = order_id
order by since desc nulls last limit 30;
\endif
END
}

all_rows() {
  local check checks
  ! _helps all_rows "$@" || return 0
  _ready || return
  checks=$(echo "select proname from pg_proc where pronamespace = 'ledger_metrics'::regnamespace
    and 'fires' = any (proargnames) order by proname;" | _psql -At) || return
  while read -r check; do
    # One broken check hides no other.
    _psql -At -F '  ' -v check="$check" <<END || echo "$check: unknown. The line above says why."
select rpad(:'check', 18), count(*) filter (where fires) || ' fire', count(*) filter (where accepted_until > now())
  || ' accepted', 'oldest ' || coalesce(to_char(min(since) filter (where fires), 'YYYY-MM-DD HH24:MI'), '-')
from ledger_metrics.$check();
END
  done <<<"$checks"
  echo 'For each that fires, follow the page of its alert, such as VezaLedgerStuckOrders.'
}

# Whether a text is a span, such as 5 days.
_is_span() {
  case $1 in
    [0-9]*[a-z]*) ;;
    *) _say "Nothing is accepted: say for how long, as in: $2 5 days"; return 1 ;;
  esac
}

accept() {
  local check=${1-} span ids='' line why
  ! _helps accept "$@" || return 0
  [ $# = 0 ] || shift
  span=$*
  _is_span "$span" "accept ${check:-stuck_orders}" && _ready "$check" || return
  echo "ids of $check, in one line or in several, and an empty line after the last:"
  while read -r line && [ -n "$line" ]; do ids="$ids $line"; done
  why=$(_line 'why, and your name')
  _psql -v check="$check" -v span="$span" -v ids="$ids" -v why="$why" <<'END'
begin read write;
select accepted_id as id,
  case when accepted_until > now() then 'accepted until ' || to_char(accepted_until, 'YYYY-MM-DD HH24:MI TZ')
    else 'TAKEN BACK: it fires again within 2 minutes' end as is_now, accepted_because as why
from ledger_metrics.accept(:'check', array_remove(regexp_split_to_array(:'ids', '[[:space:],]+'), ''),
  :'why', now() + :'span');
commit;
END
}

accept_backlog() {
  local check=${1-} span counted waited why
  ! _helps accept_backlog "$@" || return 0
  [ $# = 0 ] || shift
  span=$*
  _is_span "$span" "accept_backlog ${check:-stuck_orders}" && _ready "$check" || return
  waited=$(_line 'those that have waited for over how long? (24 hours)')
  waited=${waited:-24 hours}
  counted=$(_psql -At -v waited="$waited" -v f="ledger_metrics.$check()" <<'END'
select format('%s rows, of which %s fire, from %s to %s', count(*), count(*) filter (where fires),
  to_char(min(since), 'YYYY-MM-DD HH24:MI'), to_char(max(since), 'YYYY-MM-DD HH24:MI'))
from :f where coalesce(since < now() - interval :'waited', true) and (fires
  or accepted_until < now() + interval '3 days' or accepted_until = (select until from ledger_metrics.first_day));
END
  ) || return
  case $counted in '0 rows'*) _say "Nothing is accepted: no such row has waited for over $waited."; return 1 ;; esac
  echo "This accepts $counted."
  why=$(_line "why, and your name (nothing, to accept none)")
  [ -n "$why" ] || { _say 'Nothing is accepted.'; return 1; }
  _psql -v check="$check" -v span="$span" -v waited="$waited" -v why="$why" -v f="ledger_metrics.$check()" <<'END'
begin read write;
select count(*) as "rows accepted", to_char(min(accepted_until), 'YYYY-MM-DD HH24:MI TZ') as until
from ledger_metrics.accept(:'check', array(
    select id from :f where coalesce(since < now() - interval :'waited', true) and (fires
      or accepted_until < now() + interval '3 days' or accepted_until = (select until from ledger_metrics.first_day))
  ), :'why', now() + :'span');
commit;
END
}

accepted() {
  ! _helps accepted "$@" || return 0
  _ready || return
  _psql <<'END'
select "check", count(*) as rows, to_char(min(until), 'YYYY-MM-DD HH24:MI') as "the first ends",
  to_char(max(until), 'YYYY-MM-DD HH24:MI') as "the last ends", accepted_by, why
from ledger_metrics.accepted_now group by "check", accepted_by, why order by min(until) limit 50;
\pset tuples_only on
select format('Besides, until %s: all rows that were stuck on the first day, %s.',
  to_char(until, 'YYYY-MM-DD HH24:MI'), to_char(began_at, 'YYYY-MM-DD'))
from ledger_metrics.first_day where until > now();
END
}

sql() {
  ! _helps sql "$@" || return 0
  _ready || return
  if [ $# -gt 0 ]; then
    printf 'begin read only;\n%s;\n' "$1" | _psql -P expanded=auto
  else
    _psql -P expanded=auto -v ON_ERROR_STOP=0 -v PROMPT1="$STAGE %/%R%x%# "
  fi
}

sweeps() {
  ! _helps sweeps "$@" || return 0
  _ready || return
  _psql <<'END'
\echo 'The last sweep of each phase; without a phase, the last of all:'
select labels ->> 'phase' as phase, case when value = 0 then 'never, or forgotten'
  else to_char(to_timestamp(value), 'YYYY-MM-DD HH24:MI:SS TZ') end as ended,
  case when value > 0 then extract(epoch from now() - to_timestamp(value))::int / 60 end as minutes_ago
from ledger_metrics.totals
where name in ('veza_reconciler_last_run_timestamp', 'veza_reconciler_phase_last_run_timestamp_seconds')
order by name, phase;
\echo 'The last 10 deliveries, and what each has counted:'
select id, to_char(received_at, 'MM-DD HH24:MI:SS') as received, attempts, words from ledger_metrics.deliveries
order by received_at desc limit 10;
END
}

outbox() {
  ! _helps outbox "$@" || return 0
  _ready || return
  _psql -P expanded=auto <<'END'
select to_regclass('public.ledger_metrics_outbox') is not null as is_here \gset
\if :is_here
select count(*) filter (where parked_at is null) as waiting,
  count(*) filter (where parked_at is null and created_at < now() - interval '15 minutes') as late,
  count(*) filter (where parked_at is not null) as parked,
  sum(attempts) filter (where parked_at is null) as attempts_of_those_waiting
from public.ledger_metrics_outbox where sent_at is null;
\echo 'The oldest first, and the parked ones last; at most 20:'
select id, to_char(created_at, 'MM-DD HH24:MI') as written, attempts, parked_at is not null as parked, last_error
from public.ledger_metrics_outbox where sent_at is null order by parked, created_at limit 20;
\else
\echo 'No outbox is in this database: ask the payments engineer where it is.'
\endif
END
  echo 'What the receiver could not confirm in the last 15 minutes:'
  logs receiver 15m 'delivery not confirmed' 2>/dev/null | tail -n 2
}

locks() {
  ! _helps locks "$@" || return 0
  _ready || return
  _psql -P expanded=auto -v schema="$LEDGER_SCHEMA" <<'END'
\echo 'Who holds a lock, or waits for one; nothing if nobody does:'
select relation::regclass as locked, mode, granted, pid, usename, application_name,
  case when pid is null then 'prepared: ' || (
    select string_agg(gid || ' of ' || owner::text, ', ') from pg_prepared_xacts where database = current_database()
  ) else state end as state, date_trunc('second', now() - xact_start) as since, left(query, 80) as query
from pg_locks left join pg_stat_activity using (pid)
where relation in (select oid from pg_class where relnamespace = to_regnamespace(quote_ident(:'schema'))
    and relname in ('orders', 'refunds', 'seller_transfers'))
  and database = (select oid from pg_database where datname = current_database()) and pid is distinct from
    pg_backend_pid()
order by xact_start nulls first limit 20;
END
}

why_blind() {
  ! _helps why_blind "$@" || return 0
  _ready || return
  _psql -v schema="$LEDGER_SCHEMA" <<'END'
\echo 'Rows of the last day, by their status. A check that is blind looks for a status that no new row has any more.'
select 'orders' as "table", status::text, count(*) as rows, max(created_at::timestamptz) as newest
from :"schema".orders where created_at::timestamptz > now() - interval '1 day' group by 2
union all
select 'refunds', status::text, count(*), max(created_at::timestamptz)
from :"schema".refunds where created_at::timestamptz > now() - interval '1 day' group by 2
union all
select 'seller_transfers', status::text, count(*), max(updated_at::timestamptz)
from :"schema".seller_transfers where updated_at::timestamptz > now() - interval '1 day' group by 2
order by 1, 3 desc;
\echo 'Rows without a time, or with one in the future, which are in no count; at most 30:'
select 'orders' as "table", id::text, status::text, created_at::timestamptz as time
from :"schema".orders where created_at is null or created_at::timestamptz > now() + interval '5 minutes'
union all
select 'refunds', id::text, status::text, created_at::timestamptz
from :"schema".refunds where created_at is null or created_at::timestamptz > now() + interval '5 minutes'
union all
select 'seller_transfers', id::text, status::text, updated_at::timestamptz
from :"schema".seller_transfers where updated_at is null or updated_at::timestamptz > now() + interval '5 minutes'
limit 30;
END
  echo 'What the sampler could not read in the last 2 hours:'
  logs sampler 2h 'evidence not read' 2>/dev/null | tail -n 3
  logs sampler 2h 'check failed' 2>/dev/null | tail -n 3
}

# --- Hyperswitch

ask() {
  local what=${1-} id=${2-} answer
  ! _helps ask "$@" || return 0
  case $what in
    payments | refunds) ;;
    *) _say 'Nobody was asked: say ask payments, or ask refunds.'; return 1 ;;
  esac
  [ -n "$HYPERSWITCH_API_KEY" ] || {
    _say "Nobody was asked: you gave no API key. Open the id on Hyperswitch's dashboard."
    return 1
  }
  [ -n "$id" ] || id=$(_line 'Its id at Hyperswitch')
  case $id in
    '' | *[!A-Za-z0-9_-]*) _say 'Nobody was asked: this is no id.'; return 1 ;;
  esac
  answer=$(printf 'api-key: %s\n' "$HYPERSWITCH_API_KEY" |
    curl -sSf -m 60 -H @- "$HYPERSWITCH_URL/$what/$id?force_sync=true") || {
    _say 'Hyperswitch gave no answer. 401: the API key is wrong. 404: the id is wrong. Otherwise open the id on its' \
      'dashboard.'
    return 1
  }
  printf '%s' "$answer" | jq -r 'if .error_code and (.status | IN("succeeded", "failed", "cancelled") | not)
    then "unknown: \(.error_code)" else .status end'
}

# --- Prometheus, the gateway, Alertmanager, the log

# Asks Prometheus for $1. Prints its answer, JSON.
_prometheus() {
  curl -sSfG -m 10 "$PROMETHEUS_URL/api/v1/query" --data-urlencode "query=$1" || {
    _say "Prometheus does not answer, or does not take this expression. If it is down, no alert can fire: call the" \
      'platform engineer, and run all_rows every half hour until it is back.'
    return 1
  }
}

query() {
  local answer
  ! _helps query "$@" || return 0
  answer=$(_prometheus "${1-}") || return
  answer=$(printf '%s' "$answer" | jq -r '.data.result[] | "\(.value[1])  \(.metric | tojson)"')
  [ -n "$answer" ] || { _say 'Prometheus answers, and has nothing of this now.'; return; }
  printf '%s\n' "$answer"
}

firing() {
  local answer
  ! _helps firing "$@" || return 0
  answer=$(_prometheus "ALERTS{alertname=~\"VezaLedger.+\", alertstate=\"firing\", stage=~\"|$STAGE\"}") || return
  printf '%s' "$answer" | jq -r '[.data.result[].metric | select(.severity != "none")
    | "\(.severity)  \(.alertname)  " + ([.check, .phase, .table, .state, .reason | strings] | join(", "))]
    | if . == [] then "No alert fires." else sort[] end'
}

# What curl needs to ask the gateway for the path $1: the file that it reads on standard input.
_gateway_file() {
  local secret
  case $GATEWAY_ASKS in
    password)
      secret=$(printf '%s' "$GATEWAY_SECRET" | jq -Rrs @uri)
      printf 'url = "%s"\n' "${PUSHGATEWAY_URL%%@*}:$secret@${PUSHGATEWAY_URL#*@}$1" ;;
    token) printf 'header = "authorization: Bearer %s"\nurl = "%s"\n' "$GATEWAY_SECRET" "$PUSHGATEWAY_URL$1" ;;
    *) printf 'url = "%s"\n' "$PUSHGATEWAY_URL$1" ;;
  esac
}

# curl of the gateway's path $1, with more arguments for curl.
_gateway() {
  _gateway_file "$1" | curl -sSf -g -m 10 -K - "${@:2}"
}

gateway() {
  ! _helps gateway "$@" || return 0
  if [ -z "$PUSHGATEWAY_URL" ] || { [ -n "$GATEWAY_ASKS" ] && [ -z "$GATEWAY_SECRET" ]; }; then
    _say 'The gateway was not asked, and may be up: this file has no address of it, or you gave no password.'
    return 1
  fi
  _gateway "${1-/-/ready}" || {
    _say 'The gateway does not answer. If it is down, call the platform engineer, who restarts it.'
    return 1
  }
}

# Asks Alertmanager for the path $1, with more arguments for curl.
_alertmanager() {
  [ -n "$ALERTMANAGER_URL" ] || { _say 'This file has no address of Alertmanager.'; return 1; }
  curl -sSf -g -m 10 "$ALERTMANAGER_URL/api/v2/$1" "${@:2}" || {
    _say "Alertmanager does not answer at $ALERTMANAGER_URL: call the platform engineer."
    return 1
  }
}

silence() {
  local span=${1-} alert=${2-} seconds='' given matchers old id hidden
  ! _helps silence "$@" || return 0
  alert=${alert#alertname=}
  case $span in
    *[!0-9hmd]* | [!0-9]* | *[hmd]?*) ;;
    *m) seconds=$((${span%m} * 60)) ;;
    *h) seconds=$((${span%h} * 3600)) ;;
    *d) seconds=$((${span%d} * 86400)) ;;
  esac
  case $seconds,$alert in
    [0-9]*,VezaLedger[A-Z]*) shift 2 ;;
    *) _say 'Nothing is silenced. Say for how long, and which alert: silence 8h VezaLedgerStuckRefunds'; return 1 ;;
  esac
  for given; do
    case $given in
      check=?* | reason=?* | phase=?* | state=?*) ;;
      *) _say "Nothing is silenced: '$given' is none of check=, reason=, phase= and state=."; return 1 ;;
    esac
  done
  case "$seconds,$alert $*" in
    0,* | *check=* | *[!g]' '*) ;;
    *CheckFailing*)
      _say "Nothing is silenced. Which check? silence $span $alert check=stuck_orders"
      return 1 ;;
  esac
  # What these tell of has no stage.
  [ "$alert" = VezaLedgerAlertsFail ] || set -- "stage=$STAGE" "$@"
  matchers=$(printf '%s\n' "alertname=$alert" "$@" | jq -Rnc '[inputs
    | capture("^(?<name>[a-z]+)=(?<value>.*)$") + {isRegex: false, isEqual: true}] | sort_by(.name)')
  # Those of the same alert that this replaces. 0h ends also those about a part of it.
  old=$(_alertmanager silences) || { _say 'No silence is changed.'; return 1; }
  old=$(printf '%s' "$old" | jq -r --argjson ours "$matchers" --argjson all "$seconds" '.[]
    | select(.status.state != "expired")
    | (.matchers | map({name, value, isRegex, isEqual: (.isEqual != false)}) | sort_by(.name)) as $theirs
    | select($theirs == $ours or $all == 0 and $ours - $theirs == []) | .id')
  while read -r id; do
    [ -z "$id" ] || _alertmanager "silence/$id" -X DELETE || return
  done <<<"$old"
  [ "$seconds" = 0 ] || _add_silence "$matchers" "$seconds" 'by on call' || return
  hidden=$(_alertmanager 'alerts?active=false&inhibited=false') || return
  hidden=$(printf '%s' "$hidden" | jq -r --argjson ours "$matchers" '.[].labels | . as $labels
    | select(all($ours[]; ($labels[.name] // "") == .value)) | "  \(.alertname) \(.check // .reason // "")"')
  if [ "$seconds" != 0 ]; then
    printf '%s\n' "Silenced for $span. Of what fires now, this hides:" "${hidden:-  nothing}"
  elif [ -n "$hidden" ]; then
    printf '%s\n' 'Still silenced, by a silence that was made elsewhere:' "$hidden"
  else
    echo 'No alert of this name that fires now is silenced.'
  fi
}

# Silences what the matchers $1 (JSON) match, for $2 seconds, with the comment $3.
_add_silence() {
  jq -nc --argjson matchers "$1" --argjson seconds "$2" --arg comment "$3" '{matchers: $matchers, comment: $comment,
    startsAt: (now | todate), endsAt: (now + $seconds | todate), createdBy: "on call"}' |
    _alertmanager silences -H 'content-type: application/json' --data-binary @- >/dev/null
}

logs() {
  local of=${1-} span=${2-} text=${3-} lines
  ! _helps logs "$@" || return 0
  case $of,$span in
    sampler,[0-9]*[mhd] | receiver,[0-9]*[mhd]) ;;
    *) _say 'Say of which function, and how far back: logs sampler 15m, or logs receiver 1d'; return 1 ;;
  esac
  # 2 says that the log cannot be read, and 1 that it has no such line.
  if [ -n "$AWS_REGION" ]; then
    lines=$(AWS_REGION=$AWS_REGION aws logs tail "/aws/lambda/veza-ledger-metrics-$STAGE-$of" --since "$span" \
      --format short) || {
      _say 'AWS does not show the log. Log in to AWS again. Whoever has no right to it: call the platform engineer.'
      return 2
    }
  elif ! systemctl cat veza-ledger-metrics >/dev/null 2>&1; then
    _say 'The log is on the host of the service, and this is another one: log in there.'
    return 2
  else
    lines=$(journalctl -q -u veza-ledger-metrics --since "-$span" -o short-iso --no-hostname) || {
      _say "Your login may not read the log: it has to be in the group systemd-journal."
      return 2
    }
  fi
  # A time, the message, and the rest of a line.
  lines=$(printf '%s\n' "$lines" | jq -Rr '. as $line
    | (capture("^(?<time>[0-9]\\S+) (?:\\S+\\[[0-9]+\\]: )?(?<rest>.*)$") // {time: "", rest: $line})
    | .time as $time | .rest as $text | (.rest | fromjson? // {}) as $rest
    | (($rest | objects | .message | objects) // $rest)
    | "\($time) " + if type == "object" and .message then "\(.message) \(del(.message, .level) | tojson)"
      else $text end' |
    grep -F -- "$text" | grep .) || {
    _say "Nothing in the log of the last $span${text:+ has: $text}"
    return 1
  }
  printf '%s\n' "$lines"
}

# How many seconds ago the gateway has got the last tick of the stage. Nothing, if it has none.
_gateway_age() {
  gateway /metrics 2>/dev/null | grep '^veza_ledger_sample_timestamp_seconds' |
    if [ -n "$STAGE" ]; then grep "stage=\"$STAGE\""; else grep -v 'stage="[^"]'; fi |
    jq -Rr 'now - (split(" ") | last | tonumber) | floor' | sort -n | head -n 1
}

why_silent() {
  local log code=0 pushed scraped ready=yes alarms
  ! _helps why_silent "$@" || return 0
  log=$(logs sampler 3m 2>&1) || code=$?
  [ $code != 0 ] || log=$(printf '%s\n' "$log" | grep -Ev '^[^ ]+ (rows counted|delivery) ' | tail -n 200)
  pushed=$(_gateway_age)
  scraped="floor(time() - max(last_over_time(veza_ledger_sample_timestamp_seconds{stage=\"$STAGE\"}[1d])))"
  scraped=$(_prometheus "$scraped" 2>/dev/null | jq -r '.data.result[].value[1]') || ready=
  curl -sSf -m 10 "$PROMETHEUS_URL/-/ready" >/dev/null 2>&1 || ready=
  echo "The last tick: on the gateway ${pushed:-none} s ago, in Prometheus ${scraped:-none} s ago."
  if [ -z "$ready" ]; then
    echo 'PROMETHEUS DOES NOT ANSWER, so no alert can fire. Call the platform engineer now.'
  fi
  [ -z "$ALERTMANAGER_URL" ] || curl -sSf -m 10 "$ALERTMANAGER_URL/-/ready" >/dev/null 2>&1 ||
    echo 'ALERTMANAGER DOES NOT ANSWER, so no alert reaches anybody. Call the platform engineer now.'
  if [ -n "$PUSHGATEWAY_URL" ] && ! gateway /-/ready >/dev/null 2>&1; then
    echo 'THE GATEWAY DOES NOT ANSWER. Call the platform engineer now, who restarts it: it may start empty.'
  elif [ -n "$AWS_REGION" ] && [ $code = 2 ]; then
    echo 'The log is unknown:'
  elif [ -z "$AWS_REGION" ] && [ $code != 2 ] && ! systemctl is-active -q veza-ledger-metrics; then
    echo 'THE SERVICE DOES NOT RUN. Call the platform engineer now: systemctl status veza-ledger-metrics says why.'
  elif [ $code = 2 ]; then
    echo 'The log is unknown:'
  elif [ $code = 1 ] || [ -z "$log" ]; then
    echo 'THE SAMPLER DOES NOTHING: its log has no line of the last 3 minutes. Call the platform engineer now.'
  elif [ "${pushed:-999}" -lt 180 ] && [ "${scraped:-999}" -lt 180 ]; then
    echo 'TICKS ARRIVE. The alert ends within 10 minutes, by itself.'
    ! printf '%s\n' "$log" | grep ' tick {' | tail -n 1 | grep -q '":-1[,}]' ||
      echo 'BUT A COUNT IS -1: follow VezaLedgerCheckFailing.'
  elif [ "${pushed:-999}" -lt 180 ]; then
    [ -z "$ready" ] ||
      echo 'PROMETHEUS IS BEHIND THE GATEWAY: it does not scrape it, or its clock is fast. Call the platform engineer.'
  elif printf '%s\n' "$log" | tail -n 5 | grep -q '^[^ ]* tick {'; then
    echo 'TICKS ARE IN THE LOG, AND DO NOT ARRIVE: they go elsewhere, or a clock is slow. Call the platform engineer.'
  else
    echo 'THE TICKS FAIL. Their errors, the newest last:'
    # A Pushgateway refuses metrics that another group has with another type.
    gateway /metrics 2>/dev/null | grep '^veza_' | grep -Ev 'job="veza_(ledger|reconciler)"' | grep -o 'job="[^"]*"' |
      sort -u | sed 's/.*/ANOTHER JOB PUSHES OUR METRICS: &. Its owner has to stop it, and to delete its group./'
  fi
  printf '%s\n' "$log" | tail -n 3 | cut -c1-300
  [ -z "$AWS_REGION" ] || {
    alarms=$(AWS_REGION=$AWS_REGION aws cloudwatch describe-alarms --alarm-name-prefix "veza-ledger-metrics-$STAGE" \
      --state-value ALARM --query 'MetricAlarms[].AlarmName' --output text) && [ -z "$alarms" ] ||
      echo "Alarms of CloudWatch that have gone off: $alarms"
  }
}

samplers() {
  local answer
  ! _helps samplers "$@" || return 0
  answer='veza_ledger_(sampler_info|other_sampler_timestamp_seconds)'
  answer=$(_prometheus "last_over_time({__name__=~\"$answer\", stage=\"$STAGE\"}[20m])") || return
  printf '%s' "$answer" | jq -r '[.data.result[].metric | {database, region: (.region // "")}] | unique
    | if length == 0 then "No sampler has counted in the last 20 minutes."
      elif length == 1 then "One sampler alone: the database \(.[0].database) \(.[0].region)"
      else "\(length) SAMPLERS of one stage, which overwrite each other:",
        (.[] | "  the database \(.database) \(.region)") end'
}

why_failing() {
  local lines
  ! _helps why_failing "$@" || return 0
  lines=$(logs sampler 15m 'check failed') || return
  printf '%s\n' "$lines" | sed 's/^[^{]*//' | jq -rRs '[split("\n")[] | fromjson?]
    | (group_by([.code, .reason]) | sort_by(length)[]
      | "\(length) times, of \([.[].check] | unique | join(", ")): \(.[0].code // "no code") \(.[0].reason)"),
    if any(.code == "ECONNREFUSED" or .code == "ENOTFOUND" or .code == "CONNECT_TIMEOUT"
      or (.reason | contains("no answer within")))
    then "THE SAMPLER DOES NOT REACH POSTGRES. Call the platform engineer now." else empty end'
}

why_alerts_fail() {
  local answer
  ! _helps why_alerts_fail "$@" || return 0
  answer=$(curl -sSf -m 10 "$PROMETHEUS_URL/api/v1/rules") || {
    _say 'Prometheus does not answer: no alert can fire. Call the platform engineer now.'
    return 1
  }
  echo 'Rules that fail:'
  printf '%s' "$answer" | jq -r '.data.groups[].rules[] | select(.health == "err") | "  \(.name): \(.lastError)"'
  echo 'Notifications that failed in the last hour, by integration:'
  query 'increase(alertmanager_notification_requests_failed_total[1h]) > 0' 2>/dev/null
  echo 'Alerts that Prometheus could not send in the last hour, by Alertmanager:'
  query 'increase(prometheus_notifications_errors_total[1h]) > 0' 2>/dev/null
  [ -z "$ALERTMANAGER_URL" ] || curl -sSf -m 10 "$ALERTMANAGER_URL/-/ready" >/dev/null 2>&1 ||
    echo 'ALERTMANAGER DOES NOT ANSWER.'
}

why_lost() {
  ! _helps why_lost "$@" || return 0
  _ready || return
  echo 'How many counters are held, as Prometheus has it:'
  query "max(veza_reconciler_counters_held{stage=\"$STAGE\"})" | cut -d ' ' -f 1
  echo 'Which, and by how many events; by how many seconds for _seconds_sum:'
  logs sampler 15m 'counters held' | tail -n 1
  _psql <<'END'
\echo 'Postgres:'
select to_char(pg_postmaster_start_time(), 'YYYY-MM-DD HH24:MI TZ') as "started",
  to_char(min(received_at), 'YYYY-MM-DD HH24:MI') as "first delivery of 14 days",
  to_char(max(received_at), 'YYYY-MM-DD HH24:MI') as "last delivery",
  to_regclass('public.ledger_metrics_outbox') is not null as "the outbox is here too"
from ledger_metrics.deliveries;
END
}

# --- By day: corrections

# Asks for the login that counts events, which may change ledger_metrics alone: sets as_url and as_password, which its
# caller has declared.
_as_receiver() {
  local login=veza_ledger host
  [ -z "$AWS_REGION" ] || login=veza_ledger_receiver
  as_url=${DATABASE_URL/veza_ledger_oncall@/$login@}
  as_password=$(_secret "Password of $login${AWS_REGION:+, empty to log in with IAM}")
  if [ -n "$AWS_REGION" ] && [ -z "$as_password" ]; then
    host=${DATABASE_URL#*@} host=${host%%/*}
    as_password=$(aws rds generate-db-auth-token --region "$AWS_REGION" --hostname "${host%:*}" \
      --port "$(case $host in *:*) echo "${host##*:}" ;; *) echo 5432 ;; esac)" --username "$login") || return
  fi
}

# Runs the SQL of standard input in a transaction, as the receiver. With $1 now, it holds the lock of publishers, and
# commits only once the gateway has deleted the counters of the stage: so no function pushes the higher values again.
_correct() {
  local now=$1
  shift
  {
    echo 'begin; set local role veza_ledger_receiver; set local search_path = pg_catalog, pg_temp;'
    [ -z "$now" ] || echo 'lock table ledger_metrics.publisher in exclusive mode;'
    cat
    if [ -z "$now" ]; then
      echo 'commit;'
    else
      cat <<'END'
\set deleted `echo "$GATEWAY_FILE" | curl -sS -g -m 10 -K - -o /dev/null -w '%{http_code}' -X DELETE | grep -c 202`
\if :deleted
  commit;
  \echo 'The counters on the gateway are deleted. The next tick fills them in again.'
\else
  rollback;
  \echo 'Nothing is changed: the gateway has not deleted them.'
\endif
END
    fi
  } | GATEWAY_FILE=$(_gateway_file "/metrics/job/veza_reconciler${STAGE:+/stage/$STAGE}") _psql "$@"
}

# Whether the gateway has counters of the stage. Prints when they were pushed last.
_has_counters() {
  gateway /metrics | grep "^push_time_seconds.*job=\"veza_reconciler\"${STAGE:+,stage=\"$STAGE\"}}" |
    jq -Rr '"Their last push to the gateway was \(now - (split(" ") | last | tonumber) | floor) s ago."' | grep . || {
    _say "Nothing is changed: the gateway has no counters of the stage '$STAGE', or the next tick has yet to come."
    return 1
  }
}

drop_group() {
  local as_url='' as_password
  ! _helps drop_group "$@" || return 0
  _ready && _has_counters && _confirmed 'if the gateway shows more than was ever counted' && _as_receiver || return
  _correct now </dev/null
}

takeback() {
  local id=${1-} kind='' number='' now='' counted as_url='' as_password
  ! _helps takeback "$@" || return 0
  [ -n "$id" ] || { _say 'Nothing is taken back. Say which delivery: sweeps lists the last.'; return 1; }
  shift
  while [ $# -gt 0 ]; do
    case $1 in
      now) now=now ;;
      [0-9]*) number=$1 ;;
      *) kind=$1 ;;
    esac
    shift
  done
  _ready || return
  counted=$(echo "select format('%s has counted: %s', id, words) from ledger_metrics.deliveries where id = :'id';" |
    _psql -At -v id="$id") || return
  [ -n "$counted" ] || { _say "Nothing is taken back: no delivery of the last 14 days has the id $id."; return 1; }
  [ -z "$now" ] || _has_counters || return
  echo "$counted"
  _confirmed "to take back ${number:+$number }${kind:-all} of this" && _as_receiver || return
  _correct "$now" -v id="$id" -v kind="$kind" -v number="$number" \
    -v change="$(if [ -n "$now" ]; then echo 'value = value -'; else echo 'ahead = ahead +'; fi)" \
    -v column="$(if [ -n "$now" ]; then echo value; else echo ahead; fi)" <<'END' || {
with wrong as (
  select words, substring(words from '([^ ]+) sweep second')::numeric as seconds from ledger_metrics.deliveries
  where id = :'id'
), counted as (
  select 'action ' || (labels ->> 'phase') as kind, name, labels,
    substring(words from '(\d+) actions? ' || (labels ->> 'phase') || '(?:,|$)')::numeric as number
  from wrong, ledger_metrics.totals where name = 'veza_reconciler_actions_total'
  union all
  select 'orphan refund', name, labels, substring(words from '(\d+) orphan refund')::numeric
  from wrong, ledger_metrics.totals where name = 'veza_reconciler_orphan_refunds_total'
  union all
  -- The buckets of several sweeps are not known.
  select 'sweep', name, labels, case when name like '%\_sum' then seconds else 1 end
  from wrong, ledger_metrics.totals where words ~ '\m1 sweep(,|$)'
    and (name in ('veza_reconciler_sweep_duration_seconds_sum', 'veza_reconciler_sweep_duration_seconds_count')
      or name = 'veza_reconciler_sweep_duration_seconds_bucket'
        and (labels ->> 'le' = '+Inf' or (labels ->> 'le')::numeric >= seconds))
), chosen as (
  select kind, name, labels, coalesce(given, number) as number
  from counted, (select nullif(:'number', '')::numeric) as asked (given)
  where number > 0 and :'kind' in ('', kind)
    and (given is null or kind <> 'sweep' and given between 1 and number)
), changed as (
  update ledger_metrics.totals as total set :change chosen.number from chosen
  where total.name = chosen.name and total.labels = chosen.labels
  returning kind, chosen.number
)
-- Once for each delivery and kind: a second time, this id is there.
insert into ledger_metrics.deliveries (id, digest, words)
  select kind || ' of ' || :'id', '', 'taken back' from changed group by kind
  returning id as "taken back";
\if :ROW_COUNT
\else
\echo 'Nothing is taken back: it has counted no such event, or not so many.'
\endif
END
    _say 'Nothing is taken back: the line above says why. After "duplicate key", it was taken back before.'
    return 1
  }
}

resend() {
  local login as_url as_password
  ! _helps resend "$@" || return 0
  [ -n "${1-}" ] || { _say "Nothing is sent again. Say since when: resend '2026-01-31 12:00Z'"; return 1; }
  login=$(_line 'Login of the backend that sends, or a URL without password if its outbox is in another database')
  case $login in
    *://*) as_url=$login ;;
    *) as_url=${DATABASE_URL/veza_ledger_oncall@/$login@} ;;
  esac
  as_password=$(_secret 'Its password')
  _psql -v since="$1" <<'END'
update public.ledger_metrics_outbox set sent_at = null, claimed_until = null, attempts = 0, next_attempt_at = now()
where (sent_at >= :'since' and first_sent_at > now() - interval '13 days') or claimed_until is not null
returning id as "sent again";
END
}

retire() {
  local stage=${1-} pushed before after matchers
  ! _helps retire "$@" || return 0
  [ $# = 1 ] || { _say "Nothing is done. Which stage? retire staging, or retire '' if it has no name"; return 1; }
  if [ -n "$PUSHGATEWAY_URL" ]; then
    pushed="^push_time_seconds.*job=\"veza_(ledger|reconciler)\"${stage:+,stage=\"$stage\"}}"
    before=$(gateway /metrics) || return
    before=$(printf '%s\n' "$before" | grep -E "$pushed") || {
      _say "Nothing is done: the gateway has no stage '$stage'."
      return 1
    }
    echo 'This watches the gateway for 2 minutes.'
    sleep 120
    after=$(gateway /metrics) || return
    after=$(printf '%s\n' "$after" | grep -E "$pushed")
    if [ "$after" != "$before" ]; then
      _say 'Nothing is done: a function still pushes to this stage. Remove it first.'
      return 1
    fi
    printf '%s\n' "$after" | jq -Rr 'split(" ") | "Pushed last \(now - (last | tonumber) | floor) s ago."'
  fi
  _confirmed "if the stage '$stage' is retired, and not only down" || return
  if [ -n "$PUSHGATEWAY_URL" ]; then
    _gateway "/metrics/job/veza_ledger${stage:+/stage/$stage}" -X DELETE &&
      _gateway "/metrics/job/veza_reconciler${stage:+/stage/$stage}" -X DELETE || return
  fi
  matchers=$(jq -nc --arg stage "$stage" '[{name: "alertname", value: "VezaLedger.+", isRegex: true, isEqual: true},
    {name: "stage", value: $stage, isRegex: false, isEqual: true}]')
  _add_silence "$matchers" $((25 * 3600)) "the stage $stage was retired" || return
  echo 'Its alerts end by themselves, and are silenced for 25 hours. The ticket of orphan refunds can last for 3 days.'
}

retire_phase() {
  local as_url='' as_password
  ! _helps retire_phase "$@" || return 0
  [ -n "${1-}" ] || { _say 'Nothing is done. Which phase? retire_phase stuck_orders'; return 1; }
  _ready && _as_receiver || return
  _correct '' -v phase="$1" <<'END'
update ledger_metrics.totals set value = 0 where name = 'veza_reconciler_phase_last_run_timestamp_seconds'
  and labels = jsonb_build_object('phase', :'phase')
returning labels ->> 'phase' as "forgotten until a sweep names it again";
END
}

# --- What this file asks for, once it is loaded

if [ -z "${DATABASE_URL-}" ]; then
  _say 'This file has no addresses. Write that of your stage with ./setup oncall, or deploy/aws.sh oncall STAGE.'
else
  LEDGER_PASSWORD=$(_secret "Password of veza_ledger_oncall${STAGE:+, stage $STAGE}")
  HYPERSWITCH_API_KEY=$(_secret 'API key of Hyperswitch, if you have one')
  GATEWAY_SECRET=
  [ -z "$GATEWAY_ASKS" ] || GATEWAY_SECRET=$(_secret "The gateway's $GATEWAY_ASKS, if you have it")
  [ -z "$PGSSLROOTCERT" ] || [ -r "$PGSSLROOTCERT" ] ||
    _say "Postgres cannot be verified: $PGSSLROOTCERT is not here. For RDS, this gets it:" \
      "curl -sSfo '$PGSSLROOTCERT' https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem"
  for _needed in psql curl jq awk; do
    command -v $_needed >/dev/null || _say "$_needed is missing here: install it, and trust no answer without it."
  done
  echo 'help lists the commands.'
fi
