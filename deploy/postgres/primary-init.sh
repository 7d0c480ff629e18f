#!/bin/sh
# Runs once, when the container makes an empty database: who may stream from it. The role has its own
# password, and may read the log and nothing else.
set -eu
: "${REPLICATION_PASSWORD:?set a password}"
psql -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d "$POSTGRES_DB" <<'SQL'
\getenv password REPLICATION_PASSWORD
CREATE ROLE replicator WITH REPLICATION LOGIN PASSWORD :'password';
SQL
echo "host replication replicator all scram-sha-256" >>"$PGDATA/pg_hba.conf"
