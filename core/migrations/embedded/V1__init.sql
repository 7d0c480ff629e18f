-- The same tables as in migrations/postgres. Ids are 16-byte blobs, times are milliseconds since
-- 1970, json is text. Tables keyed by UUIDv7 are clustered on it, so inserts append.

CREATE TABLE nodes (
    id BLOB PRIMARY KEY,
    heartbeat_ms INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE messages (
    id BLOB PRIMARY KEY,
    content_id BLOB NOT NULL,
    batch_id BLOB,
    key_id BLOB NOT NULL,
    from_email TEXT NOT NULL,
    from_name TEXT NOT NULL,
    subject TEXT NOT NULL,
    external_id TEXT NOT NULL,
    campaign_id TEXT NOT NULL,
    tags TEXT NOT NULL,
    metadata TEXT NOT NULL,
    priority INTEGER NOT NULL,
    create_ms INTEGER NOT NULL,
    send_ms INTEGER,
    expire_ms INTEGER NOT NULL,
    test INTEGER NOT NULL,
    rfc_message_id TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX messages_external ON messages (external_id) WHERE external_id <> '';
CREATE INDEX messages_campaign ON messages (campaign_id) WHERE campaign_id <> '';
CREATE INDEX messages_batch ON messages (batch_id) WHERE batch_id IS NOT NULL;

CREATE TABLE message_tags (
    tag TEXT NOT NULL,
    message_id BLOB NOT NULL,
    PRIMARY KEY (tag, message_id)
) WITHOUT ROWID;

CREATE TABLE bodies (
    id BLOB PRIMARY KEY,
    create_ms INTEGER NOT NULL,
    content BLOB NOT NULL
);

CREATE TABLE deliveries (
    id BLOB PRIMARY KEY,
    message_id BLOB NOT NULL,
    ordinal INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    email TEXT NOT NULL,
    name TEXT NOT NULL,
    variables TEXT NOT NULL,
    state INTEGER NOT NULL,
    reason TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    due_ms INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    lease BLOB,
    reply BLOB,
    update_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX deliveries_message ON deliveries (message_id, ordinal);
CREATE INDEX deliveries_email ON deliveries (email);
-- Every open delivery is in exactly one of these two: held by a node, or free to be claimed.
CREATE INDEX deliveries_leased ON deliveries (lease) WHERE lease IS NOT NULL;
CREATE INDEX deliveries_due ON deliveries (due_ms) WHERE lease IS NULL AND state < 5;

CREATE TABLE events (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL,
    type INTEGER NOT NULL,
    create_ms INTEGER NOT NULL,
    message_id BLOB NOT NULL,
    delivery_id BLOB NOT NULL,
    attempt INTEGER NOT NULL,
    reason TEXT NOT NULL,
    reply BLOB,
    possible_duplicate INTEGER NOT NULL,
    next_ms INTEGER
);
CREATE INDEX events_message ON events (message_id);

CREATE TABLE idempotency (
    key TEXT PRIMARY KEY,
    fingerprint BLOB NOT NULL,
    expire_ms INTEGER NOT NULL,
    receipt BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX idempotency_expire ON idempotency (expire_ms);

CREATE TABLE stats (
    hour_ms INTEGER NOT NULL,
    campaign_id TEXT NOT NULL,
    type INTEGER NOT NULL,
    shard INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (hour_ms, campaign_id, type, shard)
) WITHOUT ROWID;

CREATE TABLE suppressions (
    id BLOB PRIMARY KEY,
    email TEXT NOT NULL,
    reason INTEGER NOT NULL,
    campaign_id TEXT NOT NULL,
    note TEXT NOT NULL,
    create_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE UNIQUE INDEX suppressions_address ON suppressions (email, campaign_id);

CREATE TABLE api_keys (
    id BLOB PRIMARY KEY,
    hash BLOB NOT NULL,
    display_name TEXT NOT NULL,
    scopes TEXT NOT NULL,
    sender_domains TEXT NOT NULL,
    daily_limit INTEGER NOT NULL,
    expire_ms INTEGER,
    test INTEGER NOT NULL,
    hint TEXT NOT NULL,
    create_ms INTEGER NOT NULL,
    revoke_ms INTEGER
) WITHOUT ROWID;
CREATE UNIQUE INDEX api_keys_hash ON api_keys (hash);

CREATE TABLE domains (
    id BLOB PRIMARY KEY,
    name TEXT NOT NULL,
    create_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE UNIQUE INDEX domains_name ON domains (name);

CREATE TABLE dkim_keys (
    domain_id BLOB NOT NULL,
    selector TEXT NOT NULL,
    algorithm INTEGER NOT NULL,
    private_der BLOB NOT NULL,
    record TEXT NOT NULL,
    create_ms INTEGER NOT NULL,
    PRIMARY KEY (domain_id, selector)
) WITHOUT ROWID;

CREATE TABLE templates (
    id BLOB PRIMARY KEY,
    alias TEXT NOT NULL,
    display_name TEXT NOT NULL,
    subject TEXT NOT NULL,
    html TEXT NOT NULL,
    text TEXT NOT NULL,
    variables TEXT NOT NULL,
    create_ms INTEGER NOT NULL,
    update_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE UNIQUE INDEX templates_alias ON templates (alias);

CREATE TABLE daily_usage (
    day INTEGER NOT NULL,
    scope TEXT NOT NULL,
    used INTEGER NOT NULL,
    PRIMARY KEY (day, scope)
) WITHOUT ROWID;

CREATE TABLE settings (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;
INSERT INTO settings (name, value) VALUES ('directory_version', '1');

CREATE TABLE sink_messages (
    id BLOB PRIMARY KEY,
    delivery_id BLOB NOT NULL,
    message_id BLOB NOT NULL,
    create_ms INTEGER NOT NULL,
    envelope_from TEXT NOT NULL,
    envelope_to TEXT NOT NULL,
    subject TEXT NOT NULL,
    header_from TEXT NOT NULL,
    size INTEGER NOT NULL,
    raw BLOB NOT NULL
);
CREATE UNIQUE INDEX sink_messages_delivery ON sink_messages (delivery_id);
