# The names of this host, which the archive's program reads, checks and hands over.
# shellcheck shell=bash disable=SC2154 # Names are set by read_names, for all files.

names=/etc/veza-ledger-metrics.yml

# ./setup names
edit_names() {
  local editor=${VISUAL:-${EDITOR:-editor}}
  if [ -e "$names" ]; then
    echo "Kept: $names"
  else
    put "$names" 600 <host/names.yml || exit
    echo "Made: $names"
  fi
  if [ -t 0 ] && command -v "${editor%% *}" >/dev/null; then
    # Its options may be in the variable, too.
    # shellcheck disable=SC2086
    $editor "$names" || stop "$editor has failed. Edit $names, and run this again."
  else
    echo "No editor was opened: \$EDITOR names none. Open $names with one, then run this again."
  fi
  read_names names
  echo "All names are well. Next: ./setup look"
}

# Sets a variable for each name and for what is made of them, and what psql and Node take from them. $1: all that is
# checked. Ends where a name is wrong, when each that is has been named.
read_names() {
  local variable value
  while IFS= read -rd '' variable && IFS= read -rd '' value; do
    printf -v "$variable" %s "$value"
  done < <(bin/veza-ledger-metrics host "$1")
  wait $! || exit
  export PGSSLMODE=$sslmode PGSSLROOTCERT=$ca PGCONNECT_TIMEOUT=10
  [ ! -e "$ca" ] || export NODE_EXTRA_CA_CERTS=$ca # Not yet installed.
}
