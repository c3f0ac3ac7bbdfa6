#!/usr/bin/env bash
# Sets this host up, from the names in /etc/veza-ledger-metrics.yml: docs/without-aws.md. These files start the system's
# programs; the archive's own program reads and writes data: `veza-ledger-metrics host`. Each step makes what is
# missing, says what it keeps, and is harmless again. A file is written beside its place and then moved there, so that
# a full disk or Ctrl-C leaves no half of one. No password is on a command line: lists of processes show these.
# shellcheck disable=SC2015,SC2317 # A && B || C: C is for both. The steps are called by their names.
set -uo pipefail
umask 022

folder=$(dirname "$(readlink -f "$0")")
cd "$folder" || exit
. host/names.sh
. host/servers.sh
. host/steps.sh
. host/leave.sh

usage="usage: ./setup         sets this host up, upgrades it, or goes on after a step that has failed
       ./setup names   makes $names, opens it in \$EDITOR, and checks it
       ./setup look    counts with the login that reads, and writes nothing
       ./setup rules   loads the rules and the route again, and says what is left to do
       ./setup drill   sends one alert through your monitoring: docs/drill.md
       ./setup oncall  writes the file for people on call
       ./setup servers installs the three servers alone, for functions on AWS
       ./setup move    writes a file for another host, and stops the service here
       ./setup FILE    goes on here with the file of ./setup move
       ./setup remove  takes all of it away again"

main() {
  # apt-get says that all is well after a Ctrl-C. read -s has left the terminal without echo.
  trap '[ ! -t 0 ] || stty echo; exit 130' INT TERM HUP
  [ $# -le 1 ] || misuse "./setup takes one word, and not: $*"
  case ${1-} in
    -h | --help) echo "$usage" && return ;;
    -*) misuse "There is no option $1." ;;
  esac
  [ "$(id -u)" = 0 ] || stop "Run it as root."
  local said
  said=$(bin/veza-ledger-metrics --version 2>&1) || stop "$said"
  # What would send psql to another server, or change what it does there.
  unset "${!PG@}"
  export DEBIAN_FRONTEND=noninteractive
  case ${1-} in
    names) edit_names ;;
    look) read_names names && look_first ;;
    "") set_up ;;
    rules) read_names names && step rules load_rules && finish ;;
    drill) read_names names && exec bin/veza-ledger-metrics host drill ;;
    oncall) read_names names && write_on_call_file ;;
    servers) install_servers "${all_servers[@]}" ;;
    move) move_away ;;
    remove) remove_all ;;
    *)
      [ -f "$1" ] || misuse "There is no command and no file $1."
      move_here "$1" && set_up
      ;;
  esac
}

set_up() {
  case $folder in /opt/*) ;; *) stop "The service cannot run from $folder: unpack the archive in /opt." ;; esac
  [ -d /run/systemd/system ] || stop "This host does not run systemd. For a container, see docs/settings.md."
  read_names names
  trap put_settings_back EXIT
  step programs install_programs
  step servers servers_of_names
  step settings write_settings
  step database install_database
  step look look_again
  step service use_version
  step receiver open_receiver
  step rules load_rules
  finish
}

# Runs a step, $2, under its name, $1, and ends where it fails. It has said what helps.
step() {
  echo "$1"
  "$2" && return
  echo "✗ The step $1 has failed. When the cause is gone, run ./setup again: it keeps what is done." >&2
  exit 1
}

say() { echo "  $*"; }

# Prints a sentence, and ends.
stop() {
  echo "✗ $*" >&2
  exit 1
}

misuse() {
  printf '✗ %s\n%s\n' "$1" "$usage" >&2
  exit 2
}

# Asks a question, $1. Anything but yes, such as no terminal, is a no.
agreed() {
  local answer
  say "$1"
  read -rp "  Write yes, or press Enter for no: " answer && [ "$answer" = yes ]
}

# Reads a password into the variable $1, unseen. $2: whose.
ask_password() {
  read -rsp "Password of $2: " "$1" || stop "No password was read."
  [ ! -t 0 ] || echo
}

# Writes stdin into a file, $1, with a mode, $2: all of it or nothing.
put() {
  (umask 077 && cat >"$1.new") && chmod "$2" "$1.new" && mv "$1.new" "$1" 2>/dev/null && return
  rm -f "$1.new"
  say "$1 cannot be written. $(df -h --output=avail "$(dirname "$1")" | tail -n 1 | tr -d ' ') of the disk are left."
  return 1
}

main "$@"
exit
