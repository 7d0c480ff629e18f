//! SQLite: one writer, one transaction for as many messages as there would be callers.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rusqlite::{Connection, params};
use uuid::Uuid;

use super::{DAY_MS, ENVELOPE_BYTES, NORMAL, SCHEDULED, SCHEDULED_EVENT, TRACE, now_ms};
use crate::figure::Figure;
use crate::text::Texts;

/// Inserts messages into the tables that a Postern made in `folder`.
pub(crate) fn run(
    folder: &Path,
    seconds: Duration,
    bytes: usize,
    callers: usize,
) -> anyhow::Result<Figure> {
    let connection = Connection::open(folder.join("postern.db"))?;
    for (name, value) in [("cache_size", "-65536"), ("temp_store", "MEMORY")] {
        connection.pragma_update(None, name, value)?;
    }
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.set_prepared_statement_cache_capacity(128);
    let texts = Texts::new();
    let (began, mut count) = (Instant::now(), 0u64);
    while began.elapsed() < seconds {
        connection.execute_batch("BEGIN IMMEDIATE")?;
        let now = now_ms();
        for _ in 0..callers {
            count += 1;
            insert(&connection, now, &texts.text(count, bytes + ENVELOPE_BYTES), count)
                .context("start a Postern on the folder first")?;
        }
        connection
            .prepare_cached(
                "INSERT INTO stats (hour_ms, campaign_id, type, shard, count) \
                 VALUES (?, ?, ?, 0, ?) ON CONFLICT (hour_ms, campaign_id, type, shard) \
                 DO UPDATE SET count = count + excluded.count",
            )?
            .execute(params![now - now % 3_600_000, "", SCHEDULED_EVENT, callers as i64])?;
        connection.execute_batch("COMMIT")?;
    }
    let name = format!("sqlite/store-{callers}");
    let what = format!("the store driven directly, {callers} in a transaction");
    Ok(Figure::rate(&name, &what, count, began.elapsed()))
}

fn insert(connection: &Connection, now: i64, body: &str, n: u64) -> anyhow::Result<()> {
    let message = Uuid::now_v7();
    connection
        .prepare_cached(
            "INSERT INTO messages (id, content_id, batch_id, key_id, from_email, from_name, \
             subject, external_id, campaign_id, tags, metadata, priority, create_ms, send_ms, \
             expire_ms, test, rfc_message_id, trace) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            message,
            message,
            None::<Uuid>,
            message,
            "load@example.com",
            "",
            "Load",
            "",
            "",
            "[]",
            "{}",
            NORMAL,
            now,
            now + DAY_MS,
            now + 4 * DAY_MS,
            false,
            format!("{message}@example.com"),
            TRACE,
        ])?;
    connection
        .prepare_cached("INSERT INTO bodies (id, create_ms, content) VALUES (?, ?, ?)")?
        .execute(params![message, now, body.as_bytes()])?;
    insert_delivery(connection, now, message, n)
}

fn insert_delivery(connection: &Connection, now: i64, message: Uuid, n: u64) -> anyhow::Result<()> {
    let (delivery, event) = (Uuid::now_v7(), Uuid::now_v7());
    connection
        .prepare_cached(
            "INSERT INTO deliveries (id, message_id, ordinal, kind, email, name, variables, state, \
             reason, attempts, due_ms, priority, lease, update_ms) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?)",
        )?
        .execute(params![
            delivery,
            message,
            0,
            1,
            format!("user{}@example.net", n % 64),
            "",
            "",
            SCHEDULED,
            "",
            now + DAY_MS,
            NORMAL,
            None::<Uuid>,
            now,
        ])?;
    connection
        .prepare_cached(
            "INSERT INTO events (id, type, create_ms, message_id, delivery_id, attempt, \
             reason, reply, possible_duplicate, next_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            event,
            SCHEDULED_EVENT,
            now,
            message,
            delivery,
            0,
            "",
            None::<Vec<u8>>,
            false,
            now + DAY_MS,
        ])?;
    Ok(())
}
