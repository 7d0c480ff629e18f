//! Sender domains and their DKIM keys.
//!
//! Every change of keys begins with the row of the domain: it takes effect only while `change_id` is the
//! one that the caller saw, and leaves another one behind. So changes come one after the other, and
//! a domain that can sign can always sign.

use postern_proto::ids::DomainId;
use uuid::Uuid;

use super::Error;
use super::db::{Database, Part, Statement, Where};
use super::directory::raise_version;
use super::value::{Row, Value, json};
use crate::model::domain::{Check, DkimAlgorithm, DkimKey, Domain, KeyState};

const DOMAIN: &str = "SELECT id, name, create_ms, change_id, checks, check_ms FROM domains";
const KEY: &str = "SELECT domain_id, selector, algorithm, private_der, record, create_ms, state, \
    overlap_ms, remove_ms FROM dkim_keys";
const INSERT_KEY: &str = "INSERT INTO dkim_keys (domain_id, selector, algorithm, private_der, record, \
    create_ms, state, overlap_ms, remove_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";

/// Stores a domain with its keys. [`Error::Conflict`] when the name is taken.
pub async fn create(db: &dyn Database, domain: &Domain) -> Result<(), Error> {
    let sql = "INSERT INTO domains (id, name, create_ms, change_id) VALUES ($1, $2, $3, $4)";
    let (id, name) = (domain.id.uuid(), domain.name.as_str());
    let params = vec![id.into(), name.into(), domain.create_ms.into(), domain.change_id.into()];
    let mut statements = vec![Statement::new(sql, params)];
    statements.extend(domain.keys.iter().map(|key| insert(domain.id, key)));
    statements.push(raise_version());
    db.write(statements).await.map(|_| ())
}

/// Domains by name, from behind `after`.
pub async fn list(db: &dyn Database, after: &str, limit: usize) -> Result<Vec<Domain>, Error> {
    let mut conditions = Where::default();
    conditions.and("name > ?", after);
    let rest = format!("ORDER BY name LIMIT {limit}");
    let rows = db.read(conditions.statement(DOMAIN, &rest)).await?;
    with_keys(db, &rows).await
}

/// The domain with this id, or else with this name.
pub async fn find(
    db: &dyn Database,
    name: &str,
    id: Option<DomainId>,
) -> Result<Option<Domain>, Error> {
    let mut conditions = Where::default();
    match id {
        Some(id) => conditions.and("id = ?", id.uuid()),
        None => conditions.and("name = ?", name),
    }
    let rows = db.read(conditions.statement(DOMAIN, "")).await?;
    Ok(with_keys(db, &rows).await?.pop())
}

/// Deletes a domain and its keys.
pub async fn delete(db: &dyn Database, id: DomainId) -> Result<(), Error> {
    let delete = |sql: &str| Statement::new(sql, vec![id.uuid().into()]);
    let keys = delete("DELETE FROM dkim_keys WHERE domain_id = $1");
    let domain = delete("DELETE FROM domains WHERE id = $1");
    db.write(vec![keys, domain, raise_version()]).await.map(|_| ())
}

/// Puts new keys beside those of the domain, in the place of those that are pending. Tells whether
/// the domain was still as seen; nothing is done otherwise. [`Error::Conflict`] when a selector is
/// taken. Nobody signs otherwise than before.
pub async fn add_pending(
    db: &dyn Database,
    seen: &Domain,
    keys: &[DkimKey],
) -> Result<bool, Error> {
    let sql = "DELETE FROM dkim_keys WHERE domain_id = $1 AND state = 1";
    let mut then = vec![Statement::new(sql, vec![seen.id.uuid().into()])];
    then.extend(keys.iter().map(|key| insert(seen.id, key)));
    Ok(db.write(changed(seen, then)).await?[0].changed > 0)
}

/// Makes the keys with these selectors the ones that sign, and retires those that did until
/// `remove_ms`. Tells whether the domain was still as seen; nothing is done otherwise. A reader sees
/// either the old keys active or the new ones.
pub async fn activate(
    db: &dyn Database,
    seen: &Domain,
    selectors: &[String],
    remove_ms: i64,
) -> Result<bool, Error> {
    let (id, names) = (Value::from(seen.id.uuid()), || selectors.iter().map(|s| s.as_str().into()));
    let retire = format!(
        "UPDATE dkim_keys SET state = 3, remove_ms = $1 \
         WHERE domain_id = $2 AND state = 2 AND selector NOT IN ({})",
        places(3, selectors.len())
    );
    let retired = [remove_ms.into(), id.clone()].into_iter().chain(names()).collect();
    let activate = format!(
        "UPDATE dkim_keys SET state = 2, remove_ms = NULL WHERE domain_id = $1 AND selector IN ({})",
        places(2, selectors.len())
    );
    let activated = [id].into_iter().chain(names()).collect();
    let then =
        vec![Statement::new(retire, retired), Statement::new(activate, activated), raise_version()];
    Ok(db.write(changed(seen, then)).await?[0].changed > 0)
}

/// Removes retired keys whose time is over; the number of keys.
pub async fn remove_retired(db: &dyn Database, now_ms: i64) -> Result<u64, Error> {
    let mut conditions = Where::default();
    conditions.and("state = ?", KeyState::Retired as i64);
    conditions.and("remove_ms <= ?", now_ms);
    let rows =
        db.read(conditions.statement("SELECT DISTINCT domain_id FROM dkim_keys", "")).await?;
    let mut removed = 0;
    for row in &rows {
        let Some(seen) = find(db, "", Some(DomainId::from_uuid(row.uuid(0)?))).await? else {
            continue;
        };
        let sql = "DELETE FROM dkim_keys WHERE domain_id = $1 AND state = 3 AND remove_ms <= $2";
        let delete = Statement::new(sql, vec![seen.id.uuid().into(), now_ms.into()]);
        // When somebody else changes the domain just now, the next round is early enough.
        removed += db.write(changed(&seen, vec![delete])).await?[1].changed;
    }
    Ok(removed)
}

/// Keeps what a check found. No change of the domain; nothing happens when it is gone.
pub async fn keep_checks(
    db: &dyn Database,
    id: DomainId,
    checks: &[Check],
    check_ms: i64,
) -> Result<(), Error> {
    let sql = "UPDATE domains SET checks = $1, check_ms = $2 WHERE id = $3";
    let params = vec![json(&checks).into(), check_ms.into(), id.uuid().into()];
    db.write(vec![Statement::new(sql, params)]).await.map(|_| ())
}

/// A change of one domain from what was seen: the first statement changes a row when the domain is still
/// so, and holds up other changes of it until the end of the transaction; the others follow only then.
fn changed(seen: &Domain, then: Vec<Statement>) -> Vec<Statement> {
    let sql = "UPDATE domains SET change_id = $1 WHERE id = $2 AND change_id = $3";
    let params = vec![Uuid::now_v7().into(), seen.id.uuid().into(), seen.change_id.into()];
    let then = then.into_iter().map(|statement| statement.as_part(Part::Consequence));
    std::iter::once(Statement::new(sql, params)).chain(then).collect()
}

/// `$3, $4` for two parameters from the third on.
fn places(first: usize, count: usize) -> String {
    let places: Vec<_> = (first..first + count).map(|n| format!("${n}")).collect();
    places.join(", ")
}

fn insert(id: DomainId, key: &DkimKey) -> Statement {
    let params = vec![
        id.uuid().into(),
        key.selector.as_str().into(),
        (key.algorithm as i64).into(),
        key.private_der.clone().into(),
        key.record.as_str().into(),
        key.create_ms.into(),
        (key.state as i64).into(),
        key.overlap_ms.into(),
        key.remove_ms.into(),
    ];
    Statement::new(INSERT_KEY, params)
}

async fn with_keys(db: &dyn Database, rows: &[Row]) -> Result<Vec<Domain>, Error> {
    let mut domains = Vec::with_capacity(rows.len());
    for row in rows {
        domains.push(Domain {
            id: DomainId::from_uuid(row.uuid(0)?),
            name: row.text(1)?,
            keys: Vec::new(),
            create_ms: row.int(2)?,
            change_id: row.uuid(3)?,
            checks: row.json(4)?,
            check_ms: row.int_or_null(5)?,
        });
    }
    let mut conditions = Where::default();
    let ids = domains.iter().map(|domain| Value::Uuid(domain.id.uuid())).collect();
    conditions.and_in("domain_id", ids);
    for row in db.read(conditions.statement(KEY, "ORDER BY selector")).await? {
        let (owner, key) = (row.uuid(0)?, key(&row)?);
        domains.iter_mut().filter(|d| d.id.uuid() == owner).for_each(|d| d.keys.push(key.clone()));
    }
    Ok(domains)
}

fn key(row: &Row) -> Result<DkimKey, Error> {
    let state = KeyState::from_number(row.int(6)?);
    Ok(DkimKey {
        selector: row.text(1)?,
        algorithm: match row.int(2)? {
            1 => DkimAlgorithm::Rsa,
            _ => DkimAlgorithm::Ed25519,
        },
        private_der: row.blob(3)?,
        record: row.text(4)?,
        create_ms: row.int(5)?,
        state: state.ok_or_else(|| Error::Corrupt("a DKIM key has no known state".to_owned()))?,
        overlap_ms: row.int(7)?,
        remove_ms: row.int_or_null(8)?,
    })
}
