#!/bin/sh
# Step 5 of docs/without-aws.md: makes the version in this folder the service. If it does not answer within 20 s, the
# version before runs again. It says what runs in the end, and exits with 0 only when that is this folder's.
# The way back by hand is the use.sh of an older folder.
set -u
name=veza-ledger-metrics
unit=/etc/systemd/system/$name.service
link=/opt/$name
new=$(cd "$(dirname "$0")/../.." && pwd -P)
old=$(readlink $link) || old=

# Prints where the service answers, if its process is of the version in this folder: another program may have the port.
answers() {
  pid=$(systemctl show -P MainPID $name)
  [ "$(readlink "/proc/$pid/cwd")" = "$1" ] || return
  address=$(ss -Htlnp | awk -v pid="pid=$pid," 'index($0, pid) { print $4 }' | sed 's/^\*:/localhost:/')
  [ -n "$address" ] && curl -sf -m 2 "http://$address/-/healthy" && echo "http://$address"
}

# Starts the version in this folder. Prints where it answers; fails if it does not.
start() {
  cp "$1/config/systemd/$name.service" $unit && systemctl daemon-reload &&
    ln -sfn "$1" $link.next && mv -T $link.next $link &&
    systemctl enable --quiet $name && systemctl restart $name || return
  for _ in $(seq 20); do
    answers "$1" && return
    sleep 1
  done
  return 1
}

if [ -e $unit ] && ! cmp -s $unit "$old/config/systemd/$name.service"; then
  cp -p $unit $unit.before
  echo "$unit had other lines than its version: a copy is in $unit.before. Make changes by: systemctl edit $name"
fi
if where=$(start "$new"); then
  echo "Runs: $new, at $where"
  exit
fi
echo "It does not answer: $new. The end of its log:"
journalctl -u $name -n 6 -o cat --no-pager
if [ "$old" = "$new" ]; then
  echo "Nothing answers. systemd keeps trying this version."
elif [ ! -d "$old" ]; then
  systemctl disable --quiet --now $name
  rm -f $link
  echo "Nothing runs: there is no version before. The service is stopped."
elif where=$(start "$old"); then
  echo "Runs: $old, at $where, as before"
else
  echo "Nothing answers: neither does the version before. systemd keeps trying it: $old"
fi
exit 1
