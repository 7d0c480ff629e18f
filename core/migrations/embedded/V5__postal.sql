-- Mail that was handed to Postal, and what Postal said about it.
CREATE TABLE postal_handovers (
    delivery_id BLOB PRIMARY KEY,
    -- Postal's id and token; none while it is not known whether Postal took the mail.
    postal_id INTEGER,
    token TEXT,
    rfc_message_id TEXT NOT NULL,
    email TEXT NOT NULL,
    create_ms INTEGER NOT NULL,
    -- When to ask Postal, if it has reported no end by then; none once there was one.
    ask_ms INTEGER
);
CREATE INDEX postal_handovers_ticket ON postal_handovers (postal_id, token) WHERE token IS NOT NULL;
CREATE INDEX postal_handovers_unknown ON postal_handovers (rfc_message_id) WHERE token IS NULL;
CREATE INDEX postal_handovers_ask ON postal_handovers (ask_ms) WHERE ask_ms IS NOT NULL;
CREATE INDEX postal_handovers_age ON postal_handovers (create_ms);

-- Reports that took effect, so that one which comes twice counts once.
CREATE TABLE postal_reports (
    key TEXT PRIMARY KEY,
    create_ms INTEGER NOT NULL
);
CREATE INDEX postal_reports_age ON postal_reports (create_ms);

-- Reports about mail that we do not know of, or not yet.
CREATE TABLE postal_orphans (
    key TEXT PRIMARY KEY,
    postal_id INTEGER NOT NULL,
    token TEXT NOT NULL,
    rfc_message_id TEXT NOT NULL,
    email TEXT NOT NULL,
    body TEXT NOT NULL,
    create_ms INTEGER NOT NULL
);
CREATE INDEX postal_orphans_age ON postal_orphans (create_ms);

-- What words of refusals mean besides what is built in, in the order in which they are tried.
CREATE TABLE bounce_patterns (
    position INTEGER PRIMARY KEY,
    category TEXT NOT NULL,
    phrase TEXT NOT NULL
);
