//! Leases, attempts and results on PostgreSQL. Many rows change with one statement each.

use std::collections::HashSet;

use async_trait::async_trait;
use bytes::Bytes;
use postern_kit::trace::Trace;
use postern_proto::ids::{EventId, MessageId, RecipientId};
use prost::Message as _;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::model::content::Mailbox;
use crate::model::delivery::{Reply, State};
use crate::model::event::{EventType, NewEvent};
use crate::model::message::{Claimed, Priority};

use super::super::Error;
use super::super::plan;
use super::super::queue::{Begun, Depth, FOLD_MAX, Finish, Queue};
use super::Postgres;
use super::events::{EventArrays, append_sql};
use super::intake::suppressed;
use super::reports::{hand_over, suppress};

/// How many leases are taken away in one transaction.
const REAP_MAX: i64 = 1000;
/// How many contents are dropped in one transaction.
const PURGE_MAX: i64 = 500;
/// The shard of counters that were folded.
const FOLDED: i64 = -1;

#[async_trait]
impl Queue for Postgres {
    async fn heartbeat(&self, node: Uuid, now_ms: i64) -> Result<(), Error> {
        let sql = "INSERT INTO nodes (id, heartbeat_ms) VALUES ($1, $2) \
                   ON CONFLICT (id) DO UPDATE SET heartbeat_ms = excluded.heartbeat_ms";
        let client = self.client().await?;
        let statement = client.prepare_cached(sql).await?;
        client.execute(&statement, &[&node, &now_ms]).await?;
        Ok(())
    }

    async fn claim(&self, node: Uuid, now_ms: i64, limit: usize) -> Result<Vec<Claimed>, Error> {
        let sql = "WITH free AS (SELECT id FROM deliveries WHERE lease IS NULL AND state < 5 \
                   AND due_ms <= $2 ORDER BY priority, due_ms LIMIT $3 FOR UPDATE SKIP LOCKED), \
                   taken AS (UPDATE deliveries SET lease = $1 FROM free \
                   WHERE deliveries.id = free.id RETURNING deliveries.*) \
                   SELECT d.id, d.message_id, m.content_id, d.email, d.name, d.variables, \
                   m.campaign_id, m.priority, d.attempts, COALESCE(m.send_ms, m.create_ms), m.expire_ms, m.test, \
                   m.rfc_message_id, m.from_email, m.trace FROM taken d JOIN messages m ON m.id = d.message_id \
                   ORDER BY d.priority, d.due_ms";
        let mut client = self.client().await?;
        let transaction = client.transaction().await?;
        let statement = transaction.prepare_cached(sql).await?;
        let rows = transaction.query(&statement, &[&node, &now_ms, &(limit as i64)]).await?;
        let mut claimed: Vec<Claimed> = rows.iter().map(claimed).collect();
        if !claimed.is_empty() {
            let suppressed = suppressed(&transaction, &plan::claimed_addresses(&claimed)).await?;
            plan::mark(&mut claimed, &suppressed);
        }
        transaction.commit().await?;
        Ok(claimed)
    }

    async fn begin(
        &self,
        node: Uuid,
        ids: &[RecipientId],
        now_ms: i64,
    ) -> Result<Vec<Begun>, Error> {
        let sql = "UPDATE deliveries SET state = 3, attempts = attempts + 1, update_ms = $3 \
                   WHERE id = ANY($1) AND lease = $2 AND state IN (1, 2, 4) RETURNING id, attempts";
        let client = self.client().await?;
        let statement = client.prepare_cached(sql).await?;
        let rows = client.query(&statement, &[&uuids(ids), &node, &now_ms]).await?;
        let begun = |row: &Row| Begun {
            id: RecipientId::from_uuid(row.get(0)),
            attempt: row.get::<_, i64>(1) as u32,
        };
        Ok(rows.iter().map(begun).collect())
    }

    async fn finish(
        &self,
        node: Uuid,
        results: &[Finish],
        _now_ms: i64,
    ) -> Result<Vec<bool>, Error> {
        let ids: Vec<Uuid> = results.iter().map(|result| result.id.uuid()).collect();
        let attempts: Vec<i64> = results.iter().map(|result| i64::from(result.attempt)).collect();
        let states: Vec<i64> = results.iter().map(|result| result.state as i64).collect();
        let due: Vec<i64> = results.iter().map(|result| result.due_ms).collect();
        let events = EventArrays::new(results.iter().map(|result| &result.event));
        let shard = self.next_shard();
        let mut params: Vec<&(dyn tokio_postgres::types::ToSql + Sync)> =
            vec![&ids, &attempts, &states, &due, &node, &shard];
        params.extend(events.params());
        let alone = |reply: &Reply| reply.alone().encode_to_vec();
        let replies: Vec<Option<Vec<u8>>> =
            results.iter().map(|result| result.event.reply.as_ref().map(alone)).collect();
        params.push(&replies);
        let mut client = self.client().await?;
        let is_more = |result: &Finish| result.hand_over.is_some() || result.suppress.is_some();
        let rows = if results.iter().any(is_more) {
            let transaction = client.transaction().await?;
            let statement = transaction.prepare_cached(&finish_sql()).await?;
            let rows = transaction.query(&statement, &params).await?;
            let held = first_column(&rows);
            let kept = || results.iter().filter(|result| held.contains(&result.id.uuid()));
            hand_over(&transaction, kept()).await?;
            suppress(&transaction, kept().filter_map(|result| result.suppress.as_ref())).await?;
            transaction.commit().await?;
            rows
        } else {
            let statement = client.prepare_cached(&finish_sql()).await?;
            client.query(&statement, &params).await?
        };
        self.announce_events();
        let held = first_column(&rows);
        Ok(ids.iter().map(|id| held.contains(id)).collect())
    }

    async fn release(&self, node: Uuid, ids: &[RecipientId]) -> Result<(), Error> {
        let sql = "UPDATE deliveries SET lease = NULL \
                   WHERE id = ANY($1) AND lease = $2 AND state <> 3";
        let client = self.client().await?;
        let statement = client.prepare_cached(sql).await?;
        client.execute(&statement, &[&uuids(ids), &node]).await?;
        Ok(())
    }

    async fn postpone(&self, node: Uuid, until: &[(RecipientId, i64)]) -> Result<(), Error> {
        let sql = "UPDATE deliveries d SET lease = NULL, due_ms = p.due_ms \
                   FROM UNNEST($1::uuid[], $2::bigint[]) AS p (id, due_ms) \
                   WHERE d.id = p.id AND d.lease = $3 AND d.state IN (1, 2, 4)";
        let (ids, due): (Vec<Uuid>, Vec<i64>) =
            until.iter().map(|(id, due_ms)| (id.uuid(), *due_ms)).unzip();
        let client = self.client().await?;
        let statement = client.prepare_cached(sql).await?;
        client.execute(&statement, &[&ids, &due, &node]).await?;
        Ok(())
    }

    async fn reap(&self, stale_before_ms: i64, now_ms: i64) -> Result<usize, Error> {
        let mut client = self.client().await?;
        // Not in the transaction below: that would have its place in the feed from here on, before
        // messages that a node, called dead and alive, accepts until their leases are looked at.
        let sql = "DELETE FROM nodes WHERE heartbeat_ms < $1";
        client.execute(sql, &[&stale_before_ms]).await?;
        let transaction = client.transaction().await?;
        let sql = "WITH dead AS (SELECT id, state FROM deliveries WHERE lease IS NOT NULL \
                   AND lease NOT IN (SELECT id FROM nodes) LIMIT $2 FOR UPDATE SKIP LOCKED) \
                   UPDATE deliveries d SET lease = NULL, update_ms = $1, \
                   state = CASE WHEN d.state = 3 THEN 4 ELSE d.state END, \
                   due_ms = CASE WHEN d.state = 3 THEN $1 ELSE d.due_ms END \
                   FROM dead, messages m WHERE d.id = dead.id AND m.id = d.message_id \
                   RETURNING d.id, d.message_id, d.attempts, m.campaign_id, dead.state";
        let rows = transaction.query(sql, &[&now_ms, &REAP_MAX]).await?;
        let sending = rows.iter().filter(|row| row.get::<_, i64>(4) == State::Sending as i64);
        let events: Vec<_> =
            sending.map(|row| event_of(row, EventType::Recovered, now_ms)).collect();
        self.append(&transaction, &events).await?;
        transaction.commit().await?;
        self.announce_events();
        Ok(rows.len())
    }

    async fn cancel(&self, message: MessageId, now_ms: i64) -> Result<usize, Error> {
        let mut client = self.client().await?;
        let transaction = client.transaction().await?;
        let sql = "UPDATE deliveries d SET state = 10, lease = NULL, update_ms = $2 \
                   FROM messages m WHERE d.message_id = $1 AND m.id = d.message_id \
                   AND d.state IN (1, 2, 4) \
                   RETURNING d.id, d.message_id, d.attempts, m.campaign_id";
        let rows = transaction.query(sql, &[&message.uuid(), &now_ms]).await?;
        let events: Vec<_> =
            rows.iter().map(|row| event_of(row, EventType::Canceled, now_ms)).collect();
        self.append(&transaction, &events).await?;
        transaction.commit().await?;
        self.announce_events();
        Ok(events.len())
    }

    async fn content(&self, id: Uuid) -> Result<Option<Bytes>, Error> {
        let client = self.client().await?;
        let sql = "SELECT content FROM bodies WHERE id = $1";
        let statement = client.prepare_cached(sql).await?;
        let row = client.query_opt(&statement, &[&id]).await?;
        Ok(row.map(|row| Bytes::from(row.get::<_, Vec<u8>>(0))))
    }

    async fn next_due(&self) -> Result<Option<i64>, Error> {
        let client = self.client().await?;
        let sql = "SELECT MIN(due_ms) FROM deliveries WHERE lease IS NULL AND state < 5";
        let statement = client.prepare_cached(sql).await?;
        Ok(client.query_one(&statement, &[]).await?.get(0))
    }

    async fn depth(&self) -> Result<Depth, Error> {
        let client = self.client().await?;
        // Both halves are answered by the partial indexes over open deliveries.
        let sql = "SELECT state, COUNT(*), NULL::bigint FROM deliveries WHERE lease IS NOT NULL \
                   GROUP BY state UNION ALL \
                   SELECT state, COUNT(*), MIN(due_ms) FROM deliveries \
                   WHERE lease IS NULL AND state < 5 GROUP BY state";
        let statement = client.prepare_cached(sql).await?;
        let mut depth = Depth::default();
        for row in client.query(&statement, &[]).await? {
            depth.add(row.get(0), row.get(1), row.get(2));
        }
        Ok(depth)
    }

    async fn purge(&self, before_ms: i64, now_ms: i64) -> Result<usize, Error> {
        let client = self.client().await?;
        let sql = "DELETE FROM idempotency WHERE expire_ms <= $1";
        client.execute(sql, &[&now_ms]).await?;
        let sql = "DELETE FROM bodies WHERE id IN (SELECT b.id FROM bodies b WHERE b.create_ms < $1 \
                   AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.message_id = b.id \
                   AND d.state < 5) AND NOT EXISTS (SELECT 1 FROM messages m JOIN deliveries d \
                   ON d.message_id = m.id WHERE m.batch_id = b.id AND d.state < 5) LIMIT $2)";
        Ok(client.execute(sql, &[&before_ms, &PURGE_MAX]).await? as usize)
    }

    async fn fold_counts(&self, before_ms: i64) -> Result<usize, Error> {
        // Rows that somebody is counting in are left for the next time, and nobody counts in the shard
        // of the folded: so neither this nor a writer waits for the other.
        let sql = format!(
            "WITH chosen AS (SELECT hour_ms, campaign_id, type, shard FROM stats WHERE shard >= 0 \
             AND hour_ms < $1 ORDER BY hour_ms LIMIT {FOLD_MAX} FOR UPDATE SKIP LOCKED), \
             gone AS (DELETE FROM stats s USING chosen c WHERE s.hour_ms = c.hour_ms AND \
             s.campaign_id = c.campaign_id AND s.type = c.type AND s.shard = c.shard \
             RETURNING s.hour_ms, s.campaign_id, s.type, s.count), \
             kept AS (INSERT INTO stats (hour_ms, campaign_id, type, shard, count) \
             SELECT hour_ms, campaign_id, type, {FOLDED}, SUM(count) FROM gone GROUP BY 1, 2, 3 \
             ORDER BY 1, 2, 3 ON CONFLICT (hour_ms, campaign_id, type, shard) \
             DO UPDATE SET count = stats.count + excluded.count) SELECT COUNT(*) FROM gone"
        );
        let client = self.client().await?;
        let statement = client.prepare_cached(&sql).await?;
        let row = client.query_one(&statement, &[&before_ms]).await?;
        Ok(row.try_get::<_, i64>(0)? as usize)
    }
}

impl Postgres {
    pub(super) async fn append(
        &self,
        transaction: &deadpool_postgres::Transaction<'_>,
        events: &[NewEvent],
    ) -> Result<(), Error> {
        if events.is_empty() {
            return Ok(());
        }
        let shard = EventArrays::PARAMS + 1;
        let sql = format!("WITH {} SELECT 1", append_sql(1, shard, ""));
        let (arrays, shard) = (EventArrays::new(events), self.next_shard());
        let mut params = arrays.params().to_vec();
        params.push(&shard);
        let statement = transaction.prepare_cached(&sql).await?;
        transaction.query(&statement, &params).await?;
        Ok(())
    }
}

fn first_column(rows: &[Row]) -> HashSet<Uuid> {
    rows.iter().map(|row| row.get(0)).collect()
}

fn finish_sql() -> String {
    // Reason and time of the new state are those of the event, the reply is its last line.
    format!(
        "WITH r AS (SELECT * FROM UNNEST($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], \
         $13::text[], $18::bytea[], $9::bigint[]) \
         AS r (id, attempt, state, due_ms, reason, reply, update_ms)), \
         u AS (UPDATE deliveries d SET state = r.state, reason = r.reason, due_ms = r.due_ms, \
         lease = NULL, reply = COALESCE(r.reply, d.reply), update_ms = r.update_ms FROM r \
         WHERE d.id = r.id AND d.lease = $5 AND ((r.attempt = 0 AND d.state IN (1, 2, 4)) \
         OR (d.state = 3 AND d.attempts = r.attempt)) RETURNING d.id), {} SELECT id FROM u",
        append_sql(7, 6, "JOIN u ON u.id = x.delivery_id")
    )
}

fn uuids(ids: &[RecipientId]) -> Vec<Uuid> {
    ids.iter().map(RecipientId::uuid).collect()
}

fn claimed(row: &Row) -> Claimed {
    Claimed {
        id: RecipientId::from_uuid(row.get(0)),
        message_id: MessageId::from_uuid(row.get(1)),
        content_id: row.get(2),
        mailbox: Mailbox { email: row.get(3), name: row.get(4) },
        variables: row.get(5),
        campaign_id: row.get(6),
        priority: Priority::from_number(row.get(7)),
        attempts: row.get::<_, i64>(8) as u32,
        date_ms: row.get(9),
        expire_ms: row.get(10),
        test: row.get(11),
        rfc_message_id: row.get(12),
        sender: row.get(13),
        trace: row.get::<_, Option<&[u8]>>(14).and_then(Trace::from_bytes),
        suppressed: None,
    }
}

fn event_of(row: &Row, kind: EventType, now_ms: i64) -> NewEvent {
    NewEvent {
        id: EventId::generate(),
        kind,
        create_ms: now_ms,
        message_id: MessageId::from_uuid(row.get(1)),
        delivery_id: RecipientId::from_uuid(row.get(0)),
        campaign_id: row.get(3),
        attempt: row.get::<_, i64>(2) as u32,
        reason: String::new(),
        reply: None,
        possible_duplicate: kind == EventType::Recovered,
        next_ms: None,
    }
}
