-- What recipients do with mail.
ALTER TABLE events ADD COLUMN detail bytea;
-- What messages of a credential ask for when they do not say.
ALTER TABLE api_keys ADD COLUMN tracking bytea;
ALTER TABLE smtp_credentials ADD COLUMN tracking bytea;

-- Hits that were recorded, so that one reported twice counts once. The ids are UUIDv7: old ones go
-- by their range.
CREATE TABLE hits (
    id uuid PRIMARY KEY
);

-- The first hit of each kind: 1 open, 2 click of this link, 3 click of any link (link 0).
CREATE TABLE first_hits (
    delivery_id uuid NOT NULL,
    kind bigint NOT NULL,
    link bigint NOT NULL,
    bot boolean NOT NULL,
    PRIMARY KEY (delivery_id, kind, link, bot)
);

-- Links that the old system wrote into mail already sent.
CREATE TABLE legacy_links (
    token text PRIMARY KEY,
    -- The part of the token that a /go/ link carries.
    prefix text NOT NULL,
    url text NOT NULL,
    address text NOT NULL,
    campaign_id text NOT NULL,
    message_id text NOT NULL
);
CREATE INDEX legacy_links_prefix ON legacy_links (prefix);
CREATE INDEX legacy_links_address ON legacy_links (address, campaign_id);
