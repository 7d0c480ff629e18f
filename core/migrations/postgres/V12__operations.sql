-- Counters that are still spread over shards, by hour: once their hour has passed they are folded into
-- one row each, which has shard -1.
CREATE INDEX stats_spread ON stats (hour_ms) WHERE shard >= 0;

-- Gateways that say that they live. One that stops takes its row away; one that dies leaves it.
CREATE TABLE gateways (
    id uuid PRIMARY KEY,
    kind text NOT NULL,
    host text NOT NULL,
    version text NOT NULL,
    condition bigint NOT NULL,
    detail text NOT NULL,
    heartbeat_ms bigint NOT NULL
);
