//! Acceptance on PostgreSQL: read what decides, plan, and insert everything with one statement.

use std::sync::Arc;

use async_trait::async_trait;
use deadpool_postgres::{GenericClient, Object};

use crate::model::directory::SuppressionReason;
use crate::model::message::{Accepted, Submission};

use super::super::Error;
use super::super::intake::Intake;
use super::super::plan::{self, Known, Plan, StoredKey, Suppressed};
use super::Postgres;
use super::columns::{Columns, TYPES};
use super::events::{EventArrays, append_sql};

/// How often a group is tried again because another node stored one of its keys meanwhile.
const KEY_RACES_MAX: usize = 5;

#[async_trait]
impl Intake for Postgres {
    async fn accept(
        &self,
        submissions: Arc<Vec<Submission>>,
        now_ms: i64,
    ) -> Result<Vec<Vec<Accepted>>, Error> {
        let mut client = self.client().await?;
        for _ in 0..KEY_RACES_MAX {
            let mut known = known(&client, &submissions).await?;
            let plan = plan::plan(&submissions, &mut known, now_ms);
            if plan.messages.is_empty() {
                return Ok(plan.answers);
            }
            if insert(&mut client, &plan, now_ms, self.next_shard()).await? {
                self.announce_events();
                return Ok(plan.answers);
            }
        }
        Err(Error::Conflict("an idempotency key".to_owned()))
    }
}

async fn known(client: &Object, submissions: &[Submission]) -> Result<Known, Error> {
    let mut known = Known::default();
    let keys = plan::keys(submissions);
    if !keys.is_empty() {
        let sql =
            "SELECT key, fingerprint, expire_ms, receipt FROM idempotency WHERE key = ANY($1)";
        let statement = client.prepare_cached(sql).await?;
        for row in client.query(&statement, &[&keys]).await? {
            let stored =
                StoredKey { fingerprint: row.get(1), expire_ms: row.get(2), receipt: row.get(3) };
            known.keys.insert(row.get(0), stored);
        }
    }
    known.suppressed = suppressed(client, &plan::addresses(submissions)).await?;
    Ok(known)
}

/// The suppressions of these addresses.
pub(super) async fn suppressed(
    client: &impl GenericClient,
    emails: &[String],
) -> Result<Suppressed, Error> {
    let sql = "SELECT email, campaign_id, reason FROM suppressions WHERE email = ANY($1)";
    let statement = client.prepare_cached(sql).await?;
    let mut suppressed = Suppressed::default();
    for row in client.query(&statement, &[&emails]).await? {
        let reason = SuppressionReason::from_number(row.get(2));
        suppressed.insert((row.get(0), row.get(1)), reason);
    }
    Ok(suppressed)
}

/// Inserts a plan. Tells whether it was stored: not when another node has stored one of its keys.
async fn insert(
    client: &mut Object,
    plan: &Plan<'_>,
    now_ms: i64,
    shard: i64,
) -> Result<bool, Error> {
    let columns = Columns::new(plan);
    let events = EventArrays::new(&plan.events);
    let mut params = columns.params();
    params.extend(events.params());
    params.push(&shard);
    params.push(&now_ms);
    let statement = client.prepare_cached(&statement_sql()).await?;
    if plan.keys.is_empty() {
        // A statement alone is a transaction: one round trip, one sync.
        client.query_one(&statement, &params).await?;
        return Ok(true);
    }
    let transaction = client.transaction().await?;
    let stored: i64 = transaction.query_one(&statement, &params).await?.get(0);
    if stored < plan.keys.len() as i64 {
        transaction.rollback().await?;
        return Ok(false);
    }
    transaction.commit().await?;
    Ok(true)
}

fn statement_sql() -> String {
    let arrays = |from: usize, to: usize| {
        let array = |n: usize| format!("${}::{}[]", n + 1, TYPES[n]);
        (from..to).map(array).collect::<Vec<_>>().join(", ")
    };
    let shard = Columns::PARAMS + EventArrays::PARAMS + 1;
    let now = shard + 1;
    format!(
        "WITH m AS (INSERT INTO messages (id, content_id, batch_id, key_id, from_email, from_name, \
         subject, external_id, campaign_id, tags, metadata, priority, create_ms, send_ms, \
         expire_ms, test, rfc_message_id, trace) SELECT * FROM UNNEST({messages})), \
         b AS (INSERT INTO bodies (id, create_ms, content) SELECT * FROM UNNEST({bodies})), \
         d AS (INSERT INTO deliveries (id, message_id, ordinal, kind, email, name, variables, state, \
         reason, due_ms, priority, lease, update_ms, attempts) \
         SELECT u.*, 0 FROM UNNEST({deliveries}) AS u), \
         k AS (INSERT INTO idempotency (key, fingerprint, expire_ms, receipt) \
         SELECT * FROM UNNEST({keys}) ON CONFLICT (key) DO UPDATE SET \
         fingerprint = excluded.fingerprint, expire_ms = excluded.expire_ms, \
         receipt = excluded.receipt WHERE idempotency.expire_ms <= ${now} RETURNING 1), \
         t AS (INSERT INTO message_tags (tag, message_id) SELECT * FROM UNNEST({tags}) \
         ON CONFLICT DO NOTHING), \
         {events} SELECT COUNT(*) FROM k",
        messages = arrays(0, 18),
        bodies = arrays(18, 21),
        deliveries = arrays(21, 34),
        keys = arrays(34, 38),
        tags = arrays(38, 40),
        events = append_sql(Columns::PARAMS + 1, shard, ""),
    )
}
