//! What the database of the old system holds, for taking it over. One read-only transaction sees one
//! moment; nothing is written there, so a crash has nothing to lose.
//!
//! Rows come as JSON: installations differ in columns and types, and what is missing is simply not
//! there.

use std::time::Duration;

use serde_json::Value as Json;
use tokio_postgres::{Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::postgres::client_tls;

/// Rows read at once.
const PAGE: i64 = 1000;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The old database cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum OldSystemError {
    /// The url is none.
    #[error("'{0}' is no url of a database; write postgres://user:password@host/name")]
    Url(String),
    /// It did not answer or refused.
    #[error("the old database: {0}")]
    Database(String),
    /// It is not what is expected.
    #[error("{0}")]
    Unfit(String),
}

impl From<tokio_postgres::Error> for OldSystemError {
    fn from(error: tokio_postgres::Error) -> Self {
        let told = error.as_db_error().map(|error| error.message().to_owned());
        Self::Database(told.unwrap_or_else(|| error.to_string()))
    }
}

/// A table, or two where one says little without the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// Keys of the HTTP interface.
    ApiKeys,
    /// Logins of the SMTP relay.
    SmtpCredentials,
    /// Templates.
    Templates,
    /// People who unsubscribed.
    Unsubscribes,
    /// Addresses that bounced.
    Bounces,
    /// Endpoints that events are posted to.
    Webhooks,
    /// Tokens of links, with their mail in `log`.
    Clicks,
    /// Tokens of pixels, with their mail in `log`.
    Opens,
    /// Mail.
    Logs,
}

impl Table {
    /// All, in the order in which they are taken over.
    pub const ALL: [Self; 9] = [
        Self::ApiKeys,
        Self::SmtpCredentials,
        Self::Templates,
        Self::Unsubscribes,
        Self::Bounces,
        Self::Webhooks,
        Self::Clicks,
        Self::Opens,
        Self::Logs,
    ];

    /// Its name in the old database.
    pub fn name(self) -> &'static str {
        match self {
            Self::ApiKeys => "api_keys",
            Self::SmtpCredentials => "smtp_credentials",
            Self::Templates => "email_templates",
            Self::Unsubscribes => "unsubscribes",
            Self::Bounces => "bounced_emails",
            Self::Webhooks => "webhook_endpoints",
            Self::Clicks => "email_clicks",
            Self::Opens => "email_opens",
            Self::Logs => "email_logs",
        }
    }

    fn has_log(self) -> bool {
        matches!(self, Self::Clicks | Self::Opens)
    }
}

/// An open database of the old system.
pub struct OldSystem {
    client: Client,
}

impl OldSystem {
    /// Connects and begins to read at this moment.
    pub async fn open(url: &str) -> Result<Self, OldSystemError> {
        let client = connect(url).await?;
        let begin = "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY";
        client.batch_execute(begin).await?;
        let old = Self { client };
        if !old.has("api_keys").await? || !old.has("email_logs").await? {
            let text = "there are no tables api_keys and email_logs: this is not the old system's database";
            return Err(OldSystemError::Unfit(text.to_owned()));
        }
        Ok(old)
    }

    async fn has(&self, table: &str) -> Result<bool, OldSystemError> {
        let sql = "SELECT to_regclass($1) IS NOT NULL";
        Ok(self.client.query_one(sql, &[&table]).await?.get(0))
    }

    /// How many rows a table has; none where there is no such table.
    pub async fn count(&self, table: Table) -> Result<u64, OldSystemError> {
        if !self.has(table.name()).await? {
            return Ok(0);
        }
        let sql = format!("SELECT count(*) FROM {}", table.name());
        let count: i64 = self.client.query_one(&sql, &[]).await?.get(0);
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// The next rows behind an id, by id; none at the end.
    pub async fn page(&self, table: Table, after: i64) -> Result<Vec<(i64, Json)>, OldSystemError> {
        let name = table.name();
        let sql = if table.has_log() {
            format!(
                "SELECT t.id, (to_jsonb(t) || jsonb_build_object('log', to_jsonb(l)))::text \
                 FROM {name} t LEFT JOIN email_logs l ON l.id = t.email_log_id \
                 WHERE t.id > $1 ORDER BY t.id LIMIT $2"
            )
        } else {
            format!(
                "SELECT t.id, to_jsonb(t)::text FROM {name} t \
                 WHERE t.id > $1 ORDER BY t.id LIMIT $2"
            )
        };
        let rows = self.client.query(&sql, &[&after, &PAGE]).await?;
        let row = |row: &tokio_postgres::Row| {
            let text: String = row.get(1);
            let json = serde_json::from_str(&text);
            Ok((row.get(0), json.map_err(|error| OldSystemError::Database(error.to_string()))?))
        };
        rows.iter().map(row).collect()
    }
}

/// Refuses a database in which there is something already, so that a dump never mixes with it.
pub async fn check_empty(url: &str) -> Result<(), OldSystemError> {
    let client = connect(url).await?;
    let sql = "SELECT count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n \
               ON n.oid = c.relnamespace WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p', 'v')";
    let tables: i64 = client.query_one(sql, &[]).await?.get(0);
    if tables > 0 {
        let text = format!(
            "the scratch database has {tables} tables; give an empty one, or --from where the dump is loaded already"
        );
        return Err(OldSystemError::Unfit(text));
    }
    Ok(())
}

async fn connect(url: &str) -> Result<Client, OldSystemError> {
    // The url may hold a password, so it is not told.
    let hidden = || OldSystemError::Url("the given text".to_owned());
    let mut config: Config = url.parse().map_err(|_| hidden())?;
    config.connect_timeout(CONNECT_TIMEOUT).application_name("postern import-old");
    let tls = client_tls().map_err(|error| OldSystemError::Database(error.to_string()))?;
    let (client, connection) = config.connect(MakeRustlsConnect::new(tls)).await?;
    // It ends with the client; what goes wrong is told by the call that is under way.
    tokio::spawn(async move {
        let _told_by_the_call = connection.await;
    });
    Ok(client)
}
