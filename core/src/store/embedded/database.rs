//! [`Database`] on SQLite.

use async_trait::async_trait;
use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Connection};
use tokio::sync::watch;

use super::super::Error;
use super::super::db::{Database, Done, Statement};
use super::super::value::{Row, Value};
use super::Embedded;

#[async_trait]
impl Database for Embedded {
    async fn read(&self, statement: Statement) -> Result<Vec<Row>, Error> {
        self.reading(move |connection| {
            let mut prepared = connection.prepare_cached(&statement.sql)?;
            rows(&mut prepared, &statement.params)
        })
        .await
    }

    async fn write(&self, statements: Vec<Statement>) -> Result<Vec<Done>, Error> {
        let run = move |connection: &Connection| {
            let mut all: Vec<Done> = Vec::with_capacity(statements.len());
            for statement in &statements {
                let void = statement.is_void(&statements, &all);
                all.push(if void { Done::default() } else { execute(connection, statement)? });
            }
            Ok(all)
        };
        self.writer.run(run).await
    }

    fn horizon_sql(&self) -> &'static str {
        // One writer: what is visible is complete.
        "9223372036854775807"
    }

    fn sequence_sql(&self) -> &'static str {
        // The next one.
        "NULL"
    }

    fn domain_sql(&self, column: &str) -> String {
        // What is behind the last @: a quoted local part may hold others.
        let before = format!("rtrim({column}, replace({column}, '@', ''))");
        format!("lower(substr({column}, length({before}) + 1))")
    }

    fn events_signal(&self) -> watch::Receiver<u64> {
        self.events.subscribe()
    }
}

impl Embedded {
    /// Wakes those who follow the event feed.
    pub(super) fn announce_events(&self) {
        self.events.send_modify(|mark| *mark += 1);
    }
}

fn execute(connection: &Connection, statement: &Statement) -> Result<Done, Error> {
    let mut prepared = connection.prepare_cached(&statement.sql)?;
    if prepared.column_count() > 0 {
        return Ok(Done { rows: rows(&mut prepared, &statement.params)?, changed: 0 });
    }
    let params = rusqlite::params_from_iter(&statement.params);
    Ok(Done { rows: Vec::new(), changed: prepared.execute(params)? as u64 })
}

fn rows(prepared: &mut CachedStatement<'_>, params: &[Value]) -> Result<Vec<Row>, Error> {
    let columns = prepared.column_count();
    let mut rows = prepared.query(rusqlite::params_from_iter(params))?;
    let mut list = Vec::new();
    while let Some(row) = rows.next()? {
        let values = (0..columns).map(|n| Ok(value(row.get_ref(n)?)));
        list.push(Row(values.collect::<Result<_, rusqlite::Error>>()?));
    }
    Ok(list)
}

fn value(from: ValueRef<'_>) -> Value {
    match from {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Int(number),
        // No column of ours holds floating point.
        ValueRef::Real(number) => Value::Int(number as i64),
        ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
    }
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Null => ToSqlOutput::Borrowed(ValueRef::Null),
            Self::Int(number) => ToSqlOutput::Borrowed(ValueRef::Integer(*number)),
            Self::Bool(truth) => ToSqlOutput::Borrowed(ValueRef::Integer(i64::from(*truth))),
            Self::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Self::Blob(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
            Self::Uuid(uuid) => ToSqlOutput::Borrowed(ValueRef::Blob(uuid.as_bytes())),
        })
    }
}
