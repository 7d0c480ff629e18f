//! Acceptance on SQLite: read what decides, plan, insert row by row with prepared statements.

use std::sync::Arc;

use async_trait::async_trait;
use prost::Message as _;
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::model::directory::SuppressionReason;
use crate::model::event::NewEvent;
use crate::model::message::{Accepted, MessageRow, Submission};

use super::super::Error;
use super::super::intake::Intake;
use super::super::plan::{self, DeliveryInsert, Known, StoredKey, Suppressed};
use super::super::value::json;
use super::Embedded;

#[async_trait]
impl Intake for Embedded {
    async fn accept(
        &self,
        submissions: Arc<Vec<Submission>>,
        now_ms: i64,
    ) -> Result<Vec<Vec<Accepted>>, Error> {
        let work = move |connection: &Connection| {
            let mut known = known(connection, &submissions)?;
            let plan = plan::plan(&submissions, &mut known, now_ms);
            for message in &plan.messages {
                insert_message(connection, message)?;
            }
            for (id, create_ms, content) in &plan.bodies {
                connection
                    .prepare_cached("INSERT INTO bodies (id, create_ms, content) VALUES (?, ?, ?)")?
                    .execute(params![id, create_ms, content])?;
            }
            for delivery in &plan.deliveries {
                insert_delivery(connection, delivery)?;
            }
            for key in &plan.keys {
                connection
                    .prepare_cached(
                        "INSERT OR REPLACE INTO idempotency (key, fingerprint, expire_ms, receipt) \
                         VALUES (?, ?, ?, ?)",
                    )?
                    .execute(params![key.key, key.fingerprint, key.expire_ms, key.receipt])?;
            }
            insert_events(connection, &plan.events)?;
            Ok(plan.answers)
        };
        let answers = self.writer.run(work).await?;
        self.announce_events();
        Ok(answers)
    }
}

fn known(connection: &Connection, submissions: &[Submission]) -> Result<Known, Error> {
    let mut known = Known::default();
    for key in plan::keys(submissions) {
        let stored = connection
            .prepare_cached(
                "SELECT fingerprint, expire_ms, receipt FROM idempotency WHERE key = ?",
            )?
            .query_row([&key], |row| {
                Ok(StoredKey {
                    fingerprint: row.get(0)?,
                    expire_ms: row.get(1)?,
                    receipt: row.get(2)?,
                })
            })
            .optional()?;
        if let Some(stored) = stored {
            known.keys.insert(key, stored);
        }
    }
    known.suppressed = suppressed(connection, &plan::addresses(submissions))?;
    Ok(known)
}

/// The suppressions of these addresses.
pub(super) fn suppressed(connection: &Connection, emails: &[String]) -> Result<Suppressed, Error> {
    let mut suppressed = Suppressed::default();
    let mut statement = connection
        .prepare_cached("SELECT campaign_id, reason FROM suppressions WHERE email = ?")?;
    for email in emails {
        let mut rows = statement.query([email])?;
        while let Some(row) = rows.next()? {
            let reason = SuppressionReason::from_number(row.get(1)?);
            suppressed.insert((email.clone(), row.get(0)?), reason);
        }
    }
    Ok(suppressed)
}

fn insert_message(connection: &Connection, row: &MessageRow) -> Result<(), Error> {
    connection
        .prepare_cached(
            "INSERT INTO messages (id, content_id, batch_id, key_id, from_email, from_name, \
             subject, external_id, campaign_id, tags, metadata, priority, create_ms, send_ms, \
             expire_ms, test, rfc_message_id, trace) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            row.id.uuid(),
            row.content_id,
            row.batch_id.map(|id| id.uuid()),
            row.key_id.uuid(),
            row.from.email,
            row.from.name,
            row.subject,
            row.external_id,
            row.campaign_id,
            json(&row.tags),
            json(&row.metadata),
            row.priority as i64,
            row.create_ms,
            row.send_ms,
            row.expire_ms,
            row.test,
            row.rfc_message_id,
            row.trace.map(|trace| trace.to_bytes()),
        ])?;
    for tag in &row.tags {
        connection
            .prepare_cached("INSERT OR IGNORE INTO message_tags (tag, message_id) VALUES (?, ?)")?
            .execute(params![tag, row.id.uuid()])?;
    }
    Ok(())
}

fn insert_delivery(connection: &Connection, delivery: &DeliveryInsert<'_>) -> Result<(), Error> {
    let recipient = delivery.recipient;
    connection
        .prepare_cached(
            "INSERT INTO deliveries (id, message_id, ordinal, kind, email, name, variables, state, \
             reason, attempts, due_ms, priority, lease, update_ms) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?)",
        )?
        .execute(params![
            recipient.id.uuid(),
            delivery.message.id.uuid(),
            delivery.ordinal,
            recipient.kind as i64,
            recipient.mailbox.email,
            recipient.mailbox.name,
            recipient.variables,
            delivery.state as i64,
            delivery.reason,
            delivery.due_ms,
            delivery.message.priority as i64,
            delivery.lease,
            delivery.message.create_ms,
        ])?;
    Ok(())
}

/// Appends events and counts them.
pub(super) fn insert_events(connection: &Connection, events: &[NewEvent]) -> Result<(), Error> {
    for event in events {
        connection
            .prepare_cached(
                "INSERT INTO events (id, type, create_ms, message_id, delivery_id, attempt, \
                 reason, reply, possible_duplicate, next_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )?
            .execute(params![
                event.id.uuid(),
                event.kind as i64,
                event.create_ms,
                event.message_id.uuid(),
                event.delivery_id.uuid(),
                event.attempt,
                event.reason,
                event.reply.as_ref().map(|reply| reply.encode_to_vec()),
                event.possible_duplicate,
                event.next_ms,
            ])?;
    }
    for count in plan::counts(events) {
        connection
            .prepare_cached(
                "INSERT INTO stats (hour_ms, campaign_id, type, shard, count) \
                 VALUES (?, ?, ?, 0, ?) ON CONFLICT (hour_ms, campaign_id, type, shard) \
                 DO UPDATE SET count = count + excluded.count",
            )?
            .execute(params![count.hour_ms, count.campaign_id, count.kind, count.count])?;
    }
    Ok(())
}
