//! What the machine and the stores can do at all: the ceilings that other figures are held against.
//! The rows are those of one message: message, body, delivery, event.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rusqlite::{Connection, params};

use crate::report::Figure;

/// Messages in a transaction.
const BATCH: usize = 64;

/// Appends 4 KiB and syncs, again and again.
pub(crate) fn fsync(folder: &Path, seconds: Duration) -> anyhow::Result<Figure> {
    std::fs::create_dir_all(folder)?;
    let path = folder.join("fsync-probe");
    let mut file = File::create(&path)?;
    let (block, began, mut count) = ([7u8; 4096], Instant::now(), 0);
    while began.elapsed() < seconds {
        file.write_all(&block)?;
        file.sync_data()?;
        count += 1;
    }
    let figure = Figure::new("fdatasync of 4 KiB appended", count, began.elapsed().as_secs_f64());
    std::fs::remove_file(path)?;
    Ok(figure)
}

/// Inserts messages into the tables that a Postern made in `folder`, 64 to a transaction.
pub(crate) fn sqlite(folder: &Path, seconds: Duration, bytes: usize) -> anyhow::Result<Figure> {
    let path = folder.join("postern.db");
    let connection = Connection::open(&path)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    let body = vec![b'x'; bytes];
    let (began, mut count) = (Instant::now(), 0u64);
    while began.elapsed() < seconds {
        connection.execute_batch("BEGIN IMMEDIATE")?;
        for _ in 0..BATCH {
            count += 1;
            insert(&connection, &body, count).context("start a Postern on the folder first")?;
        }
        connection.execute_batch("COMMIT")?;
    }
    Ok(Figure::new(
        "SQLite, whole messages, 64 a transaction",
        count,
        began.elapsed().as_secs_f64(),
    ))
}

fn insert(connection: &Connection, body: &[u8], n: u64) -> anyhow::Result<()> {
    let (message, delivery, event) = (id(), id(), id());
    let rfc = format!("{n}@example.com");
    connection
        .prepare_cached(
            "INSERT INTO messages (id, content_id, key_id, from_email, from_name, subject, \
             external_id, campaign_id, tags, metadata, priority, create_ms, expire_ms, test, \
             rfc_message_id) VALUES (?1, ?1, ?1, 'load@example.com', '', 'Load', '', '', '[]', '{}', \
             2, 1, 2, 0, ?2)",
        )?
        .execute(params![message, rfc])?;
    connection
        .prepare_cached("INSERT INTO bodies (id, create_ms, content) VALUES (?1, 1, ?2)")?
        .execute(params![message, body])?;
    connection
        .prepare_cached(
            "INSERT INTO deliveries (id, message_id, ordinal, kind, email, name, variables, state, \
             reason, attempts, due_ms, priority, lease, update_ms) \
             VALUES (?1, ?2, 0, 1, ?3, '', '', 5, '', 0, 1, 2, ?1, 1)",
        )?
        .execute(params![delivery, message, format!("user{}@example.net", n % 64)])?;
    connection
        .prepare_cached(
            "INSERT INTO events (id, type, create_ms, message_id, delivery_id, attempt, reason, \
             possible_duplicate) VALUES (?1, 1, 1, ?2, ?3, 0, '', 0)",
        )?
        .execute(params![event, message, delivery])?;
    Ok(())
}

/// A fresh UUIDv7, as the 16 bytes that SQLite keeps.
fn id() -> Vec<u8> {
    uuid::Uuid::now_v7().as_bytes().to_vec()
}

/// Inserts messages into Postern's tables of a PostgreSQL, 64 to a statement.
pub(crate) async fn postgres(url: &str, seconds: Duration, bytes: usize) -> anyhow::Result<Figure> {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
    let driver = tokio::spawn(connection);
    let statement = client
        .prepare(
            "WITH m AS (INSERT INTO messages (id, content_id, key_id, from_email, from_name, \
             subject, external_id, campaign_id, tags, metadata, priority, create_ms, expire_ms, \
             test, rfc_message_id) SELECT u, u, u, 'load@example.com', '', 'Load', '', '', '[]', \
             '{}', 2, 1, 2, false, u::text FROM UNNEST($1::uuid[]) u), \
             b AS (INSERT INTO bodies (id, create_ms, content) SELECT u, 1, $2 \
             FROM UNNEST($1::uuid[]) u), \
             d AS (INSERT INTO deliveries (id, message_id, ordinal, kind, email, name, variables, \
             state, reason, attempts, due_ms, priority, lease, update_ms) SELECT u, u, 0, 1, \
             'user@example.net', '', '', 5, '', 0, 1, 2, u, 1 FROM UNNEST($1::uuid[]) u) \
             INSERT INTO events (sequence, id, type, create_ms, message_id, delivery_id, attempt, \
             reason, possible_duplicate) SELECT pg_current_xact_id()::text::bigint * 4096 + n, u, 1, \
             1, u, u, 0, '', false FROM UNNEST($1::uuid[]) WITH ORDINALITY x (u, n)",
        )
        .await
        .context("start a Postern on the database first")?;
    let body = vec![b'x'; bytes];
    let (began, mut count) = (Instant::now(), 0);
    while began.elapsed() < seconds {
        let ids: Vec<uuid::Uuid> = (0..BATCH).map(|_| uuid::Uuid::now_v7()).collect();
        client.execute(&statement, &[&ids, &body]).await?;
        count += BATCH as u64;
    }
    let figure = Figure::new(
        "PostgreSQL, whole messages, 64 a statement",
        count,
        began.elapsed().as_secs_f64(),
    );
    driver.abort();
    Ok(figure)
}
