//! Hits and wishes of recipients on SQLite.

use std::collections::HashSet;

use async_trait::async_trait;
use postern_proto::ids::MessageId;
use prost::Message as _;
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::model::directory::SuppressionReason;

use super::super::Error;
use super::super::tracking::{self, NewHit, Outcome, Owners, Recorded, Tracking, Wish};
use super::Embedded;
use super::reports::suppress;

#[async_trait]
impl Tracking for Embedded {
    async fn record(&self, hits: Vec<NewHit>) -> Result<Recorded, Error> {
        let recorded = self.writer.run(move |connection| record(connection, hits)).await?;
        self.announce_events();
        Ok(recorded)
    }

    async fn wish(&self, wish: Wish) -> Result<bool, Error> {
        let changed = self.writer.run(move |connection| change(connection, wish)).await?;
        self.announce_events();
        Ok(changed)
    }
}

fn record(connection: &Connection, hits: Vec<NewHit>) -> Result<Recorded, Error> {
    let (asked, owners) = (hits.len(), owners(connection, &hits)?);
    let mut fresh = Vec::with_capacity(hits.len());
    let mut known = 0;
    for hit in hits.into_iter().filter(|hit| owners.contains_key(&hit.delivery)) {
        known += 1;
        let inserted = connection
            .prepare_cached("INSERT OR IGNORE INTO hits (id) VALUES (?)")?
            .execute([hit.id.uuid()])?;
        if inserted > 0 {
            fresh.push(hit);
        }
    }
    let mut free = HashSet::new();
    for place in tracking::places(&fresh) {
        let inserted = connection
            .prepare_cached(
                "INSERT OR IGNORE INTO first_hits (delivery_id, kind, link, bot) \
                 VALUES (?, ?, ?, ?)",
            )?
            .execute(params![place.delivery.uuid(), place.kind, place.link, place.bot])?;
        if inserted > 0 {
            free.insert(place);
        }
    }
    let recorded =
        Recorded { new: fresh.len(), repeated: known - fresh.len(), unknown: asked - known };
    insert(connection, &tracking::outcome(fresh, &owners, free))?;
    Ok(recorded)
}

fn owners(connection: &Connection, hits: &[NewHit]) -> Result<Owners, Error> {
    let mut owners = Owners::new();
    let mut select = connection.prepare_cached(
        "SELECT m.id, m.campaign_id FROM deliveries d JOIN messages m ON m.id = d.message_id \
         WHERE d.id = ?",
    )?;
    for hit in hits {
        let row = |row: &rusqlite::Row<'_>| Ok((MessageId::from_uuid(row.get(0)?), row.get(1)?));
        let owner = select.query_row([hit.delivery.uuid()], row).optional()?;
        owners.extend(owner.map(|owner| (hit.delivery, owner)));
    }
    Ok(owners)
}

fn change(connection: &Connection, wish: Wish) -> Result<bool, Error> {
    let mut changed = 0;
    for entry in &wish.add {
        changed += suppress(connection, entry)?;
    }
    for (email, campaign) in &wish.remove {
        changed += connection
            .prepare_cached(
                "DELETE FROM suppressions WHERE email = ? AND campaign_id = ? AND reason = ?",
            )?
            .execute(params![email, campaign, SuppressionReason::Unsubscribe as i64])?;
    }
    if changed > 0
        && let Some(event) = wish.event
    {
        insert(connection, &tracking::wished(event))?;
    }
    Ok(changed > 0)
}

fn insert(connection: &Connection, outcome: &Outcome) -> Result<(), Error> {
    for (event, engagement) in &outcome.events {
        connection
            .prepare_cached(
                "INSERT INTO events (id, type, create_ms, message_id, delivery_id, attempt, \
                 reason, possible_duplicate, detail) VALUES (?, ?, ?, ?, ?, 0, '', 0, ?)",
            )?
            .execute(params![
                event.id.uuid(),
                event.kind as i64,
                event.create_ms,
                event.message_id.uuid(),
                event.delivery_id.uuid(),
                engagement.encode_to_vec(),
            ])?;
    }
    for count in &outcome.counts {
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
