//! Leases, attempts and results on SQLite.

use async_trait::async_trait;
use bytes::Bytes;
use postern_kit::trace::Trace;
use postern_proto::ids::{EventId, MessageId, RecipientId};
use prost::Message as _;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use uuid::Uuid;

use crate::model::content::Mailbox;
use crate::model::delivery::State;
use crate::model::event::{EventType, NewEvent};
use crate::model::message::{Claimed, Priority};

use super::super::Error;
use super::super::plan;
use super::super::queue::{Begun, Depth, Finish, Queue};
use super::Embedded;
use super::intake::{insert_events, suppressed};
use super::reports::{hand_over, suppress};

/// How many leases are taken away in one transaction.
const REAP_MAX: usize = 1000;
/// How many contents are dropped in one transaction.
const PURGE_MAX: usize = 500;

#[async_trait]
impl Queue for Embedded {
    async fn heartbeat(&self, node: Uuid, now_ms: i64) -> Result<(), Error> {
        let work = move |connection: &Connection| {
            connection
                .prepare_cached("INSERT OR REPLACE INTO nodes (id, heartbeat_ms) VALUES (?, ?)")?
                .execute(params![node, now_ms])?;
            Ok(())
        };
        self.writer.run(work).await
    }

    async fn claim(&self, node: Uuid, now_ms: i64, limit: usize) -> Result<Vec<Claimed>, Error> {
        self.writer.run(move |connection| claim(connection, node, now_ms, limit)).await
    }

    async fn begin(
        &self,
        node: Uuid,
        ids: &[RecipientId],
        now_ms: i64,
    ) -> Result<Vec<Begun>, Error> {
        let ids = ids.to_vec();
        let work = move |connection: &Connection| {
            let mut begun = Vec::with_capacity(ids.len());
            let mut statement = connection.prepare_cached(
                "UPDATE deliveries SET state = 3, attempts = attempts + 1, update_ms = ? \
                 WHERE id = ? AND lease = ? AND state IN (1, 2, 4) RETURNING attempts",
            )?;
            for id in ids {
                let attempt = statement
                    .query_row(params![now_ms, id.uuid(), node], |row| row.get(0))
                    .optional()?;
                begun.extend(attempt.map(|attempt| Begun { id, attempt }));
            }
            Ok(begun)
        };
        self.writer.run(work).await
    }

    async fn finish(
        &self,
        node: Uuid,
        results: &[Finish],
        _now_ms: i64,
    ) -> Result<Vec<bool>, Error> {
        let results = results.to_vec();
        let work = move |connection: &Connection| {
            let mut held = Vec::with_capacity(results.len());
            let mut events = Vec::with_capacity(results.len());
            for result in results {
                let changed = finish(connection, node, &result)?;
                if changed {
                    if let Some(new) = &result.hand_over {
                        hand_over(connection, result.id, new, result.event.create_ms)?;
                    }
                    if let Some(entry) = &result.suppress {
                        suppress(connection, entry)?;
                    }
                    events.push(result.event);
                }
                held.push(changed);
            }
            insert_events(connection, &events)?;
            Ok(held)
        };
        let held = self.writer.run(work).await?;
        self.announce_events();
        Ok(held)
    }

    async fn release(&self, node: Uuid, ids: &[RecipientId]) -> Result<(), Error> {
        let ids = ids.to_vec();
        let work = move |connection: &Connection| {
            let mut statement = connection.prepare_cached(
                "UPDATE deliveries SET lease = NULL WHERE id = ? AND lease = ? AND state <> 3",
            )?;
            for id in ids {
                statement.execute(params![id.uuid(), node])?;
            }
            Ok(())
        };
        self.writer.run(work).await
    }

    async fn postpone(&self, node: Uuid, until: &[(RecipientId, i64)]) -> Result<(), Error> {
        let until = until.to_vec();
        let work = move |connection: &Connection| {
            let mut statement = connection.prepare_cached(
                "UPDATE deliveries SET lease = NULL, due_ms = ? \
                 WHERE id = ? AND lease = ? AND state IN (1, 2, 4)",
            )?;
            for (id, due_ms) in until {
                statement.execute(params![due_ms, id.uuid(), node])?;
            }
            Ok(())
        };
        self.writer.run(work).await
    }

    async fn reap(&self, stale_before_ms: i64, now_ms: i64) -> Result<usize, Error> {
        let work = move |connection: &Connection| reap(connection, stale_before_ms, now_ms);
        let freed = self.writer.run(work).await?;
        self.announce_events();
        Ok(freed)
    }

    async fn cancel(&self, message: MessageId, now_ms: i64) -> Result<usize, Error> {
        let work = move |connection: &Connection| {
            let sql = "UPDATE deliveries SET state = 10, lease = NULL, update_ms = ? \
                       WHERE message_id = ? AND state IN (1, 2, 4) \
                       RETURNING id, message_id, attempts, \
                       (SELECT campaign_id FROM messages m WHERE m.id = deliveries.message_id)";
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map(params![now_ms, message.uuid()], |row| {
                event_of(row, EventType::Canceled, now_ms)
            })?;
            let events = rows.collect::<Result<Vec<_>, _>>()?;
            insert_events(connection, &events)?;
            Ok(events.len())
        };
        let canceled = self.writer.run(work).await?;
        self.announce_events();
        Ok(canceled)
    }

    async fn content(&self, id: Uuid) -> Result<Option<Bytes>, Error> {
        let read = move |connection: &Connection| {
            let content = connection
                .prepare_cached("SELECT content FROM bodies WHERE id = ?")?
                .query_row([id], |row| row.get::<_, Vec<u8>>(0))
                .optional()?;
            Ok(content.map(Bytes::from))
        };
        self.reading(read).await
    }

    async fn next_due(&self) -> Result<Option<i64>, Error> {
        Ok(self.depth_of_due().await?)
    }

    async fn depth(&self) -> Result<Depth, Error> {
        let read = |connection: &Connection| {
            // Both halves are answered by the partial indexes over open deliveries.
            let mut statement = connection.prepare_cached(
                "SELECT state, COUNT(*), NULL FROM deliveries WHERE lease IS NOT NULL \
                 GROUP BY state UNION ALL \
                 SELECT state, COUNT(*), MIN(due_ms) FROM deliveries \
                 WHERE lease IS NULL AND state < 5 GROUP BY state",
            )?;
            let mut rows = statement.query([])?;
            let mut depth = Depth::default();
            while let Some(row) = rows.next()? {
                depth.add(row.get(0)?, row.get(1)?, row.get(2)?);
            }
            Ok(depth)
        };
        self.reading(read).await
    }

    async fn fold_counts(&self, _before_ms: i64) -> Result<usize, Error> {
        // One writer needs no shards: there is one row anyway.
        Ok(0)
    }

    async fn purge(&self, before_ms: i64, now_ms: i64) -> Result<usize, Error> {
        let work = move |connection: &Connection| {
            connection
                .prepare_cached("DELETE FROM idempotency WHERE expire_ms <= ?")?
                .execute([now_ms])?;
            let sql = format!(
                "DELETE FROM bodies WHERE id IN (SELECT b.id FROM bodies b WHERE b.create_ms < ? \
                 AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.message_id = b.id \
                 AND d.state < 5) AND NOT EXISTS (SELECT 1 FROM messages m JOIN deliveries d \
                 ON d.message_id = m.id WHERE m.batch_id = b.id AND d.state < 5) \
                 LIMIT {PURGE_MAX})"
            );
            Ok(connection.prepare_cached(&sql)?.execute([before_ms])?)
        };
        self.writer.run(work).await
    }
}

impl Embedded {
    async fn depth_of_due(&self) -> Result<Option<i64>, Error> {
        let sql = "SELECT MIN(due_ms) FROM deliveries WHERE lease IS NULL AND state < 5";
        self.reading(move |connection| {
            Ok(connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
        })
        .await
    }
}

fn claim(
    connection: &Connection,
    node: Uuid,
    now_ms: i64,
    limit: usize,
) -> Result<Vec<Claimed>, Error> {
    let mut leased = connection.prepare_cached(
        "UPDATE deliveries SET lease = ? WHERE id IN (SELECT id FROM deliveries \
         WHERE lease IS NULL AND state < 5 AND due_ms <= ? ORDER BY priority, due_ms LIMIT ?) \
         RETURNING id",
    )?;
    let ids = leased
        .query_map(params![node, now_ms, limit as i64], |row| row.get::<_, Uuid>(0))?
        .collect::<Result<Vec<_>, _>>()?;
    let mut select = connection.prepare_cached(
        "SELECT d.id, d.message_id, m.content_id, d.email, d.name, d.variables, m.campaign_id, \
         m.priority, d.attempts, COALESCE(m.send_ms, m.create_ms), m.expire_ms, m.test, m.rfc_message_id, \
         m.from_email, m.trace \
         FROM deliveries d JOIN messages m ON m.id = d.message_id WHERE d.id = ?",
    )?;
    let mut claimed = Vec::with_capacity(ids.len());
    for id in ids {
        claimed.push(select.query_row([id], claimed_of)?);
    }
    claimed.sort_by_key(|delivery| delivery.priority);
    let suppressed = suppressed(connection, &plan::claimed_addresses(&claimed))?;
    plan::mark(&mut claimed, &suppressed);
    Ok(claimed)
}

fn claimed_of(row: &Row<'_>) -> Result<Claimed, rusqlite::Error> {
    Ok(Claimed {
        id: RecipientId::from_uuid(row.get(0)?),
        message_id: MessageId::from_uuid(row.get(1)?),
        content_id: row.get(2)?,
        mailbox: Mailbox { email: row.get(3)?, name: row.get(4)? },
        variables: row.get(5)?,
        campaign_id: row.get(6)?,
        priority: Priority::from_number(row.get(7)?),
        attempts: row.get(8)?,
        date_ms: row.get(9)?,
        expire_ms: row.get(10)?,
        test: row.get(11)?,
        rfc_message_id: row.get(12)?,
        sender: row.get(13)?,
        trace: row.get::<_, Option<Vec<u8>>>(14)?.as_deref().and_then(Trace::from_bytes),
        suppressed: None,
    })
}

fn finish(connection: &Connection, node: Uuid, result: &Finish) -> Result<bool, Error> {
    // A delivery that was not begun is in any open state but `sending`.
    let fence = if result.attempt == 0 {
        "state IN (1, 2, 4) AND 0 = ?"
    } else {
        "state = 3 AND attempts = ?"
    };
    let sql = format!(
        "UPDATE deliveries SET state = ?, reason = ?, due_ms = ?, lease = NULL, \
         reply = COALESCE(?, reply), update_ms = ? WHERE id = ? AND lease = ? AND {fence}"
    );
    let event = &result.event;
    let changed = connection.prepare_cached(&sql)?.execute(params![
        result.state as i64,
        event.reason,
        result.due_ms,
        event.reply.as_ref().map(|reply| reply.alone().encode_to_vec()),
        event.create_ms,
        result.id.uuid(),
        node,
        result.attempt,
    ])?;
    Ok(changed > 0)
}

fn reap(connection: &Connection, stale_before_ms: i64, now_ms: i64) -> Result<usize, Error> {
    connection
        .prepare_cached("DELETE FROM nodes WHERE heartbeat_ms < ?")?
        .execute([stale_before_ms])?;
    let sql = format!(
        "UPDATE deliveries SET lease = NULL, update_ms = ? WHERE id IN (SELECT id FROM deliveries \
         WHERE lease IS NOT NULL AND lease NOT IN (SELECT id FROM nodes) LIMIT {REAP_MAX}) \
         RETURNING id, message_id, attempts, \
         (SELECT campaign_id FROM messages m WHERE m.id = deliveries.message_id), state"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(params![now_ms], |row| {
        let sending = row.get::<_, i64>(4)? == State::Sending as i64;
        Ok((event_of(row, EventType::Recovered, now_ms)?, sending))
    })?;
    let freed = rows.collect::<Result<Vec<_>, _>>()?;
    let count = freed.len();
    let sending = freed.into_iter().filter(|(_, sending)| *sending).map(|(event, _)| event);
    let events: Vec<NewEvent> = sending.collect();
    for event in &events {
        connection
            .prepare_cached("UPDATE deliveries SET state = 4, due_ms = ? WHERE id = ?")?
            .execute(params![now_ms, event.delivery_id.uuid()])?;
    }
    insert_events(connection, &events)?;
    Ok(count)
}

fn event_of(row: &Row<'_>, kind: EventType, now_ms: i64) -> Result<NewEvent, rusqlite::Error> {
    Ok(NewEvent {
        id: EventId::generate(),
        kind,
        create_ms: now_ms,
        message_id: MessageId::from_uuid(row.get(1)?),
        delivery_id: RecipientId::from_uuid(row.get(0)?),
        campaign_id: row.get(3)?,
        attempt: row.get(2)?,
        reason: String::new(),
        reply: None,
        possible_duplicate: kind == EventType::Recovered,
        next_ms: None,
    })
}
