# The names of a stage on AWS. `deploy/aws.sh names STAGE` makes names-STAGE.sh from this file: readable for you alone,
# since it may have the gateway's password, and ignored by git. Write each value between its quotes.
# shellcheck shell=bash disable=SC2034 # deploy/aws.sh reads them.

# The database
region='eu-central-1' # where the functions run: the database's region
database=''           # HOST:5432/DATABASE, with the host's name as RDS prints it: the writer endpoint of a cluster, or
                      # the endpoint of an instance outside Aurora
admin=''              # the login that installs: RDS' master, or another that may create roles. Write none if your DBA
                      # runs config/postgres/install.sql
reader=''             # for the look before the installation: a login that reads the ledger, such as your backend's
schema='public'       # the ledger's schema. If your tables or columns have other names, see docs/what-counts.md
timezone='UTC'        # the zone in which the backend writes times without a zone. The look says whether there are any

# The gateway
gateway=''            # the Pushgateway: https://push.internal, or https://user:password@push.internal. In a user or
                      # password, write @ / ? # % : ' " \ as %40 %2F %3F %23 %25 %3A %27 %22 %5C. VictoriaMetrics has
                      # http://HOST:8428/api/v1/import/prometheus. If there is no gateway yet: docs/networks.md
token=''              # a bearer token of the gateway, if it asks for one

# Links in alerts, and the addresses of people on call. No step asks repository and grafana: if there is none yet, write
# the address that it is to have, and run deploy/aws.sh rules STAGE again if it gets another
repository=''         # where people read these files: https://github.com/OWNER/NAME/blob/main
grafana=''            # your Grafana: https://grafana.internal
prometheus=''         # your Prometheus: https://prometheus.internal. Only `oncall` needs this and the next two
alertmanager=''       # your Alertmanager: https://alertmanager.internal
hyperswitch=''        # Hyperswitch's API: https://hyperswitch.internal

alarmTopicArn=''      # the SNS topic of CloudWatch's alarms, or none: then they notify nobody. docs/alarms.md makes one

# What is below is for some cases alone. Down to the boundary, it goes into the stage's block in stages.yml, whose line
# stays as it is where a name is empty. serverless.yml explains further lines, such as tags.

# A VPC, if Postgres or the gateway has no public address: docs/networks.md
subnetIds=''          # subnet-0123abcd, subnet-4567abcd
securityGroupIds=''   # sg-0123abcd

# No public URL: aws_iam for senders that AWS knows, off for senders that invoke the function. docs/networks.md
urlAuthorizer=''

# An account with a small limit: how many receivers may run at once; it is 5. Write off if deploy/aws.sh says that the
# account's limit is too low
receiverConcurrency=''

# A permissions boundary that your organisation requires on every role. deploy/role.sh writes the one of its role
permissionsBoundaryArn=''

# Passwords in the place of IAM: write no if Postgres is not on RDS or Aurora, or if you want them. docs/passwords.md
iam='yes'
authority=''          # the CA file of Postgres' certificate, as a whole path, if Postgres is not on RDS or Aurora

# A second stage: run `deploy/aws.sh names STAGE` for it. It has a database of its own; it may share the gateway.
