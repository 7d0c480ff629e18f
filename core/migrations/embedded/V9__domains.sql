-- The life of a DKIM key: 1 pending, 2 active, 3 retired.
ALTER TABLE dkim_keys ADD COLUMN state INTEGER NOT NULL DEFAULT 2;
-- How long the keys before it stay published once it is activated.
ALTER TABLE dkim_keys ADD COLUMN overlap_ms INTEGER NOT NULL DEFAULT 604800000;
-- When a retired key is removed.
ALTER TABLE dkim_keys ADD COLUMN remove_ms INTEGER;

-- Differs after every change of a domain or its keys.
ALTER TABLE domains ADD COLUMN change_id BLOB NOT NULL DEFAULT x'00000000000000000000000000000000';
-- What was found in the DNS, as JSON, and when it was last looked for.
ALTER TABLE domains ADD COLUMN checks TEXT NOT NULL DEFAULT '[]';
ALTER TABLE domains ADD COLUMN check_ms INTEGER;
