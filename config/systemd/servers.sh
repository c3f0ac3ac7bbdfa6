#!/bin/sh
# Installs Debian's Prometheus, Pushgateway and Alertmanager, or those that are named, as far as this host has none.
# They listen on 127.0.0.1 alone. A server that is here stays as it is: its files, its version and its process.
# ./setup runs it; docs/servers-in-use.md has it for a host that serves AWS.
set -eu
cd "$(dirname "$0")/../.."
[ $# -gt 0 ] || set -- prometheus prometheus-pushgateway prometheus-alertmanager

is_installed() {
  dpkg-query -W -f '${db:Status-Status}\n' "$1" 2>/dev/null | grep -qx installed
}

# Says what is here of a server, or nothing. $1: the package, $2: its port.
trace() {
  if is_installed "$1"; then
    echo "the package is installed"
  elif [ -n "$(ss -Htln "sport = :$2")" ]; then
    echo "something listens on port $2"
  elif systemctl cat "$1.service" >/dev/null 2>&1; then
    echo "there is a unit $1.service"
  elif [ -e "/etc/default/$1" ]; then
    echo "there is a file /etc/default/$1. If no $1 is installed, delete it, and run this again"
  fi
}

# Puts stdin into a file, $1, where there is none: all of it or nothing.
put() {
  if [ -e "$1" ]; then
    cmp -s - "$1" || echo "Kept: $1 was here before. Add to it what docs/servers-in-use.md says."
  elif ! { install -D -m 644 /dev/stdin "$1.new" && mv "$1.new" "$1"; }; then
    rm -f "$1.new"
    return 1
  fi
}

new=
for package; do
  case $package in
    prometheus) port=9090 ;;
    prometheus-pushgateway) port=9091 ;;
    prometheus-alertmanager) port=9093 ;;
    *)
      echo "usage: servers.sh [prometheus] [prometheus-pushgateway] [prometheus-alertmanager]" >&2
      exit 2
      ;;
  esac
  # From an earlier run, which may have been broken off before or in the middle of the installation.
  if grep -qs "servers.sh put it here" "/etc/default/$package"; then
    if is_installed "$package"; then
      echo "Here since an earlier run: $package"
      continue
    fi
  else
    found=$(trace "$package" $port)
    if [ -n "$found" ]; then
      echo "Left as it is: $package, since $found. docs/servers-in-use.md says what it needs."
      continue
    fi
  fi
  put "/etc/default/$package" <"config/default/$package"
  case $package in
    prometheus)
      sed 's|\.\./alertmanager/ledger\.yml|/etc/prometheus/veza-ledger-metrics.yml|' config/prometheus/prometheus.yml |
        put /etc/prometheus/prometheus.yml
      ;;
    prometheus-alertmanager)
      put /etc/prometheus/alertmanager.yml <config/alertmanager/alertmanager.yml
      ;;
  esac
  new="$new $package"
done
if [ -n "$new" ]; then
  export DEBIAN_FRONTEND=noninteractive
  # The package's own files do not replace those above.
  install="apt-get install -qy --no-install-recommends -o Dpkg::Options::=--force-confold"
  # An earlier installation may have been broken off, or had no room. These are words.
  # shellcheck disable=SC2086
  dpkg --configure -a || $install --fix-broken --no-remove
  # A fresh machine has no lists of packages.
  # shellcheck disable=SC2086
  { apt-get update -q || true; } && $install $new
fi
# For your receivers' URLs, which are secrets. A file that was here before stays as it is.
if cmp -s config/alertmanager/alertmanager.yml /etc/prometheus/alertmanager.yml; then
  chgrp prometheus /etc/prometheus/alertmanager.yml && chmod 640 /etc/prometheus/alertmanager.yml
fi
[ -z "$new" ] || echo "Installed:$new."
