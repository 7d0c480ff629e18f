-- Mail that was handed to Postal, and what Postal said about it.
CREATE TABLE postal_handovers (
    delivery_id uuid PRIMARY KEY,
    -- Postal's id and token; none while it is not known whether Postal took the mail.
    postal_id bigint,
    token text,
    rfc_message_id text NOT NULL,
    email text NOT NULL,
    create_ms bigint NOT NULL,
    -- When to ask Postal, if it has reported no end by then; none once there was one.
    ask_ms bigint
);
CREATE INDEX postal_handovers_ticket ON postal_handovers (postal_id, token) WHERE token IS NOT NULL;
CREATE INDEX postal_handovers_unknown ON postal_handovers (rfc_message_id) WHERE token IS NULL;
CREATE INDEX postal_handovers_ask ON postal_handovers (ask_ms) WHERE ask_ms IS NOT NULL;
CREATE INDEX postal_handovers_age ON postal_handovers (create_ms);

-- Reports that took effect, so that one which comes twice counts once.
CREATE TABLE postal_reports (
    key text PRIMARY KEY,
    create_ms bigint NOT NULL
);
CREATE INDEX postal_reports_age ON postal_reports (create_ms);

-- Reports about mail that we do not know of, or not yet.
CREATE TABLE postal_orphans (
    key text PRIMARY KEY,
    postal_id bigint NOT NULL,
    token text NOT NULL,
    rfc_message_id text NOT NULL,
    email text NOT NULL,
    body text NOT NULL,
    create_ms bigint NOT NULL
);
CREATE INDEX postal_orphans_age ON postal_orphans (create_ms);

-- What words of refusals mean besides what is built in, in the order in which they are tried.
CREATE TABLE bounce_patterns (
    position bigint PRIMARY KEY,
    category text NOT NULL,
    phrase text NOT NULL
);
