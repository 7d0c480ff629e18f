//! PostgreSQL: two transactions at a time, each with half of the messages that there would be
//! callers, by the one statement of the core.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio_postgres::types::ToSql;
use tokio_postgres::{NoTls, Statement};
use uuid::Uuid;

use super::{DAY_MS, ENVELOPE_BYTES, NORMAL, SCHEDULED, SCHEDULED_EVENT, TRACE, now_ms};
use crate::figure::Figure;
use crate::text::Texts;

/// How many transactions the core has under way.
const PARALLEL: usize = 2;

/// The types of the arrays, table by table.
#[rustfmt::skip]
const TYPES: [&str; 51] = [
    // messages
    "uuid", "uuid", "uuid", "uuid", "text", "text", "text", "text", "text", "text", "text",
    "bigint", "bigint", "bigint", "bigint", "boolean", "text", "bytea",
    // bodies
    "uuid", "bigint", "bytea",
    // deliveries
    "uuid", "uuid", "bigint", "bigint", "text", "text", "text", "bigint", "text", "bigint",
    "bigint", "uuid", "bigint",
    // idempotency
    "text", "bytea", "bigint", "bytea",
    // message_tags
    "text", "uuid",
    // events
    "uuid", "bigint", "bigint", "uuid", "uuid", "bigint", "text", "bytea", "boolean", "bigint",
    "text",
];

/// Makes an empty schema, in the place of one from before.
pub(crate) async fn schema(url: &str, name: &str) -> anyhow::Result<()> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    // It ends with the client, whose calls tell its errors.
    tokio::spawn(connection);
    let sql = format!("DROP SCHEMA IF EXISTS {name} CASCADE; CREATE SCHEMA {name}");
    Ok(client.batch_execute(&sql).await?)
}

/// Inserts messages into tables that a Postern made.
pub(crate) async fn run(
    url: &str,
    schema: &str,
    seconds: Duration,
    bytes: usize,
    callers: usize,
) -> anyhow::Result<Figure> {
    let began = Instant::now();
    let connections = (0..PARALLEL).map(|shard| {
        let (url, schema) = (url.to_owned(), schema.to_owned());
        let batch = callers.div_ceil(PARALLEL);
        let run = async move {
            let mut config: tokio_postgres::Config = url.parse()?;
            if !schema.is_empty() {
                config.options(format!("-c search_path={schema}"));
            }
            insert_until(&config, began + seconds, shard as i64, batch, bytes).await
        };
        tokio::spawn(run)
    });
    let connections: Vec<_> = connections.collect();
    let mut count = 0;
    for connection in connections {
        count += connection.await??;
    }
    let name = format!("postgresql/store-{callers}");
    let what = format!("the store driven directly, {callers} in a transaction");
    Ok(Figure::rate(&name, &what, count, began.elapsed()))
}

async fn insert_until(
    config: &tokio_postgres::Config,
    end: Instant,
    shard: i64,
    batch: usize,
    bytes: usize,
) -> anyhow::Result<u64> {
    let (client, connection) = config.connect(NoTls).await?;
    let driver = tokio::spawn(connection);
    let prepared = client.prepare(&sql()).await;
    let statement = prepared.context("start a Postern on the database first")?;
    let (texts, mut count) = (Texts::new(), 0);
    while Instant::now() < end {
        let rows = Rows::new(&texts, count * PARALLEL as u64 + shard as u64, batch, bytes);
        rows.insert(&client, &statement, shard).await?;
        count += batch as u64;
    }
    driver.abort();
    Ok(count)
}

/// The statement of the core, over the same arrays.
fn sql() -> String {
    let arrays = |from: usize, to: usize| {
        let array = |n: usize| format!("${}::{}[]", n + 1, TYPES[n]);
        (from..to).map(array).collect::<Vec<_>>().join(", ")
    };
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
         receipt = excluded.receipt WHERE idempotency.expire_ms <= $53 RETURNING 1), \
         t AS (INSERT INTO message_tags (tag, message_id) SELECT * FROM UNNEST({tags}) \
         ON CONFLICT DO NOTHING), \
         x AS (SELECT x.* FROM UNNEST({events}) WITH ORDINALITY AS x (id, type, create_ms, \
         message_id, delivery_id, attempt, reason, reply, possible_duplicate, next_ms, \
         campaign_id, n)), \
         e AS (INSERT INTO events (sequence, id, type, create_ms, message_id, delivery_id, attempt, \
         reason, reply, possible_duplicate, next_ms) \
         SELECT (pg_current_xact_id()::text::bigint + c.base) * 4096 + x.n - 1, x.id, x.type, \
         x.create_ms, x.message_id, x.delivery_id, x.attempt, x.reason, x.reply, \
         x.possible_duplicate, x.next_ms FROM x CROSS JOIN event_clock c), \
         s AS (INSERT INTO stats (hour_ms, campaign_id, type, shard, count) \
         SELECT create_ms - create_ms % 3600000, campaign_id, type, $52::bigint, COUNT(*) \
         FROM x GROUP BY 1, 2, 3 ORDER BY 1, 2, 3 \
         ON CONFLICT (hour_ms, campaign_id, type, shard) \
         DO UPDATE SET count = stats.count + excluded.count) SELECT COUNT(*) FROM k",
        messages = arrays(0, 18),
        bodies = arrays(18, 21),
        deliveries = arrays(21, 34),
        keys = arrays(34, 38),
        tags = arrays(38, 40),
        events = arrays(40, 51),
    )
}

/// What differs between the messages of a transaction.
struct Rows {
    messages: Vec<Uuid>,
    deliveries: Vec<Uuid>,
    events: Vec<Uuid>,
    emails: Vec<String>,
    rfc_ids: Vec<String>,
    bodies: Vec<Vec<u8>>,
    now: i64,
}

impl Rows {
    fn new(texts: &Texts, first: u64, batch: usize, bytes: usize) -> Self {
        let ids = || (0..batch).map(|_| Uuid::now_v7()).collect::<Vec<_>>();
        let messages = ids();
        let body = |n| texts.text(first + n, bytes + ENVELOPE_BYTES).into_bytes();
        Self {
            deliveries: ids(),
            events: ids(),
            emails: (0..batch).map(|n| format!("user{n}@example.net")).collect(),
            rfc_ids: messages.iter().map(|id| format!("{id}@example.com")).collect(),
            bodies: (0..batch as u64).map(body).collect(),
            messages,
            now: now_ms(),
        }
    }

    async fn insert(
        &self,
        client: &tokio_postgres::Client,
        statement: &Statement,
        shard: i64,
    ) -> anyhow::Result<()> {
        let size = self.messages.len();
        let (text, int) = (|text| vec![text; size], |number: i64| vec![number; size]);
        let (empty, from, subject, list, map) =
            (text(""), text("load@example.com"), text("Load"), text("[]"), text("{}"));
        let (none, normal, zero, one) = (vec![None::<Uuid>; size], int(NORMAL), int(0), int(1));
        let (now, due, expire) =
            (int(self.now), int(self.now + DAY_MS), int(self.now + 4 * DAY_MS));
        let (scheduled, kind, no) = (int(SCHEDULED), int(SCHEDULED_EVENT), vec![false; size]);
        let trace = vec![TRACE.to_vec(); size];
        let no_reply = vec![None::<Vec<u8>>; size];
        let (no_text, no_bytes) = (Vec::<&str>::new(), Vec::<Vec<u8>>::new());
        let (no_int, no_id) = (Vec::<i64>::new(), Vec::<Uuid>::new());
        let (id, delivery) = (&self.messages, &self.deliveries);
        #[rustfmt::skip]
        let params: [&(dyn ToSql + Sync); 53] = [
            id, id, &none, id, &from, &empty, &subject, &empty, &empty, &list, &map,
            &normal, &now, &due, &expire, &no, &self.rfc_ids, &trace,
            id, &now, &self.bodies,
            delivery, id, &zero, &one, &self.emails, &empty, &empty, &scheduled, &empty, &due,
            &normal, &none, &now,
            &no_text, &no_bytes, &no_int, &no_bytes,
            &no_text, &no_id,
            &self.events, &kind, &now, id, delivery, &zero, &empty, &no_reply, &no, &due,
            &empty,
            &shard, &self.now,
        ];
        client.query_one(statement, &params).await?;
        Ok(())
    }
}
