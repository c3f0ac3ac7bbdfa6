# How the service leaves this host: to another one, or for good.
# shellcheck shell=bash disable=SC2154,SC2015 # Names and paths are set by the files beside this one.

# ./setup move. The settings leave, too: without them, no ./setup here starts a second sampler with the same login.
move_away() {
  [ -e "$settings" ] && [ -e "$names" ] || stop "There is nothing to move: $settings or $names is missing."
  (umask 077 && tar -cf "$moved.new" -C /etc "${names##*/}" "${settings##*/}") && tar -tf "$moved.new" >/dev/null &&
    mv "$moved.new" "$moved" || { rm -f "$moved.new" && stop "$moved cannot be written. The service runs on."; }
  systemctl disable --now veza-ledger-metrics || stop "The service was not stopped: the lines above say why."
  rm -f "$settings"*
  echo "The service is stopped. Its names, its password and its secret are in $moved."
  echo "Copy this file and the archive to the other host. There, unpack the archive in /opt, and run ./setup FILE."
  echo "To stay here after all: ./setup $moved"
}

# ./setup FILE
move_here() {
  [ ! -e "$settings" ] || stop "This host has $settings already. Delete it first, if no service uses it."
  [ "$(tar -tf "$1" 2>/dev/null | paste -sd' ')" = "${names##*/} ${settings##*/}" ] ||
    stop "$1 is not of ./setup move, or is cut off. Nothing was changed."
  if [ -e "$names" ]; then
    echo "Kept: $names"
  else
    tar -xOf "$1" "${names##*/}" | put "$names" 600 || exit
  fi
  rm -f "$settings.next"
  tar -xOf "$1" "${settings##*/}" | put "$settings" 600 || exit
  echo "Here now: the names, the password and the secret of $1."
}

# Whether this host has settings, which the service may not have come to use.
has_settings() { [ -e "$settings" ] || [ -e "$settings.next" ]; }

# ./setup remove
remove_all() {
  local site
  ! has_settings || read_names names-to-leave
  agreed "Stop the service, and remove its rules, unit, site, settings, names, what ./setup move wrote here, and all \
versions in /opt?" || stop "Nothing was removed."
  rm -f "$rules" # First, so that nothing pages.
  systemctl reload prometheus 2>/dev/null || say "Reload your Prometheus, if it has the rules."
  systemctl disable --quiet --now veza-ledger-metrics 2>/dev/null
  rm -rf "$unit"* && systemctl daemon-reload
  for site in $sites; do [ ! -e "$site" ] || { rm "$site" && nginx -tq && systemctl reload nginx; }; done
  rm -f "$hook"
  if has_settings; then
    bin/veza-ledger-metrics host delete-groups
    remove_database
  else
    say "The database stays: there are no settings here, as after ./setup move."
  fi
  remove_servers || stop "These servers stay: apt-get's lines above say why. Then run ./setup remove again."
  rm -rf "$settings"* "$names"* "$moved" "$link" "$link".* "$link"-*
  echo "Removed. What you added elsewhere is in docs/removal.md."
}

remove_database() {
  local administrator
  agreed "Drop the schema ledger_metrics in $database WITH ITS TOTALS, and the logins?" || {
    say "Kept: the schema and the logins in $database."
    return
  }
  ask_password administrator "$admin"
  psql_as "$administrator" "$admin_url" -f config/postgres/uninstall.sql ||
    stop "The database stays as it was: psql's lines above say why. Then run ./setup remove again."
}
