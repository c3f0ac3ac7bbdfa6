# The steps of ./setup, in their order. Each returns 1 where it fails, and has said what helps.
# shellcheck shell=bash disable=SC2154,SC2034,SC2015 # Names are set by names.sh.

settings=/etc/veza-ledger-metrics.env
moved=/root/veza-ledger-metrics.moved
link=/opt/veza-ledger-metrics
unit=/etc/systemd/system/veza-ledger-metrics.service
hook=/etc/letsencrypt/renewal-hooks/deploy/veza-ledger-metrics
rules=/etc/prometheus/veza-ledger-metrics.yml
route=/etc/prometheus/alertmanager.yml
sites='/etc/nginx/*/zz-veza-ledger-metrics.conf' # The place of the receiver's site, once it is there.
todo=()                                          # Sentences for the end.

# ./setup look
look_first() {
  local PGPASSWORD
  ask_password PGPASSWORD "$reader"
  PGPASSWORD=$PGPASSWORD LEDGER_TIMEZONE=$timezone bin/veza-ledger-metrics doctor "$reader_url" \
    --schema "$schema" || exit
  echo "Nothing was written. When you understand each line: ./setup"
}

# Whether nginx is to be here, in front of the service.
has_site() { [ -n "$name" ] && [ -n "$certificate" ]; }

# Whether a server, $1, is one of those that belong on this host.
serves() { [[ " $servers " == *" $1 "* ]]; }

# The programs that are used here.
install_programs() {
  local each missing=() packages=()
  # A program may be here, and not work. What cannot be mended may be somebody else's, and is no reason to stop.
  mend_packages || say "Some packages of this host are half installed: the lines above say which."
  [ -e /etc/ssl/certs/ca-certificates.crt ] || ! command -v apt-get >/dev/null || packages+=(ca-certificates)
  for each in curl:curl ss:iproute2 openssl:openssl psql:postgresql-client nginx:nginx; do
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

# The settings as the names have them, with the password and the secret that are kept. The service gets them in the step
# of its name, when they were tried: they are beside until then.
write_settings() {
  put_settings_back # Of a run that was killed.
  if [ ! -e "$settings" ] && [ -e "$moved" ]; then
    say "The service has moved: its settings are in $moved. To have it here again: ./setup $moved"
    say "To begin anew here, delete that file."
    return 1
  fi
  [ ! -e "$settings" ] || chmod 600 "$settings" || return
  bin/veza-ledger-metrics host settings
}

# The file of the settings that are to be tried.
tried_settings() { if [ -e "$settings.next" ]; then echo "$settings.next"; else echo "$settings"; fi; }

# Puts the tried settings in their place, and keeps those in use beside until the service has come to use the others.
take_settings() {
  [ -e "$settings.next" ] || return 0
  [ ! -e "$settings" ] || ln "$settings" "$settings.before" || return
  mv "$settings.next" "$settings"
}

# Takes back the settings that the service has not come to use.
put_settings_back() {
  [ ! -e "$settings.before" ] || { mv "$settings.before" "$settings" && say "Put back: $settings, as it was before"; }
}

# Runs psql with a password, $1, and with the address of a login, $2.
psql_as() {
  local password=$1 url=$2
  shift 2
  PGPASSWORD=$password psql -Xqw -v ON_ERROR_STOP=1 "$@" "$url"
}

# Logs in as the service, with the password of its settings.
log_in() { psql_as "$service_password" "$service_url" -c ""; }
fits() { log_in 2>/dev/null; }

# The schema and its logins. A password that somebody may be using stays as it is.
install_database() {
  local administrator newer there service_password
  service_password=$(bin/veza-ledger-metrics host password) || return
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
  there=$(psql_as "$administrator" "$admin_url" -Atc \
    "select 1 from pg_catalog.pg_roles where rolname operator(pg_catalog.=) 'veza_ledger'") || {
    say "psql cannot log in as $admin: its line above says why. If your names are wrong: ./setup names"
    return 1
  }
  if [ -n "$there" ] && ! fits; then
    say "Postgres has the login veza_ledger, with another password than $settings."
    say "If a host runs the service with it, run ./setup move there, and ./setup FILE here."
    agreed "Is the password in use nowhere else? Then it is changed to the one here." || return
  fi
  psql_as "$administrator" "$admin_url" -v schema="$schema" -v timezone="$timezone" \
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
  local said
  said=$(printf '%s\n%s\n' "$service_password" "$service_password" | PGPASSWORD=$administrator setsid -w \
    psql -Xqw -c '\password veza_ledger' "$admin_url" 2>&1)
  fits && return
  say "veza_ledger cannot log in with the password of $settings: $said $(log_in 2>&1)"
  return 1
}

# Tries the settings as the service will use them: as a user without rights on this host.
look_again() {
  systemd-run -qGPd --wait -p DynamicUser=yes -p ProtectHome=yes -p EnvironmentFile="$(tried_settings)" \
    "$folder/bin/veza-ledger-metrics" doctor && return
  say "Each ✗ has its remedy below it. Where that is \`as LOGIN: SQL;\`, run this, and paste what follows the colon:"
  say "  PGSSLMODE=$PGSSLMODE PGSSLROOTCERT=$ca psql 'postgres://LOGIN@$database'"
  return 1
}

# Makes the version of this folder the service. If it does not answer within 20 s, the version before runs again.
use_version() {
  local old where taken
  old=$(readlink $link)
  taken=$(ss -Htlnp "sport = :$port" | grep -v "pid=$(systemctl show -P MainPID veza-ledger-metrics),")
  if [ -n "$taken" ]; then
    say "Another program has port $port: ${taken##* }. Write a free one into port: ./setup names"
    return 1
  fi
  if [ -e "$unit" ] && ! cmp -s "$unit" "$old/config/systemd/veza-ledger-metrics.service"; then
    cp -p "$unit" "$unit.before" || return
    say "Replaced: $unit, which was not as its version had it. A copy is in $unit.before."
    say "Make changes by: systemctl edit veza-ledger-metrics"
  fi
  take_settings || return
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
  local pid address process
  pid=$(systemctl show -P MainPID veza-ledger-metrics)
  [ "$(readlink "/proc/$pid/cwd")" = "$1" ] || return
  while read -r _ _ _ address _ process; do
    [[ $process == *"pid=$pid,"* ]] || continue
    address=http://${address/#\*:/localhost:}
    curl -sf -m 2 "$address/-/healthy" && echo "$address"
    return
  done < <(ss -Htlnp)
  return 1
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
  local said made=
  if has_site; then
    write_site || return
  else
    say "No nginx: the reconciler is on this host, or another web server passes deliveries on."
  fi
  # After a reload, nginx answers by its sites of before for a moment.
  for _ in {1..3}; do
    # The name's certificate may be of an authority that this system trusts, and `ca` is of Postgres.
    said=$(RECEIVER_URL=$(receiver_url) NODE_USE_SYSTEM_CA=1 \
      ./node --env-file="$settings" commands/send.mjs ping 2>&1) && echo "$said" && return
    sleep 1
  done
  echo "$said"
  if [ -n "$made" ] && ! site_answers "$made"; then
    rm "$made" && systemctl reload nginx
    say "Removed again: $made. Something else answers at its addresses, or nothing does."
    return 1
  fi
  say "If there was no answer, the cause is in DNS, a firewall, the web server or the certificate."
  return 1
}

# Whether the receiver answers at the first address of a site, $1. A site that does not get its address keeps nginx from
# its next start. An unsigned request is answered in the receiver's own words.
site_answers() {
  local address
  address=$(sed -n 's/^ *listen \(.*\):443 ssl;/\1/p; s/^ *listen 443 ssl;/127.0.0.1/p' "$1" | head -n 1)
  curl -skm 10 --connect-to "$name:443:${address/#\*/127.0.0.1}:443" -d '' "https://$name/" | grep -q webhook-signature
}

receiver_url() { if [ -n "$name" ]; then echo "https://$name/"; else echo "http://127.0.0.1:$port/"; fi; }

# The receiver's site, which takes nothing from the sites that are here.
write_site() {
  local other site line left
  other=$(ss -Htlnp "sport = :443" | grep -v '"nginx"')
  if [ -n "$other" ]; then
    say "Another program has port 443: ${other##* }. If it can pass deliveries on, leave certificate and key empty."
    return 1
  fi
  nginx -tq || {
    say "nginx itself has a fault: its lines above say where."
    return 1
  }
  for site in $sites; do [ ! -e "$site" ] || break; done
  if [ -e "$site" ]; then
    say "Kept: $site"
    left=$(bin/veza-ledger-metrics host differing "$site") || return
    while read -r line; do [ -z "$line" ] || { say "$line" && todo+=("$line"); }; done <<<"$left"
    systemctl reload-or-restart nginx || return
  else
    site=$(nginx -T 2>/dev/null | bin/veza-ledger-metrics host site) || return
    nginx -tq && systemctl reload-or-restart nginx || {
      rm "$site"
      say "nginx does not run with $site, so it is removed again. The lines above say why. If the file"
      say "needs other lines on this host, edit $folder/config/nginx/veza-ledger-metrics.conf first."
      return 1
    }
    made=$site # For open_receiver.
    say "Made: $site"
  fi
  # After each renewal, nginx reads the certificate again.
  [[ $certificate != /etc/letsencrypt/* ]] ||
    { mkdir -p "${hook%/*}" && printf '#!/bin/sh\nsystemctl reload nginx\n' | put "$hook" 755; }
}

# Writes rules and dashboard, and loads what belongs to the servers here.
load_rules() {
  mkdir -p "${rules%/*}" && bin/veza-ledger-metrics host rules "$rules.next" || return
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
  fi
  if serves prometheus-alertmanager; then
    amtool check-config "$route" >/dev/null && systemctl reload prometheus-alertmanager || {
      say "Alertmanager does not take $route: correct what its lines above name."
      return 1
    }
  fi
}

# Says what is left to do by hand.
finish() {
  local each address ports="sport = :$port or sport = :9090 or sport = :9091 or sport = :9093" open=()
  # An Alertmanager that was here before may be in no name.
  if [ -e "$route" ] && command -v amtool >/dev/null; then
    each=$(amtool config routes test --config.file="$route" alertname=VezaLedgerOrphanRefunds severity=page \
      ${stage:+"stage=$stage"} 2>/dev/null)
    say "A page${stage:+ of $stage} goes to: $each"
    while read -r each; do [ -z "$each" ] || todo+=("$each"); done < <(bin/veza-ledger-metrics host route "$each")
  else
    todo+=("Give Alertmanager the route: $repository/docs/servers-in-use.md#alertmanager")
  fi
  while read -r each; do [ -z "$each" ] || todo+=("$each"); done < <(bin/veza-ledger-metrics host prometheus "$rules")
  # Debian's welcome page.
  ! has_site || [ ! -e /etc/nginx/sites-enabled/default ] || ports+=" or sport = :80"
  while read -r _ _ _ address _; do
    case $address in 127.* | "[::1]":*) ;; *) open+=("$address") ;; esac
  done < <(ss -Htln "$ports")
  [ ${#open[@]} = 0 ] ||
    todo+=("Have a firewall close ${open[*]}, where no password is asked for, to all who do not need it")
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
    DATABASE_URL=$oncall_url \
    ./node commands/oncall.mjs write-stage "$folder/oncall${stage:+-$stage}.mjs" || [ $? = 2 ] || exit
  echo "To give veza_ledger_oncall a password:"
  say "PGSSLMODE=$PGSSLMODE PGSSLROOTCERT=$ca psql '$admin_url' -c '\password veza_ledger_oncall'"
}
