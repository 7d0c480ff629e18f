-- Campaigns whose mail waits, and what AMS was told.
CREATE TABLE campaign_holds (
    campaign_id text PRIMARY KEY,
    held boolean NOT NULL,
    -- It was held by the rules once: they do not hold it a second time.
    automatic boolean NOT NULL,
    note text NOT NULL,
    change_ms bigint NOT NULL,
    -- AMS: 0 need not be told, 1 is to be told, 2 was told.
    ams_state bigint NOT NULL
);

-- Who held and resumed what, and why.
CREATE TABLE campaign_log (
    id uuid PRIMARY KEY,
    campaign_id text NOT NULL,
    action text NOT NULL,
    actor text NOT NULL,
    note text NOT NULL,
    create_ms bigint NOT NULL
);
CREATE INDEX campaign_log_campaign ON campaign_log (campaign_id, id);

-- How far AMS knows what recipients did, and which node tells it.
CREATE TABLE ams_feed (
    id bigint PRIMARY KEY,
    sequence bigint NOT NULL,
    lease uuid,
    lease_until_ms bigint NOT NULL
);

-- Events that AMS refused for the time being.
CREATE TABLE ams_parked (
    campaign_id text NOT NULL,
    sequence bigint NOT NULL,
    PRIMARY KEY (campaign_id, sequence)
);

-- When the parked events of a campaign are tried again.
CREATE TABLE ams_campaigns (
    campaign_id text PRIMARY KEY,
    tries bigint NOT NULL,
    due_ms bigint NOT NULL,
    since_ms bigint NOT NULL,
    problem text NOT NULL
);
