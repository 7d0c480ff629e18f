//! Leases of a node that are not in its memory, because the store's answer was lost on the way.

use postern_proto::ids::RecipientId;
use uuid::Uuid;

use super::Error;
use super::db::{Database, Statement, Where};
use super::value::Value;

/// The deliveries that a node holds.
pub async fn held_by(db: &dyn Database, node: Uuid) -> Result<Vec<RecipientId>, Error> {
    let mut conditions = Where::default();
    conditions.and("lease = ?", node);
    let rows = db.read(conditions.statement("SELECT id FROM deliveries", "")).await?;
    rows.iter().map(|row| row.uuid(0).map(RecipientId::from_uuid)).collect()
}

/// Hands leases to a node that does not exist: reaping then frees them, as after a crash.
pub async fn disown(db: &dyn Database, node: Uuid, ids: &[RecipientId]) -> Result<(), Error> {
    let nobody = Uuid::now_v7();
    let give = |id: &RecipientId| {
        let sql = "UPDATE deliveries SET lease = $1 WHERE id = $2 AND lease = $3";
        Statement::new(sql, vec![nobody.into(), Value::Uuid(id.uuid()), node.into()])
    };
    db.write(ids.iter().map(give).collect()).await.map(|_| ())
}
