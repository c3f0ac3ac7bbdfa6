# The steps of ./setup, in their order. Each returns 1 where it fails, and has said what helps.
# shellcheck shell=bash disable=SC2154,SC2034,SC2015 # Names are set by names.sh.

settings=/etc/veza-ledger-metrics.env
moved=/root/veza-ledger-metrics.moved
link=/opt/veza-ledger-metrics
unit=/etc/systemd/system/veza-ledger-metrics.service
site=/etc/nginx/conf.d/veza-ledger-metrics.conf
hook=/etc/letsencrypt/renewal-hooks/deploy/veza-ledger-metrics
rules=/etc/prometheus/veza-ledger-metrics.yml
route=/etc/prometheus/alertmanager.yml
todo=() # Sentences for the end.
made=   # Whether this run has made the settings.

# ./setup look
look_first() {
  local PGPASSWORD
  ask_password PGPASSWORD "$reader"
  PGPASSWORD=$PGPASSWORD LEDGER_TIMEZONE=$timezone bin/veza-ledger-metrics doctor "postgres://$reader@$database" \
    --schema "$schema" || exit
  echo "Nothing was written. When you understand each line: ./setup"
}

# Whether nginx is to be here, in front of the service.
has_site() { [ -n "$name" ] && [ -n "$certificate" ]; }

# Whether a server, $1, is one of those that belong on this host.
serves() { [[ " $servers " == *" $1 "* ]]; }

# The programs that are used here and by people on call.
install_programs() {
  local each missing=() packages=()
  # A program may be here, and not work. What cannot be mended may be somebody else's, and is no reason to stop.
  mend_packages || say "Some packages of this host are half installed: the lines above say which."
  [ -e /etc/ssl/certs/ca-certificates.crt ] || ! command -v apt-get >/dev/null || packages+=(ca-certificates)
  for each in curl:curl ss:iproute2 jq:jq openssl:openssl psql:postgresql-client nginx:nginx; do
    [ "$each" != nginx:nginx ] || has_site || continue
    type "${each%:*}" >/dev/null 2>&1 || { missing+=("${each%:*}") && packages+=("${each#*:}"); }
  done
  if [ ${#packages[@]} = 0 ]; then
    say "All are here."
  elif ! command -v apt-get >/dev/null; then
    say "Install these, since there is no apt-get: ${missing[*]}"
    return 1
  else
    say "Installs: ${packages[*]}"
    export NODE_EXTRA_CA_CERTS=$ca
    get_packages --no-upgrade "${packages[@]}"
  fi
}

# The servers of the names.
servers_of_names() {
  if [ -z "$servers" ]; then
    say "None: your names have no servers for this host."
  else
    # Each is a word.
    # shellcheck disable=SC2086
    install_servers $servers
  fi
}

# The value of a setting, $1, or nothing. Runs nothing of the file.
setting() {
  local value
  value=$(sed -n "s/^$1=//p" "$settings" | tail -n 1)
  case $value in \'*\' | \"*\") value=${value:1:-1} ;; esac
  printf %s "$value"
}

# What the names say of a setting, $1.
wanted() {
  case $1 in
    DATABASE_URL) echo "$database" ;;
    LEDGER_SCHEMA) echo "$schema" ;;
    LEDGER_TIMEZONE) echo "$timezone" ;;
    PUSHGATEWAY_URL) echo "$gateway" ;;
    PUSHGATEWAY_TOKEN) echo "$token" ;;
    NODE_EXTRA_CA_CERTS) echo "$ca" ;;
    STAGE) echo "$stage" ;;
    PORT) echo "$port" ;;
  esac
}
from_names=(LEDGER_SCHEMA LEDGER_TIMEZONE PUSHGATEWAY_URL PUSHGATEWAY_TOKEN NODE_EXTRA_CA_CERTS STAGE PORT)

# The settings' lines for these, as in the names; none for what is empty.
lines_of() {
  local each
  for each; do [ -z "$(wanted "$each")" ] || echo "$each='$(wanted "$each")'"; done
}

# The service's settings. Those that are there are kept; where the names differ, it asks.
write_settings() {
  local each login password secret different=() was
  put_settings_back # Of a run that was killed.
  if [ ! -e "$settings" ]; then
    [ ! -e "$moved" ] || {
      say "The service has moved: its settings are in $moved. To have it here again: ./setup $moved"
      say "To begin anew here, delete that file."
      return 1
    }
    password=$(openssl rand -hex 24) && secret=$(openssl rand -base64 32) || return
    { echo "DATABASE_URL='postgres://veza_ledger:$password@$database'" &&
      lines_of "${from_names[@]}" && echo "WEBHOOK_SECRET='whsec_$secret'"; } | put "$settings" 600 || return
    made=yes
    say "Made: $settings, with a new password and secret."
    return
  fi
  chmod 600 "$settings"
  was=$(setting DATABASE_URL)
  login=${was%%@*}
  [[ $was =~ ^postgres(ql)?://veza_ledger:[^@/]+@[^@]+$ ]] || {
    say "DATABASE_URL in $settings has to be postgres://veza_ledger:PASSWORD@$database. Correct it there."
    return 1
  }
  for each in DATABASE_URL "${from_names[@]}"; do
    was=$(setting "$each")
    was=${was#"$login@"}
    [ "$was" != "$(wanted "$each")" ] || continue
    different+=("$each")
    case $each in
      PUSHGATEWAY_TOKEN) say "$each in $settings is not your token." ;;
      *) say "$each in $settings is ${was:-empty}. Your names have: $(wanted "$each")" | sed 's|//[^@/ ]*@|//|g' ;;
    esac
  done
  if [ ${#different[@]} = 0 ]; then
    say "Kept: $settings"
    return
  fi
  agreed "Write your names into the settings?" || {
    say "Nothing was changed. Correct $names by ./setup names."
    return 1
  }
  [ ! -e "$link" ] || ln "$settings" "$settings.before" || return
  { grep -vE "^($(paste -sd'|' < <(printf '%s\n' "${different[@]}")))=" "$settings"
    [[ " ${different[*]} " != *" DATABASE_URL "* ]] || echo "DATABASE_URL='$login@$database'"
    lines_of "${different[@]/DATABASE_URL/}"; } | put "$settings" 600 && say "Changed: ${different[*]}"
}

# Takes back what write_settings has changed under a running service, unless that has come to use it.
put_settings_back() {
  [ ! -e "$settings.before" ] || { mv "$settings.before" "$settings" && say "Put back: $settings, as it was before"; }
}

# The service's password, as Postgres knows it.
service_password() {
  local encoded
  encoded=$(setting DATABASE_URL)
  encoded=${encoded#*://veza_ledger:}
  encoded=${encoded%%@*}
  printf %b "${encoded//%/\\x}"
}

# Runs psql with a password, $1, as a login, $2.
psql_as() {
  local PGPASSWORD=$1 login=$2
  shift 2
  PGPASSWORD=$PGPASSWORD psql -Xqw -v ON_ERROR_STOP=1 "$@" "postgres://$login@$database"
}

# Whether the service can log in with the password of its settings.
fits() { psql_as "$(service_password)" veza_ledger -c "" 2>/dev/null; }

# The schema and its logins. A password that somebody may be using stays as it is.
install_database() {
  local administrator newer there
  newer=$(printf '%s\n' /opt/veza-ledger-metrics-* "$folder" | sort -V | tail -n 1)
  if [ "$newer" != "$folder" ] && fits; then
    say "Kept as it is: this version runs on the schema of $newer, too."
    return
  fi
  ask_password administrator "$admin, who installs; Enter alone keeps the database as it is"
  if [ -z "$administrator" ] && fits; then
    say "Kept as it is."
    return
  fi
  there=$(psql_as "$administrator" "$admin" -Atc \
    "select 1 from pg_catalog.pg_roles where rolname operator(pg_catalog.=) 'veza_ledger'") || {
    say "psql cannot log in as $admin: its line above says why. If your names are wrong: ./setup names"
    return 1
  }
  if [ -n "$there" ] && ! fits; then
    say "Postgres has the login veza_ledger, with another password than $settings."
    say "If a host runs the service with it, run ./setup move there, and ./setup FILE here."
    agreed "Is the password in use nowhere else? Then it is changed to the one here." || {
      # ./setup FILE would not write its own over these.
      [ -z "$made" ] || { rm "$settings" && say "Taken back: $settings"; }
      return 1
    }
  fi
  psql_as "$administrator" "$admin" -v schema="$schema" -v timezone="$timezone" \
    -f config/postgres/install.sql || {
    say "The database stays as it was: psql's lines above say why."
    return 1
  }
  fits && return
  change_password || return
  say "veza_ledger has the password of $settings."
}

# Gives veza_ledger its password. psql sends only what Postgres stores of it. Without a terminal, it reads from stdin.
change_password() {
  local said password
  password=$(service_password)
  said=$(printf '%s\n%s\n' "$password" "$password" | PGPASSWORD=$administrator setsid -w \
    psql -Xqw -c '\password veza_ledger' "postgres://$admin@$database" 2>&1)
  fits && return
  say "veza_ledger cannot log in with the password of $settings: $said $(psql_as "$password" veza_ledger -c "" 2>&1)"
  return 1
}

# Tries the settings as the service will use them: as a user without rights on this host.
look_again() {
  systemd-run -qGPd --wait -p DynamicUser=yes -p ProtectHome=yes -p EnvironmentFile="$settings" \
    "$folder/bin/veza-ledger-metrics" doctor && return
  say "Each ✗ has its remedy below it. Where that is \`as LOGIN: SQL;\`, run this, and paste what follows the colon:"
  say "  PGSSLMODE=$PGSSLMODE PGSSLROOTCERT=$ca psql 'postgres://LOGIN@$database'"
  return 1
}

# Makes the version of this folder the service. If it does not answer within 20 s, the version before runs again.
use_version() {
  local old where taken
  old=$(readlink $link)
  taken=$(ss -Htlnp "sport = :${port:-8080}" | grep -v "pid=$(systemctl show -P MainPID veza-ledger-metrics),")
  if [ -n "$taken" ]; then
    say "Another program has port ${port:-8080}: ${taken##* }. Write a free one into port: ./setup names"
    return 1
  fi
  if [ -e "$unit" ] && ! cmp -s "$unit" "$old/config/systemd/veza-ledger-metrics.service"; then
    cp -p "$unit" "$unit.before" || return
    say "Replaced: $unit, which was not as its version had it. A copy is in $unit.before."
    say "Make changes by: systemctl edit veza-ledger-metrics"
  fi
  if where=$(start_version "$folder"); then
    rm -f "$settings.before"
    say "Runs: $folder, at $where"
    [ -z "$old" ] || [ "$old" = "$folder" ] || say "The way back: $old/setup"
    first_tick
    return
  fi
  say "It does not answer: $folder. The end of its log:"
  journalctl -u veza-ledger-metrics -n 6 -o cat --no-pager
  if [ "$old" = "$folder" ] && [ ! -e "$settings.before" ]; then
    say "Nothing answers. systemd keeps trying this version."
  elif [ ! -d "$old" ]; then
    systemctl disable --quiet --now veza-ledger-metrics
    rm -f "$link" "$unit"
    systemctl daemon-reload
    say "Nothing runs: there is no version before. The service is stopped."
  elif put_settings_back && where=$(start_version "$old"); then
    say "Runs: $old, at $where, as before"
  else
    say "Nothing answers: neither does the version before. systemd keeps trying it: $old"
  fi
  return 1
}

# Starts the version in a folder, $1. Prints where it answers; fails if it does not.
start_version() {
  cp "$1/config/systemd/veza-ledger-metrics.service" "$unit.next" && ln -sfn "$1" "$link.next" &&
    mv "$unit.next" "$unit" && mv -T "$link.next" "$link" || { rm -f "$unit.next" "$link.next" && return 1; }
  systemctl daemon-reload && systemctl enable --quiet veza-ledger-metrics &&
    systemctl restart veza-ledger-metrics || return
  for _ in {1..20}; do
    answers "$1" && return
    sleep 1
  done
  return 1
}

# Prints where the service answers, if its process is of the version in a folder, $1.
answers() {
  local pid address
  pid=$(systemctl show -P MainPID veza-ledger-metrics)
  [ "$(readlink "/proc/$pid/cwd")" = "$1" ] || return
  address=$(ss -Htlnp | awk -v pid="pid=$pid," 'index($0, pid) { print $4 }' | sed 's/^\*:/localhost:/')
  [ -n "$address" ] && curl -sf -m 2 "http://$address/-/healthy" && echo "http://$address"
}

# Waits for the first counts of the service, and prints them.
first_tick() {
  local id tick
  id=$(systemctl show -P InvocationID veza-ledger-metrics)
  for _ in {1..90}; do
    tick=$(journalctl -qo cat "_SYSTEMD_INVOCATION_ID=$id" | grep -m 1 '"message":"tick"') && break
    sleep 1
  done
  say "${tick:-It has not counted within 90 s.}"
  [[ -n $tick && $tick != *":-1"* ]] && return
  say "Its log says why: journalctl -n 20 -u veza-ledger-metrics"
  return 1
}

# Lets a reconciler on another host in, by nginx, and sends a delivery that counts nothing.
open_receiver() {
  if has_site; then
    write_site || return
  else
    say "No nginx: the reconciler is on this host, or another web server passes deliveries on."
  fi
  # The name's certificate may be of an authority that this system trusts, and `ca` is of Postgres.
  WEBHOOK_SECRET=$(setting WEBHOOK_SECRET) RECEIVER_URL=$(receiver_url) NODE_USE_SYSTEM_CA=1 \
    bin/veza-ledger-metrics send ping && return
  say "If there was no answer, the cause is in DNS, a firewall, the web server or the certificate."
  return 1
}

receiver_url() {
  if [ -n "$name" ]; then echo "https://$name/"; else echo "http://127.0.0.1:${port:-8080}/"; fi
}

write_site() {
  local problems=0 other line
  check_certificate
  [ $problems = 0 ] || return
  other=$(ss -Htlnp "sport = :443" | grep -v '"nginx"')
  if [ -n "$other" ]; then
    say "Another program has port 443: ${other##* }. If it can pass deliveries on, leave certificate and key empty."
    return 1
  fi
  nginx -tq || {
    say "nginx itself has a fault: its lines above say where."
    return 1
  }
  if [ -e "$site" ]; then
    say "Kept: $site"
    while read -r line; do
      say "It has \`$line\`, and your names have another: correct either."
      todo+=("Let $site and your names agree on \`$line\`")
    done < <(comm -23 <(named_lines <"$site") <(site_of_names | named_lines))
    systemctl reload-or-restart nginx || return
  else
    site_of_names | put "$site" 644 || return
    nginx -tq && systemctl reload-or-restart nginx || {
      rm "$site"
      say "nginx does not run with $site, so it is removed again. The lines above say why. If the file"
      say "needs other lines on this host, edit $folder/config/nginx/veza-ledger-metrics.conf first."
      return 1
    }
    say "Made: $site"
  fi
  # After each renewal, nginx reads the certificate again.
  [[ $certificate != /etc/letsencrypt/* ]] ||
    { mkdir -p "${hook%/*}" && printf '#!/bin/sh\nsystemctl reload nginx\n' | put "$hook" 755; }
}

# The site as the names have it.
site_of_names() {
  local without_ipv6=
  [ -e /proc/net/if_inet6 ] || without_ipv6='/\[::\]/d' # nginx would not start with such a line.
  sed "s/ledger-metrics.example.com/$name/; s/:8080/:${port:-8080}/
    s|ssl_certificate .*|ssl_certificate $certificate;|; s|ssl_certificate_key .*|ssl_certificate_key $key;|
    $without_ipv6" config/nginx/veza-ledger-metrics.conf
}

# The lines of a site that have a name in them.
named_lines() { grep -E '^ *(server_name|ssl_certificate|ssl_certificate_key|proxy_pass) ' | sed 's/^ *//' | sort; }

# Writes rules and dashboard, and loads what belongs to the servers here.
load_rules() {
  local links="s|https://repository\.example|$repository|g; s|https://grafana\.example|$grafana|g"
  mkdir -p "${rules%/*}" && sed "$links" config/grafana/ledger.json | put dashboard.json 644 &&
    sed "$links" config/alertmanager/ledger.yml | put "$rules.next" 644 || return
  if command -v promtool >/dev/null && ! promtool check rules "$rules.next" >/dev/null; then
    rm "$rules.next"
    say "Prometheus does not take the rules, as its lines above say. They need Prometheus 2.42 or later."
    return 1
  fi
  mv "$rules.next" "$rules" && say "Written: $rules, and $folder/dashboard.json" || return
  if serves prometheus; then
    promtool check config /etc/prometheus/prometheus.yml >/dev/null && systemctl reload prometheus || {
      say "Prometheus does not take /etc/prometheus/prometheus.yml: correct what its lines above name."
      return 1
    }
    has_loaded_rules || todo+=("Let $prometheus load $rules: $repository/docs/servers-in-use.md#prometheus")
  fi
  if serves prometheus-alertmanager; then
    amtool check-config "$route" >/dev/null && systemctl reload prometheus-alertmanager || {
      say "Alertmanager does not take $route: correct what its lines above name."
      return 1
    }
  fi
}

# Waits until Prometheus shows a rule.
has_loaded_rules() {
  for _ in {1..30}; do
    curl -sSf -m 5 "$prometheus/api/v1/rules" 2>/dev/null | grep VezaLedgerAlive >/dev/null && return
    sleep 1
  done
  return 1
}

# Says what is left to do by hand.
finish() {
  local each
  if serves prometheus-alertmanager; then
    each=$(grep -ns 127.0.0.1:9999 "$route" | cut -d: -f1 | paste -sd' ')
    [ -z "$each" ] ||
      todo+=("Replace the examples in $route, lines $each: its comments say by what. Then: ./setup rules")
    each=$(amtool config routes test --config.file="$route" alertname=VezaLedgerOrphanRefunds severity=page \
      ${stage:+"stage=$stage"} 2>/dev/null)
    say "A page${stage:+ of $stage} goes to: $each"
    [ "$each" != tickets ] || todo+=("If customers pay on $stage, name it beside prod in $route. Then: ./setup rules")
  else
    todo+=("Give Alertmanager the route: $repository/docs/servers-in-use.md#alertmanager")
  fi
  serves prometheus || todo+=("Give Prometheus $rules: $repository/docs/servers-in-use.md#prometheus")
  each=$(ss -Htln "sport = :${port:-8080} or sport = :9090 or sport = :9091 or sport = :9093" |
    awk '$4 !~ /^(127\.|\[::1\])/ { print $4 }' | paste -sd' ')
  [ -z "$each" ] || todo+=("Have a firewall close $each, where no password is asked for, to all who do not need it")
  for each in $(has_site && echo nginx) $servers veza-ledger-metrics; do
    systemctl is-active --quiet "$each" || todo+=("See why $each does not run: systemctl status $each")
  done
  todo+=("Import $folder/dashboard.json into Grafana, with your Prometheus as the data source"
    "Give the payments engineer $(receiver_url) and the secret: grep WEBHOOK_SECRET $settings"
    "See an alert reach your phone: $repository/docs/drill.md"
    "Give people on call their file: ./setup oncall")
  echo "All steps are done. Left to do by hand:"
  printf '  - %s\n' "${todo[@]}"
}

# ./setup oncall
write_on_call_file() {
  # 2: an address does not answer here.
  STAGE=$stage AWS_REGION='' PROMETHEUS_URL=$prometheus ALERTMANAGER_URL=$alertmanager HYPERSWITCH_URL=$hyperswitch \
    PUSHGATEWAY_URL=$gateway PUSHGATEWAY_TOKEN=$token LEDGER_SCHEMA=$schema LEDGER_TIMEZONE=$timezone \
    DATABASE_URL=postgres://veza_ledger_oncall@$database \
    ./node commands/oncall.mjs write-stage "$folder/oncall${stage:+-$stage}.mjs" || [ $? = 2 ] || exit
  echo "To give veza_ledger_oncall a password:"
  say "PGSSLMODE=$PGSSLMODE PGSSLROOTCERT=$ca psql 'postgres://$admin@$database' -c '\password veza_ledger_oncall'"
}
