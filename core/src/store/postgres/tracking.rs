//! Hits and wishes of recipients on PostgreSQL: a few statements for a whole batch.

use std::collections::HashSet;

use async_trait::async_trait;
use deadpool_postgres::Transaction;
use postern_proto::ids::{MessageId, RecipientId};
use prost::Message as _;
use uuid::Uuid;

use crate::model::directory::SuppressionReason;

use super::super::Error;
use super::super::tracking::{self, NewHit, Outcome, Owners, Place, Recorded, Tracking, Wish};
use super::Postgres;
use super::reports::suppress;

#[async_trait]
impl Tracking for Postgres {
    async fn record(&self, mut hits: Vec<NewHit>) -> Result<Recorded, Error> {
        let asked = hits.len();
        let mut client = self.client().await?;
        let transaction = client.transaction().await?;
        let owners = owners(&transaction, &hits).await?;
        hits.retain(|hit| owners.contains_key(&hit.delivery));
        let known = hits.len();
        let mut fresh = fresh_ids(&transaction, &hits).await?;
        // An id that stands twice in the batch counts once.
        hits.retain(|hit| fresh.remove(&hit.id.uuid()));
        let recorded =
            Recorded { new: hits.len(), repeated: known - hits.len(), unknown: asked - known };
        if !hits.is_empty() {
            let free = free_places(&transaction, &tracking::places(&hits)).await?;
            self.insert(&transaction, &tracking::outcome(hits, &owners, free)).await?;
        }
        transaction.commit().await?;
        self.announce_events();
        Ok(recorded)
    }

    async fn wish(&self, wish: Wish) -> Result<bool, Error> {
        let mut client = self.client().await?;
        let transaction = client.transaction().await?;
        let mut changed = suppress(&transaction, wish.add.iter()).await?;
        for (email, campaign) in &wish.remove {
            let sql =
                "DELETE FROM suppressions WHERE email = $1 AND campaign_id = $2 AND reason = $3";
            let statement = transaction.prepare_cached(sql).await?;
            let reason = SuppressionReason::Unsubscribe as i64;
            changed += transaction.execute(&statement, &[email, campaign, &reason]).await?;
        }
        if changed > 0
            && let Some(event) = wish.event
        {
            self.insert(&transaction, &tracking::wished(event)).await?;
        }
        transaction.commit().await?;
        self.announce_events();
        Ok(changed > 0)
    }
}

async fn owners(transaction: &Transaction<'_>, hits: &[NewHit]) -> Result<Owners, Error> {
    let sql = "SELECT d.id, m.id, m.campaign_id FROM deliveries d \
               JOIN messages m ON m.id = d.message_id WHERE d.id = ANY($1)";
    let statement = transaction.prepare_cached(sql).await?;
    let ids: Vec<Uuid> = hits.iter().map(|hit| hit.delivery.uuid()).collect();
    let rows = transaction.query(&statement, &[&ids]).await?;
    let owner = |row: &tokio_postgres::Row| {
        let message = (MessageId::from_uuid(row.get(1)), row.get(2));
        (RecipientId::from_uuid(row.get(0)), message)
    };
    Ok(rows.iter().map(owner).collect())
}

/// The ids that were not recorded before.
async fn fresh_ids(transaction: &Transaction<'_>, hits: &[NewHit]) -> Result<HashSet<Uuid>, Error> {
    let sql = "INSERT INTO hits (id) SELECT DISTINCT id FROM UNNEST($1::uuid[]) AS h (id) \
               ORDER BY id ON CONFLICT DO NOTHING RETURNING id";
    let statement = transaction.prepare_cached(sql).await?;
    let ids: Vec<Uuid> = hits.iter().map(|hit| hit.id.uuid()).collect();
    let rows = transaction.query(&statement, &[&ids]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// The places that nobody had taken, taken now.
async fn free_places(
    transaction: &Transaction<'_>,
    places: &[Place],
) -> Result<HashSet<Place>, Error> {
    let sql = "INSERT INTO first_hits (delivery_id, kind, link, bot) \
               SELECT * FROM UNNEST($1::uuid[], $2::bigint[], $3::bigint[], $4::boolean[]) \
               ON CONFLICT DO NOTHING RETURNING delivery_id, kind, link, bot";
    let statement = transaction.prepare_cached(sql).await?;
    let deliveries: Vec<Uuid> = places.iter().map(|place| place.delivery.uuid()).collect();
    let kinds: Vec<i64> = places.iter().map(|place| place.kind).collect();
    let links: Vec<i64> = places.iter().map(|place| place.link).collect();
    let bots: Vec<bool> = places.iter().map(|place| place.bot).collect();
    let rows = transaction.query(&statement, &[&deliveries, &kinds, &links, &bots]).await?;
    let place = |row: &tokio_postgres::Row| Place {
        delivery: RecipientId::from_uuid(row.get(0)),
        kind: row.get(1),
        link: row.get(2),
        bot: row.get(3),
    };
    Ok(rows.iter().map(place).collect())
}

impl Postgres {
    async fn insert(&self, transaction: &Transaction<'_>, outcome: &Outcome) -> Result<(), Error> {
        let sql = "INSERT INTO events (sequence, id, type, create_ms, message_id, delivery_id, \
                   attempt, reason, possible_duplicate, detail) \
                   SELECT (pg_current_xact_id()::text::bigint + c.base) * 4096 + x.n - 1, x.id, \
                   x.type, x.create_ms, x.message_id, x.delivery_id, 0, '', false, x.detail \
                   FROM UNNEST($1::uuid[], $2::bigint[], $3::bigint[], $4::uuid[], $5::uuid[], \
                   $6::bytea[]) WITH ORDINALITY \
                   AS x (id, type, create_ms, message_id, delivery_id, detail, n) \
                   CROSS JOIN event_clock c";
        let statement = transaction.prepare_cached(sql).await?;
        let events = &outcome.events;
        let ids: Vec<Uuid> = events.iter().map(|(event, _)| event.id.uuid()).collect();
        let kinds: Vec<i64> = events.iter().map(|(event, _)| event.kind as i64).collect();
        let times: Vec<i64> = events.iter().map(|(event, _)| event.create_ms).collect();
        let messages: Vec<Uuid> = events.iter().map(|(event, _)| event.message_id.uuid()).collect();
        let deliveries: Vec<Uuid> =
            events.iter().map(|(event, _)| event.delivery_id.uuid()).collect();
        let details: Vec<Vec<u8>> =
            events.iter().map(|(_, engagement)| engagement.encode_to_vec()).collect();
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 6] =
            [&ids, &kinds, &times, &messages, &deliveries, &details];
        transaction.execute(&statement, &params).await?;
        let sql = "INSERT INTO stats (hour_ms, campaign_id, type, shard, count) \
                   SELECT s.hour_ms, s.campaign_id, s.type, $5::bigint, s.count \
                   FROM UNNEST($1::bigint[], $2::text[], $3::bigint[], $4::bigint[]) \
                   AS s (hour_ms, campaign_id, type, count) \
                   ON CONFLICT (hour_ms, campaign_id, type, shard) \
                   DO UPDATE SET count = stats.count + excluded.count";
        let statement = transaction.prepare_cached(sql).await?;
        let hours: Vec<i64> = outcome.counts.iter().map(|count| count.hour_ms).collect();
        let campaigns: Vec<&str> =
            outcome.counts.iter().map(|count| count.campaign_id.as_str()).collect();
        let counters: Vec<i64> = outcome.counts.iter().map(|count| count.kind).collect();
        let sums: Vec<i64> = outcome.counts.iter().map(|count| count.count).collect();
        let shard = self.next_shard();
        transaction.execute(&statement, &[&hours, &campaigns, &counters, &sums, &shard]).await?;
        Ok(())
    }
}
