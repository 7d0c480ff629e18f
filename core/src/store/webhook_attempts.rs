//! How tries end. Results are written in groups; one that lost its delivery to another try, because it
//! was late, still says how it ended and changes nothing else.

use postern_proto::ids::WebhookId;
use uuid::Uuid;

use crate::model::webhook::{AttemptRow, DeliveryState};

use super::Error;
use super::db::{Database, Statement, Where};
use super::value::{Row, Value};

/// How a try ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The endpoint.
    pub endpoint: WebhookId,
    /// The event's place in the feed.
    pub sequence: i64,
    /// Which try.
    pub attempt: i64,
    /// Of which node.
    pub node: Uuid,
    /// It was not posted after all, and does not count in the schedule.
    pub skipped: bool,
    /// When it ended.
    pub end_ms: i64,
    /// The HTTP status; 0 for none.
    pub status: i64,
    /// Why it failed, in one word; empty for success.
    pub error: &'static str,
    /// The beginning of the answer, or what went wrong.
    pub response: String,
    /// Where the delivery stands then.
    pub state: DeliveryState,
    /// When it is due, if it is to be tried again.
    pub due_ms: i64,
    /// Since when everything fails at the endpoint, if that changes.
    pub failing: Option<Option<i64>>,
}

/// Records how tries ended.
pub async fn end(db: &dyn Database, ended: &[Ended]) -> Result<(), Error> {
    let mut statements = Vec::with_capacity(2 * ended.len());
    for one in ended {
        let (endpoint, sequence) = (one.endpoint.uuid(), one.sequence);
        let sql = "UPDATE webhook_deliveries SET state = $1, due_ms = $2, lease = NULL, \
                   update_ms = $3, tries = tries - $4 \
                   WHERE endpoint_id = $5 AND sequence = $6 AND lease = $7 AND attempts = $8";
        let params = vec![
            Value::Int(one.state as i64),
            one.due_ms.into(),
            one.end_ms.into(),
            i64::from(one.skipped).into(),
            endpoint.into(),
            sequence.into(),
            one.node.into(),
            one.attempt.into(),
        ];
        statements.push(Statement::new(sql, params));
        let sql = "UPDATE webhook_attempts SET end_ms = $1, status = $2, error = $3, \
                   response = $4 WHERE endpoint_id = $5 AND sequence = $6 AND number = $7";
        let params = vec![
            one.end_ms.into(),
            one.status.into(),
            one.error.into(),
            one.response.as_str().into(),
            endpoint.into(),
            sequence.into(),
            one.attempt.into(),
        ];
        statements.push(Statement::new(sql, params));
        statements.extend(one.failing.map(|since| super::webhooks::failing(one.endpoint, since)));
    }
    db.write(statements).await.map(|_| ())
}

/// The tries of a delivery, oldest first; of very many the newest.
pub async fn list(
    db: &dyn Database,
    endpoint: WebhookId,
    sequence: i64,
    limit: usize,
) -> Result<Vec<AttemptRow>, Error> {
    let mut conditions = Where::default();
    conditions.and("endpoint_id = ?", endpoint.uuid());
    conditions.and("sequence = ?", sequence);
    let select = "SELECT number, create_ms, end_ms, status, error, response FROM webhook_attempts";
    let rest = format!("ORDER BY number DESC LIMIT {limit}");
    let rows = db.read(conditions.statement(select, &rest)).await?;
    let mut attempts = rows.iter().map(attempt).collect::<Result<Vec<_>, _>>()?;
    attempts.reverse();
    Ok(attempts)
}

fn attempt(row: &Row) -> Result<AttemptRow, Error> {
    Ok(AttemptRow {
        number: row.int(0)?,
        create_ms: row.int(1)?,
        end_ms: row.int_or_null(2)?,
        status: row.int(3)?,
        error: row.text(4)?,
        response: row.text(5)?,
    })
}
