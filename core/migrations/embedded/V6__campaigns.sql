-- Campaigns whose mail waits, and what AMS was told.
CREATE TABLE campaign_holds (
    campaign_id TEXT PRIMARY KEY,
    held INTEGER NOT NULL,
    -- It was held by the rules once: they do not hold it a second time.
    automatic INTEGER NOT NULL,
    note TEXT NOT NULL,
    change_ms INTEGER NOT NULL,
    -- AMS: 0 need not be told, 1 is to be told, 2 was told.
    ams_state INTEGER NOT NULL
) WITHOUT ROWID;

-- Who held and resumed what, and why.
CREATE TABLE campaign_log (
    id BLOB PRIMARY KEY,
    campaign_id TEXT NOT NULL,
    action TEXT NOT NULL,
    actor TEXT NOT NULL,
    note TEXT NOT NULL,
    create_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX campaign_log_campaign ON campaign_log (campaign_id, id);

-- How far AMS knows what recipients did, and which node tells it.
CREATE TABLE ams_feed (
    id INTEGER PRIMARY KEY,
    sequence INTEGER NOT NULL,
    lease BLOB,
    lease_until_ms INTEGER NOT NULL
) WITHOUT ROWID;

-- Events that AMS refused for the time being.
CREATE TABLE ams_parked (
    campaign_id TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    PRIMARY KEY (campaign_id, sequence)
) WITHOUT ROWID;

-- When the parked events of a campaign are tried again.
CREATE TABLE ams_campaigns (
    campaign_id TEXT PRIMARY KEY,
    tries INTEGER NOT NULL,
    due_ms INTEGER NOT NULL,
    since_ms INTEGER NOT NULL,
    problem TEXT NOT NULL
) WITHOUT ROWID;
