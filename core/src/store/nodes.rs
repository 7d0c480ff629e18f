//! Which nodes say that they live.

use uuid::Uuid;

use super::Error;
use super::db::{Database, Statement};

/// A node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    /// Its id, new at every start.
    pub id: Uuid,
    /// When it was heard of last.
    pub heartbeat_ms: i64,
}

/// The nodes that are known, at most 100, the newest first.
pub async fn list(db: &dyn Database) -> Result<Vec<Node>, Error> {
    let sql = "SELECT id, heartbeat_ms FROM nodes ORDER BY id DESC LIMIT 100";
    let rows = db.read(Statement::new(sql, Vec::new())).await?;
    rows.iter().map(|row| Ok(Node { id: row.uuid(0)?, heartbeat_ms: row.int(1)? })).collect()
}
