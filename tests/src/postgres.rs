//! A schema of a test's own in the server of `tests/with-postgres`.

use anyhow::Context as _;
use postern_kit::env::Env;
use tokio_postgres::NoTls;

/// Where a test's tables are.
#[derive(Debug, Clone)]
pub struct Schema {
    /// What stands before `@` in the URL.
    pub login: String,
    /// `host:port`.
    pub host: String,
    /// The database.
    pub database: String,
    /// The name for `POSTERN_DATABASE_SCHEMA`.
    pub name: String,
}

impl Schema {
    /// Makes an empty one.
    pub async fn make(name: &str) -> anyhow::Result<Self> {
        let env = Env::process();
        let url = env
            .get("POSTERN_TEST_DATABASE_URL")
            .context("no POSTERN_TEST_DATABASE_URL; run this under tests/with-postgres")?;
        let (login, rest) = url.split_once('@').context("the URL has no user")?;
        let (host, database) = rest.split_once('/').context("the URL has no database")?;
        let schema = Self {
            login: login.to_owned(),
            host: host.to_owned(),
            database: database.to_owned(),
            name: format!("e2e_{name}_{}", std::process::id()),
        };
        let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
        let serving = tokio::spawn(connection);
        let create = format!("CREATE SCHEMA {}", schema.name);
        client.batch_execute(&create).await?;
        drop(client);
        serving.await??;
        Ok(schema)
    }

    /// The URL, through this `host:port`.
    pub fn url(&self, host: &str) -> String {
        format!("{}@{host}/{}", self.login, self.database)
    }
}

/// A database of a test's own in the same server.
#[derive(Debug)]
pub struct Database {
    /// Its name.
    pub name: String,
    /// Its url.
    pub url: String,
}

impl Database {
    /// Makes an empty one.
    pub async fn make(name: &str) -> anyhow::Result<Self> {
        let env = Env::process();
        let server = env
            .get("POSTERN_TEST_DATABASE_URL")
            .context("no POSTERN_TEST_DATABASE_URL; run this under tests/with-postgres")?;
        let (start, _) = server.rsplit_once('/').context("the URL has no database")?;
        let name = format!("e2e_{name}_{}", std::process::id());
        let client = connect(server).await?;
        client.batch_execute(&format!("CREATE DATABASE {name}")).await?;
        Ok(Self { url: format!("{start}/{name}"), name })
    }

    /// A connection to it.
    pub async fn client(&self) -> anyhow::Result<tokio_postgres::Client> {
        connect(&self.url).await
    }
}

/// A connection to a server.
pub async fn connect(url: &str) -> anyhow::Result<tokio_postgres::Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    // It ends with the client.
    tokio::spawn(connection);
    Ok(client)
}
