-- What is wrong with the installation: since when, when it was seen last, and what was told of it.
CREATE TABLE troubles (
    kind text NOT NULL,
    subject text NOT NULL,
    since_ms bigint NOT NULL,
    seen_ms bigint NOT NULL,
    detail text NOT NULL,
    told bigint NOT NULL DEFAULT 0,
    told_ms bigint,
    PRIMARY KEY (kind, subject)
);

-- When the certificate of a gateway ends, as it says.
ALTER TABLE gateways ADD COLUMN certificate_ms bigint;
