#!/usr/bin/env bash
# A stage on AWS, from its names to its removal: docs/deploy.md. Each step keeps what is there, so that all of it can be
# run again. It runs on bash 3.2, which macOS has. Secrets go through the environment and pipes: no list of processes
# shows them.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
  cat <<'END'
usage: deploy/aws.sh STAGE             all steps, from the names to the rules
       deploy/aws.sh COMMAND STAGE

  names STAGE               makes names-STAGE.sh, opens it in $EDITOR, and checks each name
  look STAGE                counts, and changes nothing
  deploy STAGE [OPTION...]  deploys, and tries one tick. It reads stages.yml and no names: for pipelines
  rules STAGE               writes dist/ledger.yml and dist/ledger.json, with your addresses
  oncall STAGE              writes oncall-STAGE.mjs, for people on call
  secret STAGE FUNCTION     opens the secret of the sampler or the receiver in $EDITOR, and stores it
  drill STAGE               sends one alert through your monitoring
  remove STAGE              removes the stage, after a question for each part
END
}

service=veza-ledger-metrics
functions='sampler receiver'
now='' # The step that runs.
remedy=''
password=${PGPASSWORD-} # Of the login that psql has next.
unset "${!PG@}"         # What leads psql to another server, and the doctor to another password.
made=$(mktemp -d)

# Below the error of what has failed, says where that was, and what helps.
at_end() {
  local code=$?
  rm -rf "$made" stages.yml.part "names-${stage-}.sh.part" dist/ledger.*.part
  if [ "$code" != 0 ] && [ "$now" ]; then
    echo "Stopped at: $now. ${remedy}Run the same line again: what is done is kept." >&2
  fi
}
trap at_end EXIT
trap 'exit 130' INT TERM HUP

die() {
  remedy=''
  printf '%s\n' "$*" >&2
  exit 1
}

# Stops where a program is not on this machine.
need() {
  local program
  for program; do
    command -v "$program" >/dev/null || die "There is no $program on this machine: install it."
  done
}

# Says what is wrong with the command line, and what is right.
misuse() {
  printf '%s\n' "$*" >&2
  usage >&2
  exit 2
}

# Begins a step: its name, and what to do where it fails.
step() {
  now=$1 remedy="$2 "
  printf '\n== %s\n' "$now"
}

# ---- Names

# Those that a file of names has, and those of them that all steps need.
names_in() {
  sed -n 's/^\([A-Za-z]*\)=.*/\1/p' "$1"
}
for_steps='region database admin schema timezone gateway repository grafana alarmTopicArn iam'

make_names() {
  local names=names-$stage.sh
  if [ ! -e "$names" ]; then
    (umask 077 && cat deploy/names.sh >"$names.part")
    mv "$names.part" "$names"
  fi
  if [ "${EDITOR-}" ]; then eval "$EDITOR \"\$names\""; fi # It may have options: code --wait.
  load_names "$for_steps"
  echo "All names that the steps need are in $names. Next: deploy/aws.sh look $stage"
}

# Reads the stage's names, and nothing that the shell has from elsewhere. Stops where one of these is missing, or where
# any of the file is wrong.
load_names() {
  local names=names-$stage.sh known name
  needed=" $* " problems='' known=$(names_in deploy/names.sh)
  [ -e "$names" ] || die "There is no $names yet: run deploy/aws.sh names $stage"
  chmod 600 "$names"
  bash -n "$names" || die "Nothing was changed: $names cannot be read. Is a quote missing, or one too many?"
  # shellcheck disable=SC2086 # A word each.
  unset $known
  now=$names remedy='Is a quote missing, or one too many? '
  # shellcheck source=deploy/names.sh
  . "./$names"
  now=''
  for name in $known; do eval "$name=\${$name-}"; done
  for name in $(names_in "$names" | grep -vxF "$known"); do wrong "$name" 'is not known: is it misspelt?'; done
  check_names
  [ -z "$problems" ] || die "Nothing was changed. Correct these in $names, and run the same line again:$problems"
  gateway=${gateway%/} repository=${repository%/} grafana=${grafana%/}
  use_region "$region"
  unset DATABASE_URL LEDGER_SCHEMA LEDGER_TIMEZONE PUSHGATEWAY_URL PUSHGATEWAY_TOKEN STAGE WEBHOOK_SECRET
}

# Has every program work in this region; aws 1 knows the second name alone.
use_region() {
  export AWS_REGION=$1 AWS_DEFAULT_REGION=$1 AWS_PAGER=''
}

wrong() {
  problems="$problems
  $1 $2"
}

# Notes what is wrong with a name: it is needed and empty, still an example, or of another kind.
check() {
  local name=$1 pattern=$2 kind=$3 value=${!1}
  if [ -z "$value" ]; then
    case $needed in *" $name "*) wrong "$name" "is empty: write $kind" ;; esac
  elif [[ $value =~ example\.|\.example|123456789012|OWNER/NAME|HOST[:/]|0123abcd ]]; then
    wrong "$name" "is still an example: write $kind"
  elif ! [[ $value =~ $pattern ]]; then
    wrong "$name" "is of the wrong kind: write $kind"
  fi
}

check_names() {
  local name url='^https?://[]A-Za-z0-9._~:/@%?=+[-]+$' login='^[^@:/?#[:space:]]+$'
  check region '^[a-z]{2}(-[a-z]+)+-[0-9]$' 'a region, such as eu-central-1'
  check database '^[A-Za-z0-9.-]+:[0-9]+/[^/?#@[:space:]]+(\?sslmode=(verify-full|verify-ca|require))?$' \
    'HOST:5432/DATABASE, without postgres:// and a login'
  check admin "$login" 'the login alone, or none'
  check reader "$login" 'the login alone'
  check schema '^[^",[:space:]]+$' 'one schema, without quotes'
  # Postgres would read an offset, such as +01, with the other sign.
  check timezone '^[A-Za-z]' 'a zone, such as UTC or Europe/Paris'
  [[ ! $timezone =~ ^[A-Za-z] ]] ||
    node -e 'new Intl.DateTimeFormat("en", { timeZone: process.argv[1] })' "$timezone" 2>"$made/error" ||
    wrong timezone 'is unknown: write a zone, such as UTC or Europe/Paris'
  check token '^[!-~]+$' 'the token alone'
  for name in gateway repository grafana prometheus alertmanager hyperswitch; do
    check "$name" "$url" 'its URL, with https:// or http://'
  done
  check alarmTopicArn "^(none|arn:aws[a-z-]*:sns:$region:[0-9]{12}:[A-Za-z0-9_.-]+)\$" \
    "the ARN of an SNS topic in $region, or none"
  check subnetIds '^subnet-[0-9a-f]+(, *subnet-[0-9a-f]+)*$' 'subnets, separated by commas'
  check securityGroupIds '^sg-[0-9a-f]+(, *sg-[0-9a-f]+)*$' 'security groups, separated by commas'
  check urlAuthorizer '^(none|aws_iam|off)$' 'none, aws_iam or off'
  check receiverConcurrency '^([1-9][0-9]*|off)$' 'a number above 0, or off'
  check permissionsBoundaryArn '^arn:aws[a-z-]*:iam::([0-9]{12}|aws):policy/[^[:space:]]+$' 'the ARN of a policy'
  check iam '^(yes|no)$' 'yes or no'
  [ -z "$authority" ] || [ -r "$authority" ] || wrong authority 'names no file: write its whole path, without ~'
  case $database in
    *."$region".rds.amazonaws.com*) ;;
    *.rds.amazonaws.com*) wrong region "is $region, and database is in another" ;;
  esac
}

# ---- Postgres

# Lets psql and Node verify Postgres' certificate.
trust() {
  local ca=${authority:-$HOME/rds.pem}
  need psql openssl curl
  if [ ! -e "$ca" ]; then
    curl -sSfo "$ca.part" https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem ||
      die "The certificates of RDS were not fetched: does this machine reach truststore.pki.rds.amazonaws.com?"
    mv "$ca.part" "$ca"
  fi
  export NODE_EXTRA_CA_CERTS="$ca" PGSSLROOTCERT="$ca" PGSSLMODE=verify-full
}

# Asks for the password of a login, unless PGPASSWORD or ~/.pgpass has it.
ask_password() {
  if [ "$password" ] || psql -Xwqc '' "postgres://$1@$database" 2>"$made/error"; then return; fi
  printf 'Password of %s: ' "$1" >&2
  IFS= read -rs password || die 'No password was given.'
  echo >&2
}

# psql as the administrator, with these options. The first words may be a program that is to start it.
as_admin() {
  PGPASSWORD=$password "$@" "postgres://$admin@$database"
}

# ---- Steps

# IAM authentication in RDS, and `resource`, by which policies name the database.
turn_on_iam() {
  local kind=instance list=DBInstances id=DbiResourceId name=${database%%.*} pending waited=0
  case $database in *.cluster-*) kind=cluster list=DBClusters id=DbClusterResourceId ;; esac
  about() {
    aws rds "describe-db-${kind}s" "--db-$kind-identifier" "$name" --query "${list}[0].$1" --output json | tr -d ' \n"'
  }
  resource=$(about "$id")
  if [ "$(about IAMDatabaseAuthenticationEnabled)" = true ]; then echo "Kept: IAM is on in $name"; return; fi
  pending=$(about PendingModifiedValues)
  case $pending in
    '' | null | '{IAMDatabaseAuthenticationEnabled:true}') ;; # aws prints nothing for {}.
    # AWS would apply them, too.
    *) die "Nothing was changed: $name has pending changes, $pending. Wait for its maintenance window." ;;
  esac
  aws rds "modify-db-$kind" "--db-$kind-identifier" "$name" --apply-immediately \
    --enable-iam-database-authentication >"$made/modified"
  echo "Turned on in $name. This takes some minutes."
  until [ "$(about IAMDatabaseAuthenticationEnabled)" = true ]; do
    [ $((waited += 10)) -le 900 ] || die 'It is not on after 15 minutes.'
    sleep 10
  done
}

# The value of a param in the stage's block of stages.yml. Empty where there is none.
param() {
  [ ! -e stages.yml ] || sed -n "/^$stage:/,/^[^ #]/s/^  $1: *//p" stages.yml | sed 's/^"\(.*\)"$/\1/'
}

has_param() {
  [ -e stages.yml ] && sed -n "/^$stage:/,/^[^ #]/p" stages.yml | grep -q "^  $1:"
}

# Writes a param into the stage's block of stages.yml, and says what it was. An empty value changes nothing.
set_param() {
  local name=$1 value=$2 was
  [ "$value" ] || return 0
  was=$(param "$name")
  [ "$was" != "$value" ] || return 0
  { [ ! -e stages.yml ] || cat stages.yml; } | awk -v stage="$stage" -v name="$name" -v line="  $name: \"$value\"" '
    /^[^ #]/ { inside = 0 }
    inside && index($0, "  " name ":") == 1 { next }
    { print }
    $0 ~ "^" stage ":" { print line; inside = done = 1 }
    END { if (!done) print stage ":\n" line }' >stages.yml.part
  mv stages.yml.part stages.yml
  echo "stages.yml: $name is $value${was:+, and was $was}"
}

write_stages() {
  local name
  ! grep -qs "^$stage: *[^ #]" stages.yml || die "Write the block of $stage in stages.yml in lines of its own, as
$stage:
  alarmTopicArn: ..."
  set_param region "$region"
  set_param databaseResourceId "$resource"
  for name in alarmTopicArn subnetIds securityGroupIds urlAuthorizer receiverConcurrency permissionsBoundaryArn; do
    set_param "$name" "${!name}"
  done
}

install_database() {
  local options=(-v schema="$schema" -v timezone="$timezone")
  if [ "$iam" = yes ]; then options+=(-v iam=yes); fi
  if [ "$admin" = none ]; then
    echo "Your DBA runs, in this folder: psql ${options[*]} -f config/postgres/install.sql postgres://LOGIN@$database"
    return
  fi
  ask_password "$admin"
  as_admin psql -Xwq -v ON_ERROR_STOP=1 "${options[@]}" -f config/postgres/install.sql
}

# Prints a function's settings as a JSON object. A setting that is empty is left out.
settings_of() {
  local login=veza_ledger_$1 random ca=''
  random=$(openssl rand -base64 32) || exit
  if [ "$iam" = no ]; then login=$login:$(openssl rand -hex 24) || exit; fi
  if [ "$authority" ]; then ca=$(cat "$authority") || exit; fi
  export DATABASE_URL="postgres://$login@$database" CA_CERTIFICATES="$ca" STAGE="$stage" \
    PUSHGATEWAY_URL="$gateway" PUSHGATEWAY_TOKEN="$token"
  case $1 in
    sampler) export LEDGER_SCHEMA="$schema" LEDGER_TIMEZONE="$timezone" ;;
    receiver) export WEBHOOK_SECRET="whsec_$random" ;;
  esac
  node -p 'const values = process.argv.slice(1).map((name) => [name, process.env[name] || undefined]);
    JSON.stringify(Object.fromEntries(values), null, 2)' \
    DATABASE_URL LEDGER_SCHEMA LEDGER_TIMEZONE CA_CERTIFICATES PUSHGATEWAY_URL PUSHGATEWAY_TOKEN STAGE WEBHOOK_SECRET
}

# The names of settings that differ between two secrets, but for what no name says: passwords and signatures.
# shellcheck disable=SC2016 # This is JavaScript.
differences='
  const [wanted, is] = [process.env.WANTED, process.env.IS].map((text) => JSON.parse(text));
  const known = ([name, value]) => name === "DATABASE_URL" ? value.replace(/:[^:/@]*@/, "@") : value;
  console.log(Object.keys({ ...wanted, ...is })
    .filter((name) => name !== "WEBHOOK_SECRET" && (name !== "DATABASE_URL" || is[name]))
    .filter((name) => known([name, wanted[name] ?? ""]) !== known([name, is[name] ?? ""])).join(", "))'

# Prints a secret, or nothing where there is none. Fails where it cannot be read.
read_secret() {
  aws secretsmanager get-secret-value --secret-id "$service/$stage/$1" --query SecretString --output text \
    2>"$made/error" && return
  grep -q ResourceNotFoundException "$made/error" || { cat "$made/error" >&2 && return 1; }
}

make_secrets() {
  local name stored wanted differ
  for name in $functions; do
    stored=$(read_secret "$name")
    wanted=$(settings_of "$name")
    if [ -z "$stored" ]; then
      # One that waits for its deletion, or that may not be read, stops here.
      printf '%s\n' "$wanted" | aws secretsmanager create-secret --name "$service/$stage/$name" \
        --secret-string file:///dev/stdin --query ARN --output text >"$made/arn"
      echo "Made: $service/$stage/$name"
      continue
    fi
    differ=$(WANTED=$wanted IS=$stored node -e "$differences") ||
      die "The secret $service/$stage/$name is no JSON object: run deploy/aws.sh secret $stage $name"
    echo "Kept: $service/$stage/$name"
    [ -z "$differ" ] || echo "! It differs from your names in $differ. If these are right, correct the secret:
  deploy/aws.sh secret $stage $name"
  done
}

# Gives the functions' logins the passwords that the secrets have.
set_passwords() {
  local name login url theirs elsewhere
  for name in $functions; do
    login=veza_ledger_$name
    url=$(read_secret "$name" | node -p 'JSON.parse(require("fs").readFileSync(0)).DATABASE_URL ?? ""')
    theirs=$(printf '%s' "$url" | sed -n 's|^postgres[a-z]*://[^:/@]*:\([^@]*\)@.*|\1|p')
    if [ -z "$theirs" ]; then echo "Kept: no password in DATABASE_URL of the secret $name"; continue; fi
    if PGPASSWORD=$theirs psql -Xwqc '' "postgres://$login@$database" 2>"$made/error"; then
      echo "Kept: the password of $login"
      continue
    fi
    [ "$admin" != none ] || die "Your DBA gives $login a password, by \\password in psql. Write the same one into
DATABASE_URL: deploy/aws.sh secret $stage $name"
    # A new password would lock out the other stage.
    elsewhere=$(as_admin psql -XwqAt -c "begin read only; set local search_path = pg_catalog, pg_temp;
      select string_agg(distinct datname, ', ') from pg_database, aclexplode(datacl) as acl
      where grantee = to_regrole('$login')::oid and privilege_type = 'CONNECT' and datname <> current_database()")
    [ -z "$elsewhere" ] || die "No password was changed: $login is in use in $elsewhere, too. Copy the password of that
stage's secret into this one's: deploy/aws.sh secret $stage $name"
    # psql asks for it on the terminal, if there is one: so it gets none.
    printf '%s\n%s\n' "$theirs" "$theirs" | as_admin node -e 'require("child_process")
      .spawn(process.argv[1], process.argv.slice(2), { detached: true, stdio: "inherit" })
      .on("exit", (code) => { process.exitCode = code ?? 1 })' \
      psql -Xwq -v ON_ERROR_STOP=1 -c "\\password $login" 2>"$made/error" || die "$(cat "$made/error")"
    echo "Set: the password of $login"
  done
}

# What SECRET_ID names for a function: its own secret, or what its param in stages.yml says.
secret_ids() {
  local named
  named=$(param "${1}SecretId")
  echo "${named:-$service/$stage/$1}"
}

look_with_secrets() {
  local name failed=''
  for name in $functions; do
    SECRET_ID=$(secret_ids "$name") npm run --silent doctor -- "$name" || failed=yes
  done
  [ -z "$failed" ] || die 'Apply the remedy below each ✗.'
}

look() {
  load_names region database schema timezone
  trust
  if [ -n "$(read_secret sampler)" ]; then look_with_secrets; return; fi
  [ "$reader" ] || die "No secret of this stage can be read. Write reader into names-$stage.sh: a login for the look."
  echo 'No secret of this stage can be read, so this looks with a login of yours.'
  ask_password "$reader"
  PGPASSWORD=$password LEDGER_SCHEMA=$schema LEDGER_TIMEZONE=$timezone npm run --silent doctor -- \
    "postgres://$reader@$database"
}

# Stops a first deployment that would fail, and any that would drop, without a word, what the stack has: a param of
# which stages.yml has no line.
check_stack() {
  local status limit facts name is
  [ "$(param alarmTopicArn)" ] || die "stages.yml has no block for $stage with alarmTopicArn."
  if ! status=$(aws cloudformation describe-stacks --stack-name "$service-$stage" --query 'Stacks[0].StackStatus' \
    --output text 2>"$made/error"); then
    grep -q 'does not exist' "$made/error" || die "$(cat "$made/error")"
    limit=$(aws lambda get-account-settings --query AccountLimit.UnreservedConcurrentExecutions --output text)
    # A stage reserves 5 for the receiver and 1 for the sampler, and AWS wants 100 left.
    [ "$limit" -ge 106 ] || [ "$(param receiverConcurrency)" = off ] ||
      die "Nothing was deployed: this account runs $limit functions at once, and AWS reserves nothing below 106.
Write off into receiverConcurrency of your names, or ask AWS for more."
    return 0
  fi
  case $status in
    ROLLBACK_* | REVIEW_IN_PROGRESS | DELETE_FAILED)
      die "Nothing was deployed: the stack's creation has failed ($status). Delete it first:
npx serverless remove --stage $stage" ;;
    *_IN_PROGRESS) die "Nothing was deployed: AWS is still at work on the stack ($status). Wait for its end." ;;
  esac
  facts='SamplerLambdaFunction.Properties.VpcConfig.SubnetIds[0], SamplerSilentAlarm.Properties.AlarmActions[0],
    SamplerRole.Properties.PermissionsBoundary, ReceiverLambdaFunctionUrl.Properties.AuthType'
  aws cloudformation get-template --stack-name "$service-$stage" --output text \
    --query "TemplateBody.Resources.[$facts]" | tr '\t' '\n' >"$made/facts"
  for name in subnetIds alarmTopicArn permissionsBoundaryArn urlAuthorizer; do
    read -r is || true # The last line.
    case $is in '' | None | NONE) continue ;; esac
    has_param "$name" || die "Nothing was deployed: the stack has $is, and stages.yml lacks $name under $stage.
Write that line. If it is to go, write none for a topic or a URL, and \"\" for the rest."
  done <"$made/facts"
}

deploy() {
  check_stack
  npx serverless deploy --stage "$stage" "$@"
}

# Invokes the sampler, prints the counts, and fails where one is unknown.
tick() {
  local failed
  failed=$(aws lambda invoke --function-name "$service-$stage-sampler" --query FunctionError --output text \
    "$made/counts")
  cat "$made/counts"
  echo
  [ "$failed" = None ] || die "The tick failed. Its log has the reason: npx serverless logs -f sampler --stage $stage
docs/runbook/reasons.md says what helps."
  case $(cat "$made/counts") in
    *-1*) die "A count of -1 is unknown. The log has the reason: npx serverless logs -f sampler --stage $stage
docs/runbook/reasons.md#a-count-is-unknown says what helps." ;;
  esac
}

# An empty delivery: it tries URL, secret, database and gateway, and changes no number.
ping() {
  local url
  case $(param urlAuthorizer) in
    off) echo 'No ping: without a URL, senders invoke the function, as docs/events.md says.'; return ;;
  esac
  url=$(aws lambda get-function-url-config --function-name "$service-$stage-receiver" --query FunctionUrl --output text)
  case $(param urlAuthorizer) in
    aws_iam) echo 'No ping: the URL asks for a signature of AWS, too, which docs/events.md has.' ;;
    *) RECEIVER_URL=$url SECRET_ID=$(secret_ids receiver) npm run --silent send -- ping ;;
  esac
  echo "For the payments engineer: the URL is $url
and the secret is WEBHOOK_SECRET in Secrets Manager, in $(secret_ids receiver)"
}

write_rules() {
  local links="s|https://repository\\.example|$repository|g; s|https://grafana\\.example|$grafana|g" file
  mkdir -p dist
  for file in config/alertmanager/ledger.yml config/grafana/ledger.json; do
    sed "$links" "$file" >"dist/${file##*/}.part"
    mv "dist/${file##*/}.part" "dist/${file##*/}"
    echo "Written: dist/${file##*/}"
  done
  case $stage in
    prod) echo 'A page of prod wakes people, by the route of config/alertmanager/alertmanager.yml.' ;;
    *) echo "A page of $stage is a ticket. If customers pay there, add $stage to prod|drill| in your route." ;;
  esac
}

all_steps() {
  local aws_rights='If a right is missing: docs/who-may-deploy.md.'
  load_names "$for_steps"
  trust
  resource=''
  if [ "$iam" = yes ]; then
    step 'IAM' "$aws_rights If AWS finds no database, write the host's name as RDS prints it."
    turn_on_iam
  fi
  step 'stages.yml' ''
  write_stages
  sed -n "/^$stage:/,/^[^ #]/{/^$stage:/p; /^  /p;}" stages.yml
  step 'database' 'Nothing was changed in it.'
  install_database
  step 'secrets' "$aws_rights A deleted secret comes back by aws secretsmanager restore-secret --secret-id NAME."
  make_secrets
  if [ "$iam" = no ]; then set_passwords; fi
  step 'look' ''
  look_with_secrets
  step 'deploy' "$aws_rights Correct what AWS names."
  deploy
  step 'tick' "$aws_rights"
  tick
  step 'ping' ''
  ping
  step 'rules' ''
  write_rules
  now=''
  cat <<END

Done. Left to do by hand:
- Commit stages.yml.
- Prometheus loads dist/ledger.yml, scrapes the gateway and gets a flag: docs/servers-in-use.md#prometheus
- Alertmanager gets the route, with your URLs in the place of 127.0.0.1:9999: docs/servers-in-use.md#alertmanager
- Grafana imports dist/ledger.json.
END
  case $alarmTopicArn in
    none) echo "- CloudWatch's alarms notify nobody: write a topic into alarmTopicArn, as docs/alarms.md says." ;;
    *) echo "- CloudWatch's alarms mail their first state within 20 minutes. If none arrives: docs/alarms.md" ;;
  esac
  echo "- An alert reaches your phone: docs/drill.md. Then people on call: docs/people-on-call.md"
}

# ---- Later

write_for_people_on_call() {
  load_names region database schema timezone gateway
  trust
  STAGE=$stage AWS_REGION=$region HYPERSWITCH_URL=$hyperswitch \
    PROMETHEUS_URL=$prometheus ALERTMANAGER_URL=$alertmanager \
    PUSHGATEWAY_URL=$gateway PUSHGATEWAY_TOKEN=$token DATABASE_URL=postgres://veza_ledger_oncall@$database \
    LEDGER_SCHEMA=$schema LEDGER_TIMEZONE=$timezone \
    npm run --silent oncall -- "oncall-$stage.mjs"
}

edit_secret() {
  local old="$made/old.json" new="$made/new.json" id=$service/$stage/$1
  load_names region
  case " $functions " in *" $1 "*) ;; *) die "Write deploy/aws.sh secret $stage sampler, or receiver." ;; esac
  [ "${EDITOR-}" ] || [ -t 0 ] || die 'There is no terminal for vi: write another editor into EDITOR.'
  umask 077
  read_secret "$1" >"$old"
  [ -s "$old" ] || die "There is no secret $id yet: deploy/aws.sh $stage makes it."
  cp "$old" "$new"
  eval "${EDITOR:-vi} \"\$new\""
  if cmp -s "$old" "$new"; then
    die "Nothing was changed. If you have changed it, ${EDITOR:-vi} did not wait until you closed the file."
  fi
  node -e 'const is = JSON.parse(require("fs").readFileSync(0));
    process.exitCode = is instanceof Object && !Array.isArray(is) ? 0 : 1' <"$new" 2>"$made/error" ||
    die 'Nothing was changed: this is no JSON object. Is a comma or a quote missing, or one too many?'
  aws secretsmanager put-secret-value --secret-id "$id" --secret-string "file://$new" --query VersionId --output text
  echo "Stored. The functions read it within 5 minutes. Look again: deploy/aws.sh look $stage"
}

run_drill() {
  load_names gateway
  PUSHGATEWAY_URL=$gateway PUSHGATEWAY_TOKEN=$token config/alertmanager/drill.sh
}

# Whether somebody says yes to a question, in this word.
agreed() {
  local answer
  printf '%s (yes or no) ' "$1"
  read -r answer && [ "$answer" = yes ]
}

remove() {
  local name
  load_names region database admin
  trust
  if agreed "Delete the functions, their alarms and logs of $stage?"; then npx serverless remove --stage "$stage"; fi
  if agreed "Delete the secrets of $stage? AWS keeps them for 30 days."; then
    for name in $functions; do
      aws secretsmanager delete-secret --secret-id "$service/$stage/$name" --query Name --output text
    done
  fi
  if [ "$admin" = none ]; then
    echo "Your DBA runs, in this folder: psql -f config/postgres/uninstall.sql postgres://LOGIN@$database"
  elif agreed "Drop the schema ledger_metrics in $database, with the totals, and the logins?"; then
    ask_password "$admin"
    as_admin psql -Xwq -v ON_ERROR_STOP=1 -f config/postgres/uninstall.sql
  fi
  echo "Left to do by hand: docs/removal.md"
}

# ---- Which of it

need aws node npm
[ -e node_modules/.package-lock.json ] || die 'Run npm ci first.'
case ${1-} in
  names | look | deploy | rules | oncall | secret | drill | remove) command=$1 && shift ;;
  -h | --help) usage && exit ;;
  *) command=all ;;
esac
stage=${1-}
[ "$stage" ] || misuse 'Which stage?'
[[ $stage =~ ^[A-Za-z0-9-]+$ && $stage != drill ]] ||
  misuse "$stage can be no stage: write letters, digits and hyphens."
shift
if [ "$command" = all ]; then
  [ $# = 0 ] || misuse "There is no command $stage." # As in `looks prod`, or in `prod look`, which would deploy.
  [ -e "names-$stage.sh" ] || die "There is no command $stage, and no names-$stage.sh.
The commands: deploy/aws.sh --help
If $stage is to be a stage: deploy/aws.sh names $stage"
elif [ "$command" != deploy ] && [ "$command" != secret ]; then
  [ $# = 0 ] || misuse "$command takes one stage alone."
fi
case $command in
  names) make_names ;;
  look) look ;;
  deploy)
    region=$(param region)
    use_region "${region:-eu-central-1}" # As serverless.yml.
    deploy "$@"
    tick ;;
  rules) load_names repository grafana && write_rules ;;
  oncall) write_for_people_on_call ;;
  secret) edit_secret "${1-}" ;;
  drill) run_drill ;;
  remove) remove ;;
  all) all_steps ;;
esac
