-- Where a credential may be used from, as a JSON array of CIDR blocks; when and where it was.
ALTER TABLE api_keys ADD COLUMN ip_allow TEXT NOT NULL DEFAULT '[]';
ALTER TABLE api_keys ADD COLUMN last_use_ms INTEGER;
ALTER TABLE api_keys ADD COLUMN last_use_address TEXT;
ALTER TABLE smtp_credentials ADD COLUMN ip_allow TEXT NOT NULL DEFAULT '[]';
ALTER TABLE smtp_credentials ADD COLUMN last_use_ms INTEGER;
ALTER TABLE smtp_credentials ADD COLUMN last_use_address TEXT;

-- Rotation: which key takes the place of which; the password before, and until when it works.
ALTER TABLE api_keys ADD COLUMN replaces BLOB;
ALTER TABLE api_keys ADD COLUMN replaced_by BLOB;
ALTER TABLE smtp_credentials ADD COLUMN old_password_hash TEXT;
ALTER TABLE smtp_credentials ADD COLUMN old_password_until_ms INTEGER;

-- Notices that a credential is about to expire: sent so many days before that time.
CREATE TABLE expiry_notices (
    credential_id BLOB NOT NULL,
    expire_ms INTEGER NOT NULL,
    days INTEGER NOT NULL,
    PRIMARY KEY (credential_id, expire_ms, days)
) WITHOUT ROWID;
