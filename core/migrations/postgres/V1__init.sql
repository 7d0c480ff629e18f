-- The same tables as in migrations/embedded. Times are milliseconds since 1970, json is text.

CREATE TABLE nodes (
    id uuid PRIMARY KEY,
    heartbeat_ms bigint NOT NULL
);

CREATE TABLE messages (
    id uuid PRIMARY KEY,
    content_id uuid NOT NULL,
    batch_id uuid,
    key_id uuid NOT NULL,
    from_email text NOT NULL,
    from_name text NOT NULL,
    subject text NOT NULL,
    external_id text NOT NULL,
    campaign_id text NOT NULL,
    tags text NOT NULL,
    metadata text NOT NULL,
    priority bigint NOT NULL,
    create_ms bigint NOT NULL,
    send_ms bigint,
    expire_ms bigint NOT NULL,
    test boolean NOT NULL,
    rfc_message_id text NOT NULL
);
CREATE INDEX messages_external ON messages (external_id) WHERE external_id <> '';
CREATE INDEX messages_campaign ON messages (campaign_id) WHERE campaign_id <> '';
CREATE INDEX messages_batch ON messages (batch_id) WHERE batch_id IS NOT NULL;

CREATE TABLE message_tags (
    tag text NOT NULL,
    message_id uuid NOT NULL,
    PRIMARY KEY (tag, message_id)
);

CREATE TABLE bodies (
    id uuid PRIMARY KEY,
    create_ms bigint NOT NULL,
    content bytea NOT NULL
);

CREATE TABLE deliveries (
    id uuid PRIMARY KEY,
    message_id uuid NOT NULL,
    ordinal bigint NOT NULL,
    kind bigint NOT NULL,
    email text NOT NULL,
    name text NOT NULL,
    variables text NOT NULL,
    state bigint NOT NULL,
    reason text NOT NULL,
    attempts bigint NOT NULL,
    due_ms bigint NOT NULL,
    priority bigint NOT NULL,
    lease uuid,
    reply bytea,
    update_ms bigint NOT NULL
);
CREATE INDEX deliveries_message ON deliveries (message_id, ordinal);
CREATE INDEX deliveries_email ON deliveries (email);
-- Every open delivery is in exactly one of these two: held by a node, or free to be claimed.
CREATE INDEX deliveries_leased ON deliveries (lease) WHERE lease IS NOT NULL;
CREATE INDEX deliveries_due ON deliveries (due_ms) WHERE lease IS NULL AND state < 5;

CREATE TABLE events (
    sequence bigint PRIMARY KEY,
    id uuid NOT NULL,
    type bigint NOT NULL,
    create_ms bigint NOT NULL,
    message_id uuid NOT NULL,
    delivery_id uuid NOT NULL,
    attempt bigint NOT NULL,
    reason text NOT NULL,
    reply bytea,
    possible_duplicate boolean NOT NULL,
    next_ms bigint
);
-- An event's sequence is (transaction id + base) * 4096 + position in the transaction. Sequences
-- therefore order events as their transactions began, and a reader that stops at the oldest running
-- transaction can never skip one that becomes visible late. After a restore into a cluster whose
-- transaction ids are younger, base is raised at start so that sequences go on increasing.
CREATE TABLE event_clock (
    base bigint NOT NULL
);
INSERT INTO event_clock (base) VALUES (0);
CREATE INDEX events_message ON events (message_id);

CREATE TABLE idempotency (
    key text PRIMARY KEY,
    fingerprint bytea NOT NULL,
    expire_ms bigint NOT NULL,
    receipt bytea NOT NULL
);
CREATE INDEX idempotency_expire ON idempotency (expire_ms);

CREATE TABLE stats (
    hour_ms bigint NOT NULL,
    campaign_id text NOT NULL,
    type bigint NOT NULL,
    shard bigint NOT NULL,
    count bigint NOT NULL,
    PRIMARY KEY (hour_ms, campaign_id, type, shard)
);

CREATE TABLE suppressions (
    id uuid PRIMARY KEY,
    email text NOT NULL,
    reason bigint NOT NULL,
    campaign_id text NOT NULL,
    note text NOT NULL,
    create_ms bigint NOT NULL
);
CREATE UNIQUE INDEX suppressions_address ON suppressions (email, campaign_id);

CREATE TABLE api_keys (
    id uuid PRIMARY KEY,
    hash bytea NOT NULL,
    display_name text NOT NULL,
    scopes text NOT NULL,
    sender_domains text NOT NULL,
    daily_limit bigint NOT NULL,
    expire_ms bigint,
    test boolean NOT NULL,
    hint text NOT NULL,
    create_ms bigint NOT NULL,
    revoke_ms bigint
);
CREATE UNIQUE INDEX api_keys_hash ON api_keys (hash);

CREATE TABLE domains (
    id uuid PRIMARY KEY,
    name text NOT NULL,
    create_ms bigint NOT NULL
);
CREATE UNIQUE INDEX domains_name ON domains (name);

CREATE TABLE dkim_keys (
    domain_id uuid NOT NULL,
    selector text NOT NULL,
    algorithm bigint NOT NULL,
    private_der bytea NOT NULL,
    record text NOT NULL,
    create_ms bigint NOT NULL,
    PRIMARY KEY (domain_id, selector)
);

CREATE TABLE templates (
    id uuid PRIMARY KEY,
    alias text NOT NULL,
    display_name text NOT NULL,
    subject text NOT NULL,
    html text NOT NULL,
    text text NOT NULL,
    variables text NOT NULL,
    create_ms bigint NOT NULL,
    update_ms bigint NOT NULL
);
CREATE UNIQUE INDEX templates_alias ON templates (alias);

CREATE TABLE daily_usage (
    day bigint NOT NULL,
    scope text NOT NULL,
    used bigint NOT NULL,
    PRIMARY KEY (day, scope)
);

CREATE TABLE settings (
    name text PRIMARY KEY,
    value text NOT NULL
);
INSERT INTO settings (name, value) VALUES ('directory_version', '1');

CREATE TABLE sink_messages (
    id uuid PRIMARY KEY,
    delivery_id uuid NOT NULL,
    message_id uuid NOT NULL,
    create_ms bigint NOT NULL,
    envelope_from text NOT NULL,
    envelope_to text NOT NULL,
    subject text NOT NULL,
    header_from text NOT NULL,
    size bigint NOT NULL,
    raw bytea NOT NULL
);
CREATE UNIQUE INDEX sink_messages_delivery ON sink_messages (delivery_id);
