CREATE TABLE smtp_credentials (
    id uuid PRIMARY KEY,
    username text NOT NULL,
    password_hash text NOT NULL,
    display_name text NOT NULL,
    sender_domains text NOT NULL,
    rate_limit bigint NOT NULL,
    daily_limit bigint NOT NULL,
    header_aliases text NOT NULL,
    expire_ms bigint,
    test boolean NOT NULL,
    create_ms bigint NOT NULL,
    revoke_ms bigint
);
CREATE UNIQUE INDEX smtp_credentials_username ON smtp_credentials (username);
