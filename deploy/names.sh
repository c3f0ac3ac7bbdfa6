# The names of a stage on AWS, for the steps of docs/deploy.md. Copy this to names.sh beside README.md, which git
# ignores, since it may have the gateway's password. Fill it in there, and load it into each new shell: . ./names.sh
# A second stage gets a copy of its own, such as names-staging.sh. A step stops if a name that it needs is empty.

stage='prod'     # each stage has a database of its own
database=''      # HOST:5432/DATABASE, with the host's name as RDS prints it: the writer endpoint of a cluster, or the
                 # endpoint of an instance outside Aurora
admin=''         # the login that is to install it: RDS' master, or another that may create roles
schema='public'  # the ledger's schema
timezone='UTC'   # the time zone of timestamps that are stored without one
gateway=''       # the Pushgateway: https://push.example.com, or https://user:password@push.example.com. In a user or
                 # password, write @ / ? # % : ' " \ as %40 %2F %3F %23 %25 %3A %27 %22 %5C. For VictoriaMetrics, it
                 # is http://HOST:8428/api/v1/import/prometheus
token=''         # a bearer token of the gateway, if it asks for one
topic=''         # the ARN of the alarms' SNS topic, or none: then they notify nobody
repository=''    # where people read these files, for links in alerts: https://github.com/OWNER/NAME/blob/main
grafana=''       # your Grafana, for links in alerts: https://grafana.internal
alertmanager=''  # the configuration file of your Alertmanager, or a copy of it on this machine
authority=''     # the CA file for Postgres' certificate, if Postgres is not on RDS or Aurora; otherwise empty
export AWS_REGION='eu-central-1'

export AWS_PAGER='' # So that aws opens no pager in the middle of a step.
unset DATABASE_URL LEDGER_SCHEMA LEDGER_TIMEZONE PGPASSWORD PUSHGATEWAY_URL PUSHGATEWAY_TOKEN STAGE WEBHOOK_SECRET
ca=${authority:-$HOME/rds.pem}
export NODE_EXTRA_CA_CERTS="$ca" PGSSLROOTCERT="$ca" PGSSLMODE=verify-full
if [ -e "$ca" ]; then :
elif [ "$authority" ]; then
  unset stage database # So that no step runs.
  echo "authority names no file: $authority. Write its whole path, without ~, and load your names again." >&2
else
  curl -sSfo "$ca.part" https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem && mv "$ca.part" "$ca"
fi
