//! What a store promises, tested once and run against both backends. A test gets a store of its
//! own: a new folder, or a new schema of the PostgreSQL that `tests/run` started.

pub(crate) mod build;
mod intake;
mod queue;
mod feed;
mod directory;
mod credentials;
mod domains;
mod restore;
mod tracking;
mod campaigns;
mod webhooks;
mod reports;
mod operators;
mod audit;
mod destinations;
mod errors;
mod gateways;
mod troubles;

use std::future::Future;
use std::time::Duration;

use postern_kit::env::Env;
use uuid::Uuid;

use super::Stores;
use super::embedded::Embedded;
use super::postgres::{Postgres, PostgresConfig};

/// Where the tests' PostgreSQL is.
const DATABASE: &str = "POSTERN_TEST_DATABASE_URL";

async fn on_embedded<F: Future<Output = ()>>(test: impl FnOnce(Stores) -> F) {
    let folder = tempfile::tempdir().unwrap();
    test(Embedded::open(folder.path()).unwrap()).await;
}

async fn on_postgres<F: Future<Output = ()>>(test: impl FnOnce(Stores) -> F) {
    let open = async |config| test(Postgres::open(&config).await.unwrap()).await;
    in_schema(open).await;
}

/// Runs a test with a PostgreSQL schema of its own, without tables.
pub(crate) async fn in_schema(test: impl AsyncFnOnce(PostgresConfig)) {
    let env = Env::process();
    let url =
        env.required(DATABASE).expect("start the tests with tests/run, which starts PostgreSQL");
    let schema = format!("conformance_{}", Uuid::now_v7().simple());
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    client.batch_execute(&format!("CREATE SCHEMA {schema}")).await.unwrap();
    let config = PostgresConfig {
        url: url.to_owned(),
        schema: schema.clone(),
        connections: 8,
        timeout: Duration::from_secs(20),
        replica: None,
    };
    test(config).await;
    client.batch_execute(&format!("DROP SCHEMA {schema} CASCADE")).await.unwrap();
    connection.abort();
}

/// One test function for each promise and backend.
macro_rules! promises {
    ($($promise:ident),* $(,)?) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $promise() {
                super::super::on_embedded(super::$promise).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $promise() {
                super::super::on_postgres(super::$promise).await;
            })*
        }
    };
}
use promises;
