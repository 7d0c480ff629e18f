-- Endpoints that events are posted to, and what was posted. The event itself is the entry in the
-- outbox: it commits with what it reports, and cursor says up to which one an endpoint has collected.
CREATE TABLE webhook_endpoints (
    id BLOB PRIMARY KEY,
    url TEXT NOT NULL,
    description TEXT NOT NULL,
    event_types TEXT NOT NULL,
    campaign_ids TEXT NOT NULL,
    format INTEGER NOT NULL,
    ordered INTEGER NOT NULL,
    max_concurrency INTEGER NOT NULL,
    rate_limit INTEGER NOT NULL,
    headers TEXT NOT NULL,
    -- Needed in clear to sign with.
    secret TEXT NOT NULL,
    old_secret TEXT NOT NULL,
    old_secret_expire_ms INTEGER NOT NULL,
    disabled INTEGER NOT NULL,
    disable_reason TEXT NOT NULL,
    failing_ms INTEGER,
    cursor INTEGER NOT NULL,
    create_ms INTEGER NOT NULL
) WITHOUT ROWID;

-- States: 1 pending, 2 delivered, 3 failed. A try takes its delivery by moving due_ms ahead.
CREATE TABLE webhook_deliveries (
    endpoint_id BLOB NOT NULL,
    sequence INTEGER NOT NULL,
    event_id BLOB NOT NULL,
    state INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    -- Tries since it was collected, resent or replayed: where it stands in the schedule.
    tries INTEGER NOT NULL,
    due_ms INTEGER NOT NULL,
    lease BLOB,
    create_ms INTEGER NOT NULL,
    update_ms INTEGER NOT NULL,
    PRIMARY KEY (endpoint_id, sequence)
) WITHOUT ROWID;
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (endpoint_id, due_ms) WHERE state = 1;
CREATE INDEX webhook_deliveries_next ON webhook_deliveries (endpoint_id, state, sequence);
CREATE INDEX webhook_deliveries_event ON webhook_deliveries (event_id);
CREATE INDEX webhook_deliveries_over ON webhook_deliveries (update_ms) WHERE state > 1;
CREATE INDEX webhook_deliveries_lease ON webhook_deliveries (lease) WHERE lease IS NOT NULL;

-- A try without end was interrupted.
CREATE TABLE webhook_attempts (
    endpoint_id BLOB NOT NULL,
    sequence INTEGER NOT NULL,
    number INTEGER NOT NULL,
    create_ms INTEGER NOT NULL,
    end_ms INTEGER,
    status INTEGER NOT NULL,
    error TEXT NOT NULL,
    response TEXT NOT NULL,
    PRIMARY KEY (endpoint_id, sequence, number)
) WITHOUT ROWID;
