#!/usr/bin/env bash
# A streaming replica: copies the primary the first time, and follows it from then on. Runs as the
# user postgres.
set -euo pipefail
: "${PRIMARY_HOST:?}" "${REPLICATION_PASSWORD:?}"
export PGPASSWORD=$REPLICATION_PASSWORD
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    # A copy that was cut off is begun again.
    find "$PGDATA" -mindepth 1 -delete
    pg_basebackup -h "$PRIMARY_HOST" -U replicator -D "$PGDATA" -X stream --checkpoint=fast \
        --write-recovery-conf -d "application_name=replica password=$REPLICATION_PASSWORD"
    chmod 700 "$PGDATA"
fi
exec postgres -c hot_standby=on
