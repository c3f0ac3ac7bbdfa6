#!/bin/sh
# The program of the archive for a host: runs a command of this folder by the folder's own Node, and needs nothing else.
set -u
folder=$(dirname "$(dirname "$(readlink -f "$0")")")

# The archive has its own machine and loader here.
machine=MACHINE loader=LOADER
if [ "$(uname -m)" != $machine ]; then
  echo "This archive is for $machine, and this machine is $(uname -m): take the other archive." >&2
  exit 1
fi
if [ ! -e $loader ]; then
  echo "This archive needs glibc, as Debian and Ubuntu have it, and there is no $loader here." >&2
  exit 1
fi

case ${1-} in
  serve | doctor | send | host)
    command=$1
    shift
    exec "$folder/node" "$folder/commands/$command.mjs" "$@"
    ;;
  oncall)
    shift
    for file in "$folder"/oncall*.mjs; do # ./setup oncall has written it, with the addresses of this host's stage.
      [ ! -e "$file" ] || exec "$folder/node" "$file" "$@"
    done
    echo "The file of people on call is not here: ./setup oncall writes it." >&2
    exit 1
    ;;
  --version) exec "$folder/node" -p "'veza-ledger-metrics VERSION, on Node ' + process.versions.node" ;;
esac
echo "usage: veza-ledger-metrics serve | doctor | send | oncall | --version
Each says by --help how it is used" >&2
exit 2
