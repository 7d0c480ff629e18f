-- People who may log in to the dashboard.
CREATE TABLE operators (
    id uuid PRIMARY KEY,
    username text NOT NULL,
    -- PHC string of Argon2id.
    password_hash text NOT NULL,
    role bigint NOT NULL,
    -- The secret of the authenticator app in use; empty: none.
    totp_secret bytea NOT NULL,
    -- One that was handed out and not confirmed yet.
    totp_pending bytea NOT NULL,
    -- The last period whose code was used: no code counts twice.
    totp_step bigint NOT NULL,
    create_ms bigint NOT NULL,
    login_ms bigint
);
CREATE UNIQUE INDEX operators_username ON operators (username);

-- Who is logged in. Of a session only the SHA-256 is known.
CREATE TABLE operator_sessions (
    hash bytea PRIMARY KEY,
    operator_id uuid NOT NULL,
    expire_ms bigint NOT NULL
);
CREATE INDEX operator_sessions_operator ON operator_sessions (operator_id);
CREATE INDEX operator_sessions_expire ON operator_sessions (expire_ms);

-- Who did what. Written in the transaction that did it.
CREATE TABLE audit_log (
    id uuid PRIMARY KEY,
    create_ms bigint NOT NULL,
    actor text NOT NULL,
    actor_name text NOT NULL,
    action text NOT NULL,
    target text NOT NULL,
    detail text NOT NULL,
    client_ip text NOT NULL,
    request_id text NOT NULL
);
CREATE INDEX audit_log_actor ON audit_log (actor, id);
CREATE INDEX audit_log_target ON audit_log (target, id);
