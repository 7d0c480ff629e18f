//! Operators and their sessions. What others keep in memory of them is renewed by the version of the
//! directory, as in [`super::directory`].

use std::collections::HashMap;
use std::sync::Arc;

use postern_proto::ids::OperatorId;

use crate::model::operator::{Operator, OperatorSession, Role};

use super::Error;
use super::db::{Database, Statement, Where};
use super::directory::raise_version;
use super::value::Row;

const OPERATOR: &str = "SELECT id, username, password_hash, role, totp_secret, totp_pending, \
    create_ms, login_ms FROM operators";

/// Stores an operator. [`Error::Conflict`] when the user name is taken.
pub async fn create(db: &dyn Database, operator: &Operator) -> Result<(), Error> {
    let sql = "INSERT INTO operators (id, username, password_hash, role, totp_secret, \
               totp_pending, totp_step, create_ms, login_ms) \
               VALUES ($1, $2, $3, $4, $5, $6, 0, $7, $8)";
    let insert = Statement::new(
        sql,
        vec![
            operator.id.uuid().into(),
            operator.username.as_str().into(),
            operator.password_hash.as_str().into(),
            (operator.role as i64).into(),
            operator.totp_secret.clone().into(),
            operator.totp_pending.clone().into(),
            operator.create_ms.into(),
            operator.login_ms.into(),
        ],
    );
    db.write(vec![insert]).await.map(|_| ())
}

/// Operators by name, behind `after`.
pub async fn list(db: &dyn Database, after: &str, limit: usize) -> Result<Vec<Operator>, Error> {
    let mut conditions = Where::default();
    conditions.and("username > ?", after);
    let rest = format!("ORDER BY username LIMIT {limit}");
    db.read(conditions.statement(OPERATOR, &rest)).await?.iter().map(operator).collect()
}

/// The operator with this user name or id.
pub async fn find(
    db: &dyn Database,
    username: &str,
    id: Option<OperatorId>,
) -> Result<Option<Operator>, Error> {
    let mut conditions = Where::default();
    match id {
        Some(id) => conditions.and("id = ?", id.uuid()),
        None => conditions.and("username = ?", username),
    }
    db.read(conditions.statement(OPERATOR, "")).await?.first().map(operator).transpose()
}

/// Changes what an operator may do, unless nobody could do everything then. Tells whether it was
/// changed.
pub async fn set_role(db: &dyn Database, id: OperatorId, role: Role) -> Result<bool, Error> {
    let sql = "UPDATE operators SET role = $1 WHERE id = $2 AND (role <> $3 OR $1 = $3 \
               OR (SELECT count(*) FROM operators WHERE role = $3) > 1)";
    let params = vec![(role as i64).into(), id.uuid().into(), (Role::Admin as i64).into()];
    // The version first: its row lock makes two changes at once come one after the other.
    let done = db.write(vec![raise_version(), Statement::new(sql, params)]).await?;
    Ok(done[1].changed > 0)
}

/// Removes an operator, unless nobody could do everything then. Tells whether it was removed.
pub async fn delete(db: &dyn Database, id: OperatorId) -> Result<bool, Error> {
    let sql = "DELETE FROM operators WHERE id = $1 AND (role <> $2 \
               OR (SELECT count(*) FROM operators WHERE role = $2) > 1)";
    let params = vec![id.uuid().into(), (Role::Admin as i64).into()];
    let sessions = "DELETE FROM operator_sessions WHERE operator_id = $1 \
                    AND NOT EXISTS (SELECT 1 FROM operators WHERE id = $1)";
    let sessions = Statement::new(sessions, vec![id.uuid().into()]);
    let done = db.write(vec![raise_version(), Statement::new(sql, params), sessions]).await?;
    Ok(done[1].changed > 0)
}

/// Gives an operator a new password and no authenticator app, and ends all sessions.
pub async fn reset(db: &dyn Database, id: OperatorId, password_hash: &str) -> Result<(), Error> {
    let sql = "UPDATE operators SET password_hash = $1, totp_secret = $2, totp_pending = $2 \
               WHERE id = $3";
    let params = vec![password_hash.into(), Vec::<u8>::new().into(), id.uuid().into()];
    let end = "DELETE FROM operator_sessions WHERE operator_id = $1";
    let end = Statement::new(end, vec![id.uuid().into()]);
    db.write(vec![Statement::new(sql, params), end, raise_version()]).await.map(|_| ())
}

/// Changes the password and ends all sessions but `keep`.
pub async fn set_password(
    db: &dyn Database,
    id: OperatorId,
    password_hash: &str,
    keep: [u8; 32],
) -> Result<(), Error> {
    let sql = "UPDATE operators SET password_hash = $1 WHERE id = $2";
    let change = Statement::new(sql, vec![password_hash.into(), id.uuid().into()]);
    let end = "DELETE FROM operator_sessions WHERE operator_id = $1 AND hash <> $2";
    let end = Statement::new(end, vec![id.uuid().into(), keep.to_vec().into()]);
    db.write(vec![change, end, raise_version()]).await.map(|_| ())
}

/// Changes the secrets of the authenticator app: the one in use and the one to be confirmed.
pub async fn set_totp(
    db: &dyn Database,
    id: OperatorId,
    secret: &[u8],
    pending: &[u8],
) -> Result<(), Error> {
    let sql = "UPDATE operators SET totp_secret = $1, totp_pending = $2 WHERE id = $3";
    let params = vec![secret.to_vec().into(), pending.to_vec().into(), id.uuid().into()];
    db.write(vec![Statement::new(sql, params), raise_version()]).await.map(|_| ())
}

/// Notes that the code of a period was used. Tells whether it was the first time.
pub async fn use_totp_step(db: &dyn Database, id: OperatorId, step: i64) -> Result<bool, Error> {
    let sql = "UPDATE operators SET totp_step = $1 WHERE id = $2 AND totp_step < $1";
    let done = db.write(vec![Statement::new(sql, vec![step.into(), id.uuid().into()])]).await?;
    Ok(done[0].changed > 0)
}

/// Begins a session, and forgets those that are over.
pub async fn begin_session(
    db: &dyn Database,
    hash: [u8; 32],
    id: OperatorId,
    expire_ms: i64,
    now_ms: i64,
) -> Result<(), Error> {
    let over = "DELETE FROM operator_sessions WHERE expire_ms <= $1";
    let over = Statement::new(over, vec![now_ms.into()]);
    let sql = "INSERT INTO operator_sessions (hash, operator_id, expire_ms) VALUES ($1, $2, $3)";
    let begin = Statement::new(sql, vec![hash.to_vec().into(), id.uuid().into(), expire_ms.into()]);
    let sql = "UPDATE operators SET login_ms = $1 WHERE id = $2";
    let note = Statement::new(sql, vec![now_ms.into(), id.uuid().into()]);
    db.write(vec![over, begin, note, raise_version()]).await.map(|_| ())
}

/// Ends a session.
pub async fn end_session(db: &dyn Database, hash: [u8; 32]) -> Result<(), Error> {
    let sql = "DELETE FROM operator_sessions WHERE hash = $1";
    let end = Statement::new(sql, vec![hash.to_vec().into()]);
    db.write(vec![end, raise_version()]).await.map(|_| ())
}

/// Every session, by its hash. Those of operators who are gone stay out.
pub async fn sessions(db: &dyn Database) -> Result<HashMap<[u8; 32], OperatorSession>, Error> {
    let rows = db.read(Statement::new(OPERATOR, Vec::new())).await?;
    let operators = rows.iter().map(operator).collect::<Result<Vec<_>, _>>()?;
    let operators: HashMap<_, _> =
        operators.into_iter().map(|one| (one.id.uuid(), Arc::new(one))).collect();
    let sql = "SELECT hash, operator_id, expire_ms FROM operator_sessions";
    let mut sessions = HashMap::new();
    for row in db.read(Statement::new(sql, Vec::new())).await? {
        let hash = row.blob(0)?.try_into();
        let hash = hash.map_err(|_| Error::Corrupt("a session's hash has a wrong size".into()))?;
        if let Some(operator) = operators.get(&row.uuid(1)?) {
            let operator = operator.clone();
            sessions.insert(hash, OperatorSession { hash, operator, expire_ms: row.int(2)? });
        }
    }
    Ok(sessions)
}

fn operator(row: &Row) -> Result<Operator, Error> {
    Ok(Operator {
        id: OperatorId::from_uuid(row.uuid(0)?),
        username: row.text(1)?,
        password_hash: row.text(2)?,
        role: Role::from_number(row.int(3)?),
        totp_secret: row.blob(4)?,
        totp_pending: row.blob(5)?,
        create_ms: row.int(6)?,
        login_ms: row.int_or_null(7)?,
    })
}
