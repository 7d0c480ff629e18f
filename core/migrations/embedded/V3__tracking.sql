-- What recipients do with mail.
ALTER TABLE events ADD COLUMN detail BLOB;
-- What messages of a credential ask for when they do not say.
ALTER TABLE api_keys ADD COLUMN tracking BLOB;
ALTER TABLE smtp_credentials ADD COLUMN tracking BLOB;

-- Hits that were recorded, so that one reported twice counts once. The ids are UUIDv7: old ones go
-- by their range.
CREATE TABLE hits (
    id BLOB PRIMARY KEY
) WITHOUT ROWID;

-- The first hit of each kind: 1 open, 2 click of this link, 3 click of any link (link 0).
CREATE TABLE first_hits (
    delivery_id BLOB NOT NULL,
    kind INTEGER NOT NULL,
    link INTEGER NOT NULL,
    bot INTEGER NOT NULL,
    PRIMARY KEY (delivery_id, kind, link, bot)
) WITHOUT ROWID;

-- Links that the old system wrote into mail already sent.
CREATE TABLE legacy_links (
    token TEXT PRIMARY KEY,
    -- The part of the token that a /go/ link carries.
    prefix TEXT NOT NULL,
    url TEXT NOT NULL,
    address TEXT NOT NULL,
    campaign_id TEXT NOT NULL,
    message_id TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX legacy_links_prefix ON legacy_links (prefix);
CREATE INDEX legacy_links_address ON legacy_links (address, campaign_id);
