-- Destinations whose mail waits. A row stays when they are resumed, so that what a node parked in the
-- meantime is found.
CREATE TABLE destination_holds (
    domain text PRIMARY KEY,
    held boolean NOT NULL,
    note text NOT NULL,
    change_ms bigint NOT NULL
);

-- What went wrong: deferred, bounced, failed, expired. Few events are of these kinds, and only the
-- newest are looked at.
CREATE INDEX events_errors ON events (sequence) WHERE type IN (4, 6, 7, 8);
