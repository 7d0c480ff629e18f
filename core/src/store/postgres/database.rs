//! [`Database`] on PostgreSQL.

use async_trait::async_trait;
use bytes::BytesMut;
use tokio::sync::watch;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

use super::super::Error;
use super::super::db::{Database, Done, Statement};
use super::super::value::{Row, Value};
use super::Postgres;

#[async_trait]
impl Database for Postgres {
    async fn read(&self, statement: Statement) -> Result<Vec<Row>, Error> {
        let client = self.client().await?;
        let prepared = client.prepare_cached(&statement.sql).await?;
        let rows = client.query(&prepared, &params(&statement.params)).await?;
        rows.iter().map(row).collect()
    }

    async fn write(&self, statements: Vec<Statement>) -> Result<Vec<Done>, Error> {
        let mut client = self.client().await?;
        let transaction = client.transaction().await?;
        let mut all: Vec<Done> = Vec::with_capacity(statements.len());
        for statement in &statements {
            if statement.is_void(&statements, &all) {
                all.push(Done::default());
                continue;
            }
            let prepared = transaction.prepare_cached(&statement.sql).await?;
            let params = params(&statement.params);
            if prepared.columns().is_empty() {
                let changed = transaction.execute(&prepared, &params).await?;
                all.push(Done { rows: Vec::new(), changed });
            } else {
                let rows = transaction.query(&prepared, &params).await?;
                let rows = rows.iter().map(row).collect::<Result<_, _>>()?;
                all.push(Done { rows, changed: 0 });
            }
        }
        transaction.commit().await?;
        Ok(all)
    }

    fn horizon_sql(&self) -> &'static str {
        "(SELECT (pg_snapshot_xmin(pg_current_snapshot())::text::bigint + base) * 4096 \
         FROM event_clock)"
    }

    fn sequence_sql(&self) -> &'static str {
        "(SELECT (pg_current_xact_id()::text::bigint + base) * 4096 FROM event_clock)"
    }

    fn domain_sql(&self, column: &str) -> String {
        format!("lower(substring({column} from '[^@]*$'))")
    }

    fn events_signal(&self) -> watch::Receiver<u64> {
        self.events.subscribe()
    }
}

impl Postgres {
    /// Wakes those who follow the event feed.
    pub(super) fn announce_events(&self) {
        self.events.send_modify(|mark| *mark += 1);
    }
}

fn params(values: &[Value]) -> Vec<&(dyn ToSql + Sync)> {
    values.iter().map(|value| value as &(dyn ToSql + Sync)).collect()
}

fn row(row: &tokio_postgres::Row) -> Result<Row, Error> {
    let values = row.columns().iter().enumerate().map(|(n, column)| {
        let value = match *column.type_() {
            Type::INT8 => row.try_get::<_, Option<i64>>(n)?.into(),
            Type::BOOL => row.try_get::<_, Option<bool>>(n)?.into(),
            Type::UUID => row.try_get::<_, Option<uuid::Uuid>>(n)?.into(),
            Type::BYTEA => row.try_get::<_, Option<Vec<u8>>>(n)?.into(),
            _ => row.try_get::<_, Option<String>>(n)?.into(),
        };
        Ok(value)
    });
    values.collect::<Result<_, Error>>().map(Row)
}

impl ToSql for Value {
    fn to_sql(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Int(number) => number.to_sql(ty, out),
            Self::Bool(truth) => truth.to_sql(ty, out),
            Self::Text(text) => text.to_sql(ty, out),
            Self::Blob(bytes) => bytes.to_sql(ty, out),
            Self::Uuid(uuid) => uuid.to_sql(ty, out),
        }
    }

    fn accepts(ty: &Type) -> bool {
        matches!(*ty, Type::INT8 | Type::BOOL | Type::TEXT | Type::BYTEA | Type::UUID)
    }

    to_sql_checked!();
}
