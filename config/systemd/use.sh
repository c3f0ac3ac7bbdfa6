#!/bin/sh
# Step 6 of docs/without-aws.md: makes the version in this folder the service. If it does not answer within 20 s, the
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

# Writes unit and link of the version in this folder beside those in use. Changes nothing where it fails: a full disk.
prepare() {
  cp "$1/config/systemd/$name.service" $unit.next && ln -sfn "$1" $link.next && return
  rm -f $unit.next $link.next
  return 1
}

# Starts the version in this folder. Prints where it answers; fails if it does not.
start() {
  prepare "$1" && mv $unit.next $unit && mv -T $link.next $link && systemctl daemon-reload &&
    systemctl enable --quiet $name && systemctl restart $name || return
  for _ in $(seq 20); do
    answers "$1" && return
    sleep 1
  done
  return 1
}

# Ends before anything is changed. $1: why.
refuse() {
  echo "Nothing was changed: $1" >&2
  exit 1
}

said=$("$new/bin/$name" --version 2>&1) || refuse "$said"
[ -e /etc/$name.env ] || refuse "there is no /etc/$name.env, which step 3 of docs/without-aws.md writes."
prepare "$new" || refuse "the lines above say why."
if [ -e $unit ] && ! cmp -s $unit "$old/config/systemd/$name.service"; then
  cp -p $unit $unit.before || refuse "the line above says why."
  echo "Replaced: $unit, which was not as its version had it; a copy is in $unit.before." \
    "Make changes with: systemctl edit $name"
fi
if where=$(start "$new"); then
  [ -z "$old" ] || [ "$old" = "$new" ] || echo "The way back: $old/config/systemd/use.sh"
  echo "Runs: $new, at $where"
  exit
fi
echo "It does not answer: $new. The end of its log:"
journalctl -u $name -n 6 -o cat --no-pager
if [ "$old" = "$new" ]; then
  echo "Nothing answers. systemd keeps trying this version."
elif [ ! -d "$old" ]; then
  systemctl disable --quiet --now $name
  rm -f $link $unit
  systemctl daemon-reload
  echo "Nothing runs: there is no version before. The service is stopped."
elif where=$(start "$old"); then
  echo "Runs: $old, at $where, as before"
else
  echo "Nothing answers: neither does the version before. systemd keeps trying it: $old"
fi
exit 1
