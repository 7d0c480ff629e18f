-- People who may log in to the dashboard.
CREATE TABLE operators (
    id BLOB PRIMARY KEY,
    username TEXT NOT NULL,
    -- PHC string of Argon2id.
    password_hash TEXT NOT NULL,
    role INTEGER NOT NULL,
    -- The secret of the authenticator app in use; empty: none.
    totp_secret BLOB NOT NULL,
    -- One that was handed out and not confirmed yet.
    totp_pending BLOB NOT NULL,
    -- The last period whose code was used: no code counts twice.
    totp_step INTEGER NOT NULL,
    create_ms INTEGER NOT NULL,
    login_ms INTEGER
) WITHOUT ROWID;
CREATE UNIQUE INDEX operators_username ON operators (username);

-- Who is logged in. Of a session only the SHA-256 is known.
CREATE TABLE operator_sessions (
    hash BLOB PRIMARY KEY,
    operator_id BLOB NOT NULL,
    expire_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX operator_sessions_operator ON operator_sessions (operator_id);
CREATE INDEX operator_sessions_expire ON operator_sessions (expire_ms);

-- Who did what. Written in the transaction that did it.
CREATE TABLE audit_log (
    id BLOB PRIMARY KEY,
    create_ms INTEGER NOT NULL,
    actor TEXT NOT NULL,
    actor_name TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    detail TEXT NOT NULL,
    client_ip TEXT NOT NULL,
    request_id TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX audit_log_actor ON audit_log (actor, id);
CREATE INDEX audit_log_target ON audit_log (target, id);
