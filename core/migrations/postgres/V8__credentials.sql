-- Where a credential may be used from, as a JSON array of CIDR blocks; when and where it was.
ALTER TABLE api_keys ADD COLUMN ip_allow text NOT NULL DEFAULT '[]';
ALTER TABLE api_keys ADD COLUMN last_use_ms bigint;
ALTER TABLE api_keys ADD COLUMN last_use_address text;
ALTER TABLE smtp_credentials ADD COLUMN ip_allow text NOT NULL DEFAULT '[]';
ALTER TABLE smtp_credentials ADD COLUMN last_use_ms bigint;
ALTER TABLE smtp_credentials ADD COLUMN last_use_address text;

-- Rotation: which key takes the place of which; the password before, and until when it works.
ALTER TABLE api_keys ADD COLUMN replaces uuid;
ALTER TABLE api_keys ADD COLUMN replaced_by uuid;
ALTER TABLE smtp_credentials ADD COLUMN old_password_hash text;
ALTER TABLE smtp_credentials ADD COLUMN old_password_until_ms bigint;

-- Notices that a credential is about to expire: sent so many days before that time.
CREATE TABLE expiry_notices (
    credential_id uuid NOT NULL,
    expire_ms bigint NOT NULL,
    days bigint NOT NULL,
    PRIMARY KEY (credential_id, expire_ms, days)
);
