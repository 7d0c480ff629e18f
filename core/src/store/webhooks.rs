//! Endpoints that events are posted to, and how far each has collected the feed.

use postern_proto::ids::WebhookId;

use crate::model::event::{EventType, Subject};
use crate::model::webhook::{Endpoint, Format, Wanted};

use super::db::{Database, Statement, Where};
use super::value::{Row, Value, json};
use super::{Error, affairs};

const ENDPOINT: &str = "SELECT id, url, description, event_types, campaign_ids, format, ordered, \
    max_concurrency, rate_limit, headers, secret, old_secret, old_secret_expire_ms, disabled, \
    disable_reason, failing_ms, cursor, create_ms FROM webhook_endpoints";

/// Stores an endpoint.
pub async fn create(db: &dyn Database, endpoint: &Endpoint) -> Result<(), Error> {
    let sql = "INSERT INTO webhook_endpoints (id, url, description, event_types, campaign_ids, \
               format, ordered, max_concurrency, rate_limit, headers, secret, old_secret, \
               old_secret_expire_ms, disabled, disable_reason, failing_ms, cursor, create_ms) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, \
               $17, $18)";
    let mut params = vec![endpoint.id.uuid().into()];
    params.extend(columns(&endpoint.wanted));
    let rest: [Value; 8] = [
        endpoint.secret.as_str().into(),
        endpoint.old_secret.as_str().into(),
        endpoint.old_secret_expire_ms.into(),
        endpoint.disabled.into(),
        endpoint.disable_reason.as_str().into(),
        endpoint.failing_ms.into(),
        endpoint.cursor.into(),
        endpoint.create_ms.into(),
    ];
    params.extend(rest);
    db.write(vec![Statement::new(sql, params)]).await.map(|_| ())
}

/// Changes what the client says about an endpoint, while it is still what the change relies on.
/// Tells whether it was.
pub async fn update(
    db: &dyn Database,
    id: WebhookId,
    wanted: &Wanted,
    before: &Wanted,
) -> Result<bool, Error> {
    const NAMES: [&str; 9] = [
        "url",
        "description",
        "event_types",
        "campaign_ids",
        "format",
        "ordered",
        "max_concurrency",
        "rate_limit",
        "headers",
    ];
    let set: Vec<_> = NAMES.iter().zip(1..).map(|(name, n)| format!("{name} = ${n}")).collect();
    let still: Vec<_> = NAMES.iter().zip(11..).map(|(name, n)| format!("{name} = ${n}")).collect();
    let sql = format!(
        "UPDATE webhook_endpoints SET {} WHERE id = $10 AND {}",
        set.join(", "),
        still.join(" AND ")
    );
    let mut params: Vec<Value> = columns(wanted).into();
    params.push(id.uuid().into());
    params.extend(columns(before));
    let done = db.write(vec![Statement::new(sql, params)]).await?;
    Ok(done[0].changed > 0)
}

fn columns(wanted: &Wanted) -> [Value; 9] {
    [
        wanted.url.as_str().into(),
        wanted.description.as_str().into(),
        json(&wanted.event_types).into(),
        json(&wanted.campaign_ids).into(),
        (wanted.format as i64).into(),
        wanted.ordered.into(),
        wanted.max_concurrency.into(),
        wanted.rate_limit.into(),
        json(&wanted.headers).into(),
    ]
}

/// The endpoint with this id.
pub async fn find(db: &dyn Database, id: WebhookId) -> Result<Option<Endpoint>, Error> {
    let mut conditions = Where::default();
    conditions.and("id = ?", id.uuid());
    db.read(conditions.statement(ENDPOINT, "")).await?.first().map(endpoint).transpose()
}

/// Endpoints, newest first, from below `before`.
pub async fn list(
    db: &dyn Database,
    before: Option<WebhookId>,
    limit: usize,
) -> Result<Vec<Endpoint>, Error> {
    let mut conditions = Where::default();
    if let Some(id) = before {
        conditions.and("id < ?", id.uuid());
    }
    let rest = format!("ORDER BY id DESC LIMIT {limit}");
    db.read(conditions.statement(ENDPOINT, &rest)).await?.iter().map(endpoint).collect()
}

/// Endpoints that are not disabled.
pub async fn active(db: &dyn Database) -> Result<Vec<Endpoint>, Error> {
    let mut conditions = Where::default();
    conditions.and("disabled = ?", false);
    db.read(conditions.statement(ENDPOINT, "ORDER BY id")).await?.iter().map(endpoint).collect()
}

/// Removes an endpoint with all its deliveries. Tells whether there was one.
pub async fn delete(db: &dyn Database, id: WebhookId) -> Result<bool, Error> {
    let delete = |table: &str, column: &str| {
        let sql = format!("DELETE FROM {table} WHERE {column} = $1");
        Statement::new(sql, vec![id.uuid().into()])
    };
    let statements = vec![
        delete("webhook_endpoints", "id"),
        delete("webhook_deliveries", "endpoint_id"),
        delete("webhook_attempts", "endpoint_id"),
    ];
    Ok(db.write(statements).await?[0].changed > 0)
}

/// Gives an endpoint a new secret; the one it has signs too until `old_until_ms`.
pub async fn rotate(
    db: &dyn Database,
    id: WebhookId,
    secret: &str,
    old_until_ms: i64,
) -> Result<bool, Error> {
    let sql = "UPDATE webhook_endpoints SET old_secret = secret, old_secret_expire_ms = $1, \
               secret = $2 WHERE id = $3";
    let params = vec![old_until_ms.into(), secret.into(), id.uuid().into()];
    Ok(db.write(vec![Statement::new(sql, params)]).await?[0].changed > 0)
}

/// Disables an endpoint, which the feed tells. What it has collected stays, and waits. Tells whether it
/// was enabled.
pub async fn disable(
    db: &dyn Database,
    endpoint: &Endpoint,
    reason: &str,
    now_ms: i64,
) -> Result<bool, Error> {
    let sql = "UPDATE webhook_endpoints SET disabled = $1, disable_reason = $2 \
               WHERE id = $3 AND disabled <> $1";
    let params = vec![true.into(), reason.into(), endpoint.id.uuid().into()];
    let subject = Subject {
        id: endpoint.id.to_string(),
        // The rest of an address may be a secret between us and the endpoint.
        display_name: endpoint.wanted.host(),
        expire_time: None,
    };
    let event = affairs::event(db, EventType::WebhookDisabled, &subject, reason, now_ms);
    Ok(db.write(vec![Statement::new(sql, params), event]).await?[0].changed > 0)
}

/// Enables an endpoint, which goes on behind `cursor`. Tells whether it was disabled.
pub async fn enable(db: &dyn Database, id: WebhookId, cursor: i64) -> Result<bool, Error> {
    let sql = "UPDATE webhook_endpoints SET disabled = $1, disable_reason = '', failing_ms = NULL, \
               cursor = $2 WHERE id = $3 AND disabled <> $1";
    let params = vec![false.into(), cursor.into(), id.uuid().into()];
    Ok(db.write(vec![Statement::new(sql, params)]).await?[0].changed > 0)
}

/// Notes since when everything fails, or that it does no longer.
pub fn failing(id: WebhookId, since_ms: Option<i64>) -> Statement {
    let (sql, mut params) = match since_ms {
        Some(since_ms) => (
            "UPDATE webhook_endpoints SET failing_ms = $1 WHERE id = $2 AND failing_ms IS NULL",
            vec![since_ms.into()],
        ),
        None => ("UPDATE webhook_endpoints SET failing_ms = NULL WHERE id = $1", Vec::new()),
    };
    params.push(id.uuid().into());
    Statement::new(sql, params)
}

fn endpoint(row: &Row) -> Result<Endpoint, Error> {
    let format = Format::from_number(row.int(5)?);
    Ok(Endpoint {
        id: WebhookId::from_uuid(row.uuid(0)?),
        wanted: Wanted {
            url: row.text(1)?,
            description: row.text(2)?,
            event_types: row.json(3)?,
            campaign_ids: row.json(4)?,
            format: format.ok_or_else(|| Error::Corrupt("unknown webhook format".to_owned()))?,
            ordered: row.bool(6)?,
            max_concurrency: row.int(7)?,
            rate_limit: row.int(8)?,
            headers: row.json(9)?,
        },
        secret: row.text(10)?,
        old_secret: row.text(11)?,
        old_secret_expire_ms: row.int(12)?,
        disabled: row.bool(13)?,
        disable_reason: row.text(14)?,
        failing_ms: row.int_or_null(15)?,
        cursor: row.int(16)?,
        create_ms: row.int(17)?,
    })
}
