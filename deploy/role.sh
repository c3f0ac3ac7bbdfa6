#!/usr/bin/env bash
# Makes the role deploy-veza-ledger-metrics, by which people or GitHub Actions deploy: docs/who-may-deploy.md. An
# administrator of the account runs it, and again for a further stage or network, and when its files have changed.
set -euo pipefail
cd "$(dirname "$0")/.."

usage='usage: deploy/role.sh STAGE people ARN
       deploy/role.sh STAGE github OWNER/NAME OWNER_ID NAME_ID'
made=$(mktemp -d)
trap 'rm -rf "$made" stages.yml.part' EXIT
export AWS_PAGER=''

die() {
  printf '%s\n' "$*" >&2
  exit 1
}

stage=${1-} whom=${2-} owner='' owner_id='' name='' name_id=''
case $#-$whom in
  3-people)
    [[ $3 =~ ^arn:aws[a-z-]*:iam::[0-9]{12}:(role|user)/[A-Za-z0-9+=,.@_/-]+$ ]] ||
      die "$3 is no ARN of a role or user." ;;
  5-github)
    owner=${3%%/*} name=${3#*/} owner_id=$4 name_id=$5
    [[ $3 =~ ^[A-Za-z0-9-]+/[A-Za-z0-9._-]+$ && $4$5 =~ ^[0-9]+$ ]] || die "$usage" ;;
  *) die "$usage" ;;
esac
grep -qs "^$stage:" stages.yml || die "Nothing was changed: stages.yml has no $stage yet."
of_stage() { sed -n "/^$stage:/,/^[^ #]/p" stages.yml; }
region=$(of_stage | sed -n 's/^  region: *"\{0,1\}\([a-z0-9-]*\).*/\1/p')
account=$(aws sts get-caller-identity --query Account --output text)
export AWS_REGION="${region:-eu-central-1}"

# The values that all stages have for a param, as a list of JSON: functions may be put into these subnets alone.
of_all_stages() {
  sed -n "s/^  $1: *//p" stages.yml | tr -d '" ' | tr ',' '\n' | sed '/^$/d; s/.*/"&"/' | paste -sd , -
}
subnets=$(of_all_stages subnetIds) groups=$(of_all_stages securityGroupIds)

# A file of deploy/ with this account, region, network and repository in the place of its examples.
filled() {
  sed "s/7654321/$name_id/; s/@1234567/@$owner_id/; s|repo:veza|repo:$owner|
    s|/veza-ledger-metrics\([@:]\)|/$name\1|; s/123456789012/$account/; s/eu-central-1/$AWS_REGION/
    s/\"subnet-of-no-stage\"/${subnets:-&}/; s/\"sg-of-no-stage\"/${groups:-&}/" "deploy/$1"
}

# Makes a policy, or a new version of it: AWS keeps five, so the oldest go.
policy() {
  local arn=arn:aws:iam::$account:policy/$1 version
  filled "$2" >"$made/$2"
  if ! aws iam get-policy --policy-arn "$arn" >"$made/is" 2>&1; then
    aws iam create-policy --policy-name "$1" --policy-document "file://$made/$2" >"$made/is"
    echo "Made: the policy $1"
    return
  fi
  for version in $(aws iam list-policy-versions --policy-arn "$arn" --output text \
    --query 'sort_by(Versions[?!IsDefaultVersion], &CreateDate)[:-3].VersionId'); do
    aws iam delete-policy-version --policy-arn "$arn" --version-id "$version"
  done
  aws iam create-policy-version --set-as-default --policy-arn "$arn" --policy-document "file://$made/$2" >"$made/is"
  echo "Renewed: the policy $1"
}

role=deploy-veza-ledger-metrics boundary=veza-ledger-metrics-boundary
policy $boundary boundary.json
policy $role deployer.json
if [ "$whom" = people ]; then
  printf '{ "Version": "2012-10-17", "Statement": [{ "Effect": "Allow", "Action": "sts:AssumeRole",
    "Principal": { "AWS": "%s" } }] }' "$3" >"$made/trust.json"
else
  filled trust.json >"$made/trust.json"
fi
if aws iam get-role --role-name $role >"$made/is" 2>&1; then
  aws iam update-assume-role-policy --role-name $role --policy-document "file://$made/trust.json"
else
  aws iam create-role --role-name $role --assume-role-policy-document "file://$made/trust.json" >"$made/is"
fi
aws iam attach-role-policy --role-name $role --policy-arn "arn:aws:iam::$account:policy/$role"
echo "The role arn:aws:iam::$account:role/$role may deploy."

# The role may make roles within the boundary alone.
line="  permissionsBoundaryArn: \"arn:aws:iam::$account:policy/$boundary\""
if ! of_stage | grep -qF "$line"; then
  awk -v stage="$stage" -v line="$line" '
    /^[^ #]/ { inside = 0 }
    inside && /^  permissionsBoundaryArn:/ { next }
    { print }
    index($0, stage ":") == 1 { print line; inside = 1 }' stages.yml >stages.yml.part
  mv stages.yml.part stages.yml
fi
if [ "$whom" = github ]; then
  mkdir -p .github/workflows
  filled workflow.yml >"$made/deploy.yml"
  cp "$made/deploy.yml" .github/workflows/deploy.yml
fi
echo "Commit stages.yml${owner:+ and .github/workflows/deploy.yml}."
