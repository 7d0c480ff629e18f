-- What is wrong with the installation: since when, when it was seen last, and what was told of it.
CREATE TABLE troubles (
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    since_ms INTEGER NOT NULL,
    seen_ms INTEGER NOT NULL,
    detail TEXT NOT NULL,
    told INTEGER NOT NULL DEFAULT 0,
    told_ms INTEGER,
    PRIMARY KEY (kind, subject)
) WITHOUT ROWID;

-- When the certificate of a gateway ends, as it says.
ALTER TABLE gateways ADD COLUMN certificate_ms INTEGER;
