-- Makes a large installation of a small one: every message, delivery and event that is there is copied
-- until there are as many messages as asked for, each copy an hour and a bit older than the one before.
--   psql -v messages=1000000 -f dashboard.sql
-- The ids stay UUIDv7 of the time that they say.

-- Takes `ms` off the time in a UUIDv7 and marks its last digits, so that no two copies are alike.
CREATE FUNCTION pg_temp.older(id uuid, ms bigint, copy bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN id IS NULL THEN NULL WHEN id = '00000000-0000-0000-0000-000000000000' THEN id ELSE (
        lpad(to_hex(('x' || left(replace(id::text, '-', ''), 12))::bit(48)::bigint - ms), 12, '0')
        || substr(replace(id::text, '-', ''), 13, 14) || lpad(to_hex(copy), 6, '0'))::uuid END
$$;

CREATE TEMP TABLE copies AS
    SELECT n AS copy, n * 3700000::bigint AS ms FROM generate_series(1,
        (SELECT greatest(:messages / count(*) - 1, 0) FROM messages)) AS n;

INSERT INTO messages
    SELECT pg_temp.older(m.id, ms, copy), pg_temp.older(content_id, ms, copy), batch_id, key_id, from_email,
        from_name, subject, external_id || '-' || copy, campaign_id, tags, metadata, priority, create_ms - ms,
        send_ms - ms, expire_ms - ms, test, rfc_message_id
    FROM messages m, copies;
INSERT INTO message_tags
    SELECT tag, pg_temp.older(message_id, ms, copy) FROM message_tags, copies;
INSERT INTO deliveries
    SELECT pg_temp.older(d.id, ms, copy), pg_temp.older(message_id, ms, copy), ordinal, kind,
        copy || '.' || email, name, variables, state, reason, attempts, due_ms - ms, priority, lease, reply,
        update_ms - ms
    FROM deliveries d, copies;
-- Older events stand further in front; the clock was set so that there is room.
INSERT INTO events
    SELECT sequence - copy * 4096 * 100000, pg_temp.older(e.id, ms, copy), type, create_ms - ms,
        pg_temp.older(message_id, ms, copy), pg_temp.older(delivery_id, ms, copy), attempt, reason, reply,
        possible_duplicate, next_ms - ms, detail
    FROM events e, copies;
INSERT INTO stats
    SELECT hour_ms - copy * 3600000, campaign_id, type, shard, count FROM stats, copies
    ON CONFLICT DO NOTHING;
INSERT INTO suppressions
    SELECT pg_temp.older(s.id, ms, copy), copy || '.' || email, reason, campaign_id, note, create_ms - ms
    FROM suppressions s, copies;
ANALYZE;
