-- Endpoints that events are posted to, and what was posted. The event itself is the entry in the
-- outbox: it commits with what it reports, and cursor says up to which one an endpoint has collected.
CREATE TABLE webhook_endpoints (
    id uuid PRIMARY KEY,
    url text NOT NULL,
    description text NOT NULL,
    event_types text NOT NULL,
    campaign_ids text NOT NULL,
    format bigint NOT NULL,
    ordered boolean NOT NULL,
    max_concurrency bigint NOT NULL,
    rate_limit bigint NOT NULL,
    headers text NOT NULL,
    -- Needed in clear to sign with.
    secret text NOT NULL,
    old_secret text NOT NULL,
    old_secret_expire_ms bigint NOT NULL,
    disabled boolean NOT NULL,
    disable_reason text NOT NULL,
    failing_ms bigint,
    cursor bigint NOT NULL,
    create_ms bigint NOT NULL
);

-- States: 1 pending, 2 delivered, 3 failed. A try takes its delivery by moving due_ms ahead.
CREATE TABLE webhook_deliveries (
    endpoint_id uuid NOT NULL,
    sequence bigint NOT NULL,
    event_id uuid NOT NULL,
    state bigint NOT NULL,
    attempts bigint NOT NULL,
    -- Tries since it was collected, resent or replayed: where it stands in the schedule.
    tries bigint NOT NULL,
    due_ms bigint NOT NULL,
    lease uuid,
    create_ms bigint NOT NULL,
    update_ms bigint NOT NULL,
    PRIMARY KEY (endpoint_id, sequence)
);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (endpoint_id, due_ms) WHERE state = 1;
CREATE INDEX webhook_deliveries_next ON webhook_deliveries (endpoint_id, state, sequence);
CREATE INDEX webhook_deliveries_event ON webhook_deliveries (event_id);
CREATE INDEX webhook_deliveries_over ON webhook_deliveries (update_ms) WHERE state > 1;
CREATE INDEX webhook_deliveries_lease ON webhook_deliveries (lease) WHERE lease IS NOT NULL;

-- A try without end was interrupted.
CREATE TABLE webhook_attempts (
    endpoint_id uuid NOT NULL,
    sequence bigint NOT NULL,
    number bigint NOT NULL,
    create_ms bigint NOT NULL,
    end_ms bigint,
    status bigint NOT NULL,
    error text NOT NULL,
    response text NOT NULL,
    PRIMARY KEY (endpoint_id, sequence, number)
);
