# Debian's Prometheus, Pushgateway and Alertmanager, as far as this host has none. They listen on 127.0.0.1 alone. A
# server that is here stays as it is: its files, its version and its process.
# shellcheck shell=bash disable=SC2154 # Paths are set by the files beside this one.

all_servers=(prometheus prometheus-pushgateway prometheus-alertmanager)

# Installs these. $@: of all_servers.
install_servers() {
  local package found text missing=()
  for package; do
    # From an earlier run, which may have been broken off before or in the middle of the installation.
    if is_from_setup "$package"; then
      if is_installed "$package"; then
        say "Here since an earlier run: $package"
        continue
      fi
    else
      found=$(trace "$package")
      if [ -n "$found" ]; then
        say "Left as it is: $package, since $found. docs/servers-in-use.md says what it needs."
        continue
      fi
    fi
    put_new "/etc/default/$package" <"config/default/$package" || return
    case $package in
      prometheus)
        text=$(<config/prometheus/prometheus.yml)
        put_new /etc/prometheus/prometheus.yml <<<"${text/..\/alertmanager\/ledger.yml/$rules}" || return
        ;;
      prometheus-alertmanager) put_new "$route" <config/alertmanager/alertmanager.yml || return ;;
    esac
    missing+=("$package")
  done
  if [ ${#missing[@]} -gt 0 ]; then
    mend_packages || return
    # The package's own files do not replace those above.
    get_packages -o Dpkg::Options::=--force-confold "${missing[@]}" || return
    say "Installed: ${missing[*]}"
  fi
  # For your receivers' URLs, which are secrets. A file that was here before stays as it is.
  if cmp -s config/alertmanager/alertmanager.yml "$route"; then
    { chgrp prometheus "$route" && chmod 640 "$route"; } || say "Close $route to others, once it has your URLs."
  fi
}

# Whether ./setup has put the flags of a server, $1, here.
is_from_setup() { grep -qs "/setup put it here" "/etc/default/$1"; }

is_installed() {
  dpkg-query -W -f '${db:Status-Status}\n' "$1" 2>/dev/null | grep -qx installed
}

# Says what is here of a server, $1, or nothing.
trace() {
  local port
  case $1 in
    prometheus) port=9090 ;;
    prometheus-pushgateway) port=9091 ;;
    prometheus-alertmanager) port=9093 ;;
  esac
  if is_installed "$1"; then
    echo "the package is installed"
  elif [ -n "$(ss -Htln "sport = :$port")" ]; then
    echo "something listens on port $port"
  elif systemctl cat "$1.service" >/dev/null 2>&1; then
    echo "there is a unit $1.service"
  elif [ -e "/etc/default/$1" ]; then
    echo "there is a file /etc/default/$1. If no $1 is installed, delete it, and run this again"
  fi
}

# Puts stdin into a file, $1, where there is none.
put_new() {
  if [ ! -e "$1" ]; then
    mkdir -p "$(dirname "$1")" && put "$1" 644
  elif ! cmp -s - "$1"; then
    say "Kept: $1 was here before. Add to it what docs/servers-in-use.md says."
  fi
}

# Completes what an installation has left half done: it was broken off, or had no room.
mend_packages() {
  [ -z "$(dpkg --audit 2>/dev/null)" ] || dpkg --configure -a ||
    apt_get install -qy --fix-broken --no-remove --no-install-recommends
}

# Installs packages. A fresh machine has no lists of them.
get_packages() {
  apt_get update -q || say "The lists of packages stay as they are: the lines above say why."
  apt_get install -qy --no-install-recommends "$@"
}

# Runs apt-get, which waits while another program has the packages, as unattended-upgrades does each day: 5 minutes.
apt_get() { apt-get "$1" -o DPkg::Lock::Timeout=300 "${@:2}"; }

# Takes those away that ./setup has installed. Fails where they stay and are not to.
remove_servers() {
  local package ours=()
  for package in "${all_servers[@]}"; do ! is_from_setup "$package" || ours+=("$package"); done
  [ ${#ours[@]} -gt 0 ] &&
    agreed "Remove the servers that ./setup has installed, WITH THEIR HISTORY: ${ours[*]}?" || return 0
  mend_packages && apt_get purge -y "${ours[@]}"
}
