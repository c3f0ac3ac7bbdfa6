# The names of this host: ./setup reads this file. Each name is a variable, and is wrong here or in no step.
# shellcheck shell=bash disable=SC2154,SC2034,SC2015 # Names are set by read_assignments, for all files.

names=/etc/veza-ledger-metrics.names
amazon=/etc/ssl/certs/rds.pem
all_names=(database ca schema timezone reader admin stage servers gateway token prometheus alertmanager name certificate
  key port repository grafana hyperswitch)

# ./setup names
edit_names() {
  local editor=${VISUAL:-${EDITOR:-editor}}
  if [ -e "$names" ]; then
    echo "Kept: $names"
  else
    put "$names" 600 <host/names.example || exit
    echo "Made: $names"
  fi
  if [ -t 0 ] && command -v "${editor%% *}" >/dev/null; then
    # Its options may be in the variable, too.
    # shellcheck disable=SC2086
    $editor "$names" || stop "$editor has failed. Edit $names, and run this again."
  else
    echo "No editor was opened: \$EDITOR names none. Open $names with one, then run this again."
  fi
  check_names
  echo "All names are well. Next: ./setup look"
}

# Sets the names, and what psql and Node take from them. Returns 1 after lines that are no names.
read_names() {
  local each
  [ -e "$names" ] || stop "There are no names yet: run ./setup names."
  for each in "${all_names[@]}"; do printf -v "$each" %s ""; done
  read_assignments host/names.example # For what a new version has added.
  for each in "${all_names[@]}"; do printf -v "example_$each" %s "${!each}"; done
  read_assignments "$names" || return
  export PGSSLMODE=verify-full PGSSLROOTCERT=$ca PGCONNECT_TIMEOUT=10 NODE_EXTRA_CA_CERTS=$ca
  case $database in localhost:* | 127.* | "[::1]":*) PGSSLMODE=disable ;; esac
}

# Sets a variable for each line NAME=value of a file, $1, and runs nothing of it. Prints each line that is none.
read_assignments() {
  local line number=0 fine=0 value="(\"[^\"'\\\$]*\"|'[^\"'\\\$]*'|[^[:space:]\"'\\\$]*)"
  while IFS= read -r line || [ -n "$line" ]; do
    number=$((number + 1))
    [[ $line =~ ^[[:space:]]*(#|$) ]] && continue
    if [[ $line =~ ^([a-z]+)=${value}[[:space:]]*(#.*)?$ && " ${all_names[*]} " == *" ${BASH_REMATCH[1]} "* ]]; then
      printf -v "${BASH_REMATCH[1]}" %s "${BASH_REMATCH[2]//[\"\']/}"
    else # Without the value, which may be a password.
      wrong "line $number" "is not NAME=value with one of the names, or has ' \" \\ or \$ in its value"
      fine=1
    fi
  done <"$1"
  return $fine
}

# Prints that a name, $1, is wrong, and why.
wrong() {
  printf '✗ %-12s %s\n' "$1" "$2" >&2
  problems=$((${problems-0} + 1))
}

# Says of the name $1 that it is missing, is the example, or does not match $2. $3: what it has to be.
check_name() {
  local value=${!1} example=example_$1
  if [ -z "$value" ]; then
    wrong "$1" "is missing: $3"
  elif [[ $1 =~ ^(database|name|repository|grafana)$ && $value = "${!example}" ]]; then
    wrong "$1" "is still the example: $3"
  elif ! [[ $value =~ $2 ]]; then
    wrong "$1" "is wrong: $3"
  fi
}

# Reads the names. Prints each that is wrong, and ends then.
check_names() {
  local each problems=0 url='^https?://([^][:space:]|&<>/@]+@)?[][A-Za-z0-9.:_-]+(/[^][:space:]|&<>]*)?$'
  read_names
  chmod 600 "$names"
  check_name database '^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):[0-9]+/[^/?#@&[:space:]]+(\?sslmode=[a-z-]+)?$' \
    "HOST:5432/DATABASE"
  check_name schema '^[^,[:space:]]+$' "one schema, such as public"
  # Postgres would read an offset, such as +01, with the other sign.
  [[ $timezone =~ ^[A-Za-z] ]] &&
    ./node -e 'new Intl.DateTimeFormat("en", { timeZone: process.argv[1] })' "$timezone" 2>/dev/null ||
    wrong timezone "is wrong: a time zone such as UTC or Europe/Paris"
  for each in reader admin; do
    check_name "$each" '^[^:/?#@&[:space:]]+$' "a login of Postgres, without its password"
  done
  [[ $stage =~ ^[A-Za-z0-9_-]*$ && $stage != drill ]] || wrong stage "is wrong: letters, digits, - and _, and not drill"
  for each in $servers; do
    [[ " prometheus prometheus-pushgateway prometheus-alertmanager " == *" $each "* ]] ||
      wrong servers "has $each: prometheus, prometheus-pushgateway and prometheus-alertmanager can be in it"
  done
  [ -z "$servers" ] || command -v apt-get >/dev/null ||
    wrong servers "come by apt-get, which is not here: leave it empty"
  for each in gateway prometheus alertmanager repository grafana ${hyperswitch:+hyperswitch}; do
    check_name "$each" "$url" "a URL, as the comment above it says"
  done
  [ -z "$port" ] || [[ $port =~ ^[1-9][0-9]{0,4}$ && $port -lt 65536 ]] ||
    wrong port "is wrong: a number up to 65535, or empty"
  [ -z "$name" ] || check_name name '^[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+$' \
    "this host's DNS name; or empty, with certificate and key, if the reconciler is on this host"
  check_authorities
  [ -z "$certificate$key" ] || [[ $name = "$example_name" ]] || check_certificate
  [ "$problems" = 0 ] || stop "Nothing was changed. Correct $names, by ./setup names, and run this again."
}

# The file of authorities has to be there, and the service's user has to be able to read it.
check_authorities() {
  case $ca in
    /etc/ssl/certs/ca-certificates.crt) [ -e "$ca" ] || { unset NODE_EXTRA_CA_CERTS && return; } ;; # Not yet installed.
    "$amazon") [ -e "$ca" ] || fetch_authorities || { wrong ca "cannot be fetched: is there a network?" && return; } ;;
  esac
  if ! grep -qs -e "-----BEGIN .*CERTIFICATE-----" "$ca"; then
    wrong ca "is no file with certificates in PEM: $ca"
  elif [[ $ca == /root/* || $ca == /home/* ]]; then
    wrong ca "is where the service cannot read it: move it to /etc/ssl/certs"
  elif [ -z "$(find -L "$ca" -perm -o=r)" ]; then
    wrong ca "is closed to the service: run chmod a+r $ca"
  fi
}

# Fetches Amazon's authorities for RDS, by Node, which knows whom to trust also where the system does not yet.
fetch_authorities() {
  mkdir -p "${amazon%/*}" && ./node --input-type=module -e '
    const url = "https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem";
    const answer = await fetch(url, { signal: AbortSignal.timeout(60_000) });
    if (!answer.ok) throw new Error(answer.status);
    process.stdout.write(await answer.text());' 2>/dev/null | put "$amazon" 644 &&
    echo "Fetched: $amazon, the authorities of Amazon's databases."
}

# With a certificate that is none, or of another key or name, nginx does not start, or nobody can deliver.
check_certificate() {
  local each of_certificate of_key
  [ -n "$name" ] || { wrong name "is missing: certificate and key are for it" && return; }
  for each in certificate key; do
    [ -f "${!each}" ] || { wrong "$each" "is no file: ${!each:-empty}. Without nginx, both are empty" && return; }
  done
  command -v openssl >/dev/null || return 0 # The step receiver checks it, too.
  of_certificate=$(openssl x509 -in "$certificate" -noout -pubkey 2>/dev/null) ||
    { wrong certificate "is no certificate in PEM: $certificate" && return; }
  of_key=$(openssl pkey -in "$key" -passin pass: -pubout 2>/dev/null) ||
    { wrong key "is no key in PEM, or needs a password: $key" && return; }
  if [ "$of_certificate" != "$of_key" ]; then
    wrong key "is not the key of $certificate"
  elif ! openssl x509 -in "$certificate" -noout -checkend 0 >/dev/null; then
    wrong certificate "has expired: $certificate"
  elif [[ $(openssl x509 -in "$certificate" -noout -checkhost "$name" 2>&1) == *"NOT match"* ]]; then
    wrong certificate "is not for $name: $certificate"
  fi
}
