//! Connecting: pool, time-outs, safety checks, migrations.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use tokio::sync::watch;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::super::{Database, Error, Reads, Replicated, Stores};

mod migrations {
    refinery::embed_migrations!("migrations/postgres");
}

/// The number under which nodes take turns at migrating.
const MIGRATION_LOCK: i64 = 0x0070_6f73_7465_726e;

/// How long data may stay unacknowledged before the connection counts as dead.
const PEER_SILENCE_MAX: Duration = Duration::from_secs(15);
/// After how long without traffic the peer is asked whether it lives.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);

/// How to reach the database.
#[derive(Debug, Clone)]
pub struct PostgresConfig {
    /// `DATABASE_URL`: `postgres://user:password@host/name?sslmode=require`.
    pub url: String,
    /// The schema to live in; empty for the user's own. Tests use one each.
    pub schema: String,
    /// How many connections.
    pub connections: usize,
    /// How long to wait for a connection before saying that the store cannot be reached.
    pub timeout: Duration,
    /// Where reads may go that may be a moment old.
    pub replica: Option<ReplicaConfig>,
}

/// How to reach a streaming replica.
#[derive(Debug, Clone)]
pub struct ReplicaConfig {
    /// `DATABASE_REPLICA_URL`.
    pub url: String,
    /// How far it may be behind.
    pub lag_max: Duration,
}

/// The store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL cannot be used.
    #[error("DATABASE_URL: {0}; write postgres://user:password@host/name")]
    Url(String),
    /// It did not answer or refused.
    #[error("cannot open the database: {0}; check DATABASE_URL and that it runs")]
    Connect(#[from] Error),
    /// It would lose mail that was accepted.
    #[error("PostgreSQL runs with {setting}={value}, so accepted mail could be lost; set it to on")]
    Unsafe {
        /// Which setting.
        setting: &'static str,
        /// Its value.
        value: String,
    },
    /// The schema could not be brought up to date.
    #[error("cannot migrate the database: {0}")]
    Migration(#[from] refinery::Error),
}

/// The PostgreSQL store.
pub struct Postgres {
    pool: Pool,
    pub(super) events: watch::Sender<u64>,
    shard: AtomicI64,
}

impl Postgres {
    /// Connects, checks that a commit is durable, and migrates.
    pub async fn open(config: &PostgresConfig) -> Result<Stores, OpenError> {
        let store = Arc::new(Self::over(pool(config, &config.url)?));
        store.check_durable().await?;
        store.migrate().await?;
        let (intake, queue) = (store.clone(), store.clone());
        let (tracking, reports) = (store.clone(), store.clone());
        let db: Arc<dyn Database> = store;
        let replica = config.replica.as_ref().map(|replica| {
            let other = Arc::new(Self::over(pool(config, &replica.url)?));
            Ok::<_, OpenError>(Arc::new(Replicated::new(db.clone(), other, replica.lag_max)))
        });
        let replica = replica.transpose()?;
        let reads = match &replica {
            Some(replica) => Reads::Replicated(replica.clone()),
            None => Reads::One(db.clone()),
        };
        Ok(Stores { intake, queue, tracking, reports, db, reads, replica })
    }

    fn over(pool: Pool) -> Self {
        Self { pool, events: watch::Sender::new(0), shard: AtomicI64::new(0) }
    }

    /// A connection. Fails with [`Error::Unavailable`] within the configured time.
    pub(super) async fn client(&self) -> Result<deadpool_postgres::Object, Error> {
        Ok(self.pool.get().await?)
    }

    /// Which row of a counter the next transaction adds to, so that transactions of one node under
    /// way at the same time do not wait for each other's lock.
    pub(super) fn next_shard(&self) -> i64 {
        self.shard.fetch_add(1, Ordering::Relaxed).rem_euclid(16)
    }

    async fn check_durable(&self) -> Result<(), OpenError> {
        let client = self.client().await?;
        for setting in ["fsync", "synchronous_commit"] {
            let row = client.query_one(&format!("SHOW {setting}"), &[]).await;
            let value: String = row.map_err(Error::from)?.get(0);
            if value == "off" {
                return Err(OpenError::Unsafe { setting, value });
            }
        }
        Ok(())
    }

    async fn migrate(&self) -> Result<(), OpenError> {
        let mut client = self.client().await?;
        let sql = "SELECT pg_advisory_lock($1)";
        client.execute(sql, &[&MIGRATION_LOCK]).await.map_err(Error::from)?;
        let plain: &mut tokio_postgres::Client = &mut client;
        let migrated = migrations::migrations::runner().run_async(plain).await;
        // After a restore from a dump, transaction ids may begin again below the stored sequences.
        let raise = "UPDATE event_clock SET base = GREATEST(base, (SELECT \
                     COALESCE(MAX(sequence) / 4096 + 1, 0) FROM events) \
                     - pg_snapshot_xmin(pg_current_snapshot())::text::bigint) \
                     WHERE (SELECT COALESCE(MAX(sequence), 0) FROM events) >= \
                     (pg_snapshot_xmax(pg_current_snapshot())::text::bigint + base) * 4096";
        let raised = match migrated {
            Ok(_) => client.execute(raise, &[]).await.map_err(Error::from),
            Err(_) => Ok(0),
        };
        let sql = "SELECT pg_advisory_unlock($1)";
        client.execute(sql, &[&MIGRATION_LOCK]).await.map_err(Error::from)?;
        migrated?;
        raised?;
        Ok(())
    }
}

/// Trusts what browsers and the system trust.
pub(in crate::store) fn client_tls() -> Result<rustls::ClientConfig, rustls::Error> {
    let mut roots = rustls::RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    // A certificate of the system that cannot be read is simply not trusted.
    let (_added, _unreadable) =
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Ok(rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

fn pool(config: &PostgresConfig, url: &str) -> Result<Pool, OpenError> {
    let mut parsed: tokio_postgres::Config =
        url.parse().map_err(|error: tokio_postgres::Error| OpenError::Url(error.to_string()))?;
    parsed.connect_timeout(config.timeout);
    // A host that vanishes without a word must not hold a call for a quarter of an hour.
    parsed.tcp_user_timeout(PEER_SILENCE_MAX);
    parsed.keepalives_idle(KEEPALIVE_IDLE);
    parsed.application_name("postern");
    if !config.schema.is_empty() {
        parsed.options(format!("-c search_path={}", config.schema));
    }
    let tls = client_tls().map_err(|error| OpenError::Url(error.to_string()))?;
    let recycle = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let manager = Manager::from_config(parsed, MakeRustlsConnect::new(tls), recycle);
    Pool::builder(manager)
        .max_size(config.connections)
        .wait_timeout(Some(config.timeout))
        .create_timeout(Some(config.timeout))
        .recycle_timeout(Some(config.timeout))
        .runtime(Runtime::Tokio1)
        .build()
        .map_err(|error| OpenError::Url(error.to_string()))
}
