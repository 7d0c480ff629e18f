-- Gateways that say that they live. One that stops takes its row away; one that dies leaves it.
CREATE TABLE gateways (
    id BLOB PRIMARY KEY,
    kind TEXT NOT NULL,
    host TEXT NOT NULL,
    version TEXT NOT NULL,
    condition INTEGER NOT NULL,
    detail TEXT NOT NULL,
    heartbeat_ms INTEGER NOT NULL
) WITHOUT ROWID;
