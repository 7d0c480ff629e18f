//! Reports of other systems on SQLite.

use async_trait::async_trait;
use postern_proto::ids::{MessageId, RecipientId};
use prost::Message as _;
use rusqlite::{Connection, OptionalExtension as _, params};
use uuid::Uuid;

use crate::model::delivery::State;
use crate::model::directory::Suppression;

use super::super::Error;
use super::super::queue::NewHandOver;
use super::super::reports::{self, Change, Report, Reported, Reports, Standing, Subject};
use super::Embedded;
use super::intake::insert_events;

#[async_trait]
impl Reports for Embedded {
    async fn report(&self, report: Report) -> Result<Reported, Error> {
        let reported = self.writer.run(move |connection| take_in(connection, &report)).await?;
        self.announce_events();
        Ok(reported)
    }
}

/// Remembers a mail that was handed over, or may have been.
pub(super) fn hand_over(
    connection: &Connection,
    id: RecipientId,
    new: &NewHandOver,
    create_ms: i64,
) -> Result<(), Error> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO postal_handovers (delivery_id, postal_id, token, \
             rfc_message_id, email, create_ms, ask_ms) VALUES (?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            id.uuid(),
            new.ticket.as_ref().map(|ticket| ticket.id),
            new.ticket.as_ref().map(|ticket| ticket.token.as_str()),
            new.rfc_message_id,
            new.email,
            create_ms,
            new.ask_ms,
        ])?;
    Ok(())
}

/// Suppresses an address, if it is not yet. Returns how many addresses that was.
pub(super) fn suppress(connection: &Connection, entry: &Suppression) -> Result<usize, Error> {
    let suppressed = connection
        .prepare_cached(
            "INSERT OR IGNORE INTO suppressions (id, email, reason, campaign_id, note, create_ms) \
             VALUES (?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            entry.id.uuid(),
            entry.email,
            entry.reason as i64,
            entry.campaign_id,
            entry.note,
            entry.create_ms
        ])?;
    Ok(suppressed)
}

fn take_in(connection: &Connection, report: &Report) -> Result<Reported, Error> {
    let Some(id) = handed_over(connection, &report.subject)? else {
        let known = connection
            .prepare_cached("SELECT 1 FROM postal_reports WHERE key = ?")?
            .exists([&report.key])?;
        return Ok(if known { Reported::Repeated } else { Reported::Unknown });
    };
    let new = connection
        .prepare_cached("INSERT OR IGNORE INTO postal_reports (key, create_ms) VALUES (?, ?)")?
        .execute(params![report.key, report.create_ms])?;
    if new == 0 {
        return Ok(Reported::Repeated);
    }
    let Some(standing) = standing(connection, id)? else { return Ok(Reported::Late) };
    let change = reports::change(&standing, report);
    let ask_ms = change.as_ref().and_then(|change| change.ask_ms);
    let ticket = &report.subject.ticket;
    connection
        .prepare_cached(
            "UPDATE postal_handovers SET postal_id = ?, token = ?, ask_ms = ? \
             WHERE delivery_id = ?",
        )?
        .execute(params![ticket.id, ticket.token, ask_ms, id])?;
    let Some(change) = change else { return Ok(Reported::Late) };
    apply(connection, id, change)?;
    Ok(Reported::Applied)
}

/// The delivery that a report is about.
fn handed_over(connection: &Connection, subject: &Subject) -> Result<Option<Uuid>, Error> {
    let by_ticket = connection
        .prepare_cached(
            "SELECT delivery_id FROM postal_handovers WHERE postal_id = ? AND token = ?",
        )?
        .query_row(params![subject.ticket.id, subject.ticket.token], |row| row.get(0))
        .optional()?;
    if by_ticket.is_some() || subject.rfc_message_id.is_empty() {
        return Ok(by_ticket);
    }
    let by_message_id = connection
        .prepare_cached(
            "SELECT delivery_id FROM postal_handovers \
             WHERE rfc_message_id = ? AND email = ? AND token IS NULL LIMIT 1",
        )?
        .query_row(params![subject.rfc_message_id, subject.email], |row| row.get(0))
        .optional()?;
    Ok(by_message_id)
}

fn standing(connection: &Connection, id: Uuid) -> Result<Option<Standing>, Error> {
    let found = connection
        .prepare_cached(
            "SELECT d.message_id, m.campaign_id, d.email, d.state, d.attempts FROM deliveries d \
             JOIN messages m ON m.id = d.message_id WHERE d.id = ?",
        )?
        .query_row([id], |row| {
            let state = State::from_number(row.get(3)?);
            Ok(state.map_or(Err(unknown_state()), |state| {
                Ok(Standing {
                    delivery: RecipientId::from_uuid(id),
                    message: MessageId::from_uuid(row.get(0)?),
                    campaign_id: row.get(1)?,
                    email: row.get(2)?,
                    state,
                    attempts: row.get(4)?,
                })
            }))
        })
        .optional()?;
    found.transpose()
}

fn unknown_state() -> Error {
    Error::Corrupt("unknown state".to_owned())
}

fn apply(connection: &Connection, id: Uuid, change: Change) -> Result<(), Error> {
    let event = change.event;
    if change.is_turn {
        connection
            .prepare_cached(
                "UPDATE deliveries SET state = ?, reason = ?, reply = COALESCE(?, reply), \
                 due_ms = ?, lease = NULL, update_ms = ? WHERE id = ?",
            )?
            .execute(params![
                change.state as i64,
                event.reason,
                event.reply.as_ref().map(|reply| reply.encode_to_vec()),
                change.ask_ms.unwrap_or(event.create_ms),
                event.create_ms,
                id,
            ])?;
    }
    if let Some(entry) = &change.suppress {
        suppress(connection, entry)?;
    }
    insert_events(connection, &[event])
}
