-- Destinations whose mail waits. A row stays when they are resumed, so that what a node parked in the
-- meantime is found.
CREATE TABLE destination_holds (
    domain TEXT PRIMARY KEY,
    held INTEGER NOT NULL,
    note TEXT NOT NULL,
    change_ms INTEGER NOT NULL
) WITHOUT ROWID;

-- What went wrong: deferred, bounced, failed, expired. Few events are of these kinds, and only the
-- newest are looked at.
CREATE INDEX events_errors ON events (sequence) WHERE type IN (4, 6, 7, 8);
