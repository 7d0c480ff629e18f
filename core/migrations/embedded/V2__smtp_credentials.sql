CREATE TABLE smtp_credentials (
    id BLOB PRIMARY KEY,
    username TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    display_name TEXT NOT NULL,
    sender_domains TEXT NOT NULL,
    rate_limit INTEGER NOT NULL,
    daily_limit INTEGER NOT NULL,
    header_aliases TEXT NOT NULL,
    expire_ms INTEGER,
    test INTEGER NOT NULL,
    create_ms INTEGER NOT NULL,
    revoke_ms INTEGER
) WITHOUT ROWID;
CREATE UNIQUE INDEX smtp_credentials_username ON smtp_credentials (username);
