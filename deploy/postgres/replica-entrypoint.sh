#!/usr/bin/env bash
# A streaming replica: copies the primary the first time, and follows it from then on. Runs as the
# user postgres.
set -euo pipefail
: "${PRIMARY_HOST:?}" "${REPLICATION_PASSWORD:?}"
export PGPASSWORD=$REPLICATION_PASSWORD
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    # A copy that was cut off is begun again: PG_VERSION comes last, so without it nothing here is whole.
    find "$PGDATA" -mindepth 1 -delete
    copy=$PGDATA/copy
    pg_basebackup -h "$PRIMARY_HOST" -U replicator -D "$copy" -X stream --checkpoint=fast \
        --write-recovery-conf -d application_name=replica
    # Promoted, it must not wait for replicas that the old primary had.
    sed -i -E '/^synchronous_standby_names\b/d' "$copy/postgresql.auto.conf"
    find "$copy" -mindepth 1 -maxdepth 1 ! -name PG_VERSION -exec mv -t "$PGDATA" {} +
    sync -f "$PGDATA"
    chmod 700 "$PGDATA"
    mv "$copy/PG_VERSION" "$PGDATA/"
    rmdir "$copy"
fi
exec postgres -c hot_standby=on
