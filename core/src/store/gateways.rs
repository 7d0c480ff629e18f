//! Which gateways say that they live.

use uuid::Uuid;

use super::Error;
use super::db::{Database, Statement};

/// A gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// Its id, new at every start.
    pub id: Uuid,
    /// `rest`, `smtp` or `tracking`.
    pub kind: String,
    /// The machine it is on.
    pub host: String,
    /// Its version.
    pub version: String,
    /// How it is: a number of `postern.v1.PartCondition`.
    pub condition: i64,
    /// Why, for people.
    pub detail: String,
    /// When it was heard of last.
    pub heartbeat_ms: i64,
    /// When the first of its certificates ends; none without any.
    pub certificate_ms: Option<i64>,
}

/// Notes what a gateway says, and forgets those not heard of since `stale_before_ms`.
pub async fn report(
    db: &dyn Database,
    gateway: &Gateway,
    stale_before_ms: i64,
) -> Result<(), Error> {
    let sql = "INSERT INTO gateways (id, kind, host, version, condition, detail, heartbeat_ms, \
               certificate_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
               ON CONFLICT (id) DO UPDATE SET \
               condition = excluded.condition, detail = excluded.detail, \
               heartbeat_ms = excluded.heartbeat_ms, certificate_ms = excluded.certificate_ms";
    let params = vec![
        gateway.id.into(),
        gateway.kind.as_str().into(),
        gateway.host.as_str().into(),
        gateway.version.as_str().into(),
        gateway.condition.into(),
        gateway.detail.as_str().into(),
        gateway.heartbeat_ms.into(),
        gateway.certificate_ms.into(),
    ];
    let stale = "DELETE FROM gateways WHERE heartbeat_ms < $1";
    let stale = Statement::new(stale, vec![stale_before_ms.into()]);
    db.write(vec![Statement::new(sql, params), stale]).await.map(|_| ())
}

/// Forgets a gateway that stops.
pub async fn leave(db: &dyn Database, id: Uuid) -> Result<(), Error> {
    let sql = "DELETE FROM gateways WHERE id = $1";
    db.write(vec![Statement::new(sql, vec![id.into()])]).await.map(|_| ())
}

/// The gateways that are known, at most 100.
pub async fn list(db: &dyn Database) -> Result<Vec<Gateway>, Error> {
    let sql = "SELECT id, kind, host, version, condition, detail, heartbeat_ms, certificate_ms \
               FROM gateways ORDER BY kind, id DESC LIMIT 100";
    let rows = db.read(Statement::new(sql, Vec::new())).await?;
    let gateway = |row: &super::value::Row| {
        Ok(Gateway {
            id: row.uuid(0)?,
            kind: row.text(1)?,
            host: row.text(2)?,
            version: row.text(3)?,
            condition: row.int(4)?,
            detail: row.text(5)?,
            heartbeat_ms: row.int(6)?,
            certificate_ms: row.int_or_null(7)?,
        })
    };
    rows.iter().map(gateway).collect()
}
