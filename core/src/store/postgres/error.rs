//! PostgreSQL's errors in our words. The only place that knows SQLSTATE.
//!
//! The difference matters: what counts as unavailable is tried again, for hours if need be, so a
//! fault of ours must never be among it.

use tokio_postgres::error::SqlState;

use super::super::Error;

/// What the driver says when it had no connection, lost it, or waited too long. It tells the kinds
/// of its errors apart by their texts only.
const CONNECTION_ERRORS: [&str; 6] = [
    "error connecting to server",
    "error communicating with the server",
    "connection closed",
    "timeout waiting for server",
    "error performing TLS handshake",
    "authentication error",
];

impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(db) = error.as_db_error() else {
            let text = error.to_string();
            return match CONNECTION_ERRORS.contains(&text.as_str()) {
                true => Self::Unavailable(text),
                false => Self::Corrupt(text),
            };
        };
        let text = db.message().to_owned();
        match db.code() {
            &SqlState::UNIQUE_VIOLATION => Self::Conflict(text),
            code if is_fault_of_ours(code) => Self::Corrupt(text),
            _ => Self::Unavailable(text),
        }
    }
}

/// Syntax errors, unknown tables, wrong types, broken constraints, limits of the server: trying again would not
/// help, and what else is in the group must not suffer.
fn is_fault_of_ours(code: &SqlState) -> bool {
    ["22", "23", "42", "54"].iter().any(|class| code.code().starts_with(class))
}

impl From<deadpool_postgres::PoolError> for Error {
    fn from(error: deadpool_postgres::PoolError) -> Self {
        match error {
            deadpool_postgres::PoolError::Backend(error) => error.into(),
            other => Self::Unavailable(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use postern_kit::env::Env;
    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;
    use tokio_postgres::{Client, NoTls};

    use super::*;

    async fn connected() -> (Client, tokio::task::JoinHandle<Result<(), tokio_postgres::Error>>) {
        let env = Env::process();
        let url = env.required("POSTERN_TEST_DATABASE_URL").expect("tests/run starts PostgreSQL");
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
        (client, tokio::spawn(connection))
    }

    async fn failed(client: &Client, sql: &str) -> Error {
        client.query(sql, &[]).await.unwrap_err().into()
    }

    #[tokio::test]
    async fn a_fault_of_ours_is_never_tried_again() {
        let (client, _connection) = connected().await;
        let unavailable = |error: &Error| matches!(error, Error::Unavailable(_));
        let wrong_type = client.query("SELECT $1::bigint", &[&"text"]).await.unwrap_err();
        let too_few = client.query("SELECT $1::bigint", &[]).await.unwrap_err();
        let row = client.query_one("SELECT 1::bigint", &[]).await.unwrap();
        let other_column = row.try_get::<_, String>(0).unwrap_err();
        let no_column = row.try_get::<_, i64>("missing").unwrap_err();
        let no_row = client.query_one("SELECT 1 WHERE false", &[]).await.unwrap_err();
        let unsendable = client.query("SELECT '\0'", &[]).await.unwrap_err();
        for error in [wrong_type, too_few, other_column, no_column, no_row, unsendable] {
            assert!(error.code().is_none(), "{error:?}");
            let error = Error::from(error);
            assert!(matches!(error, Error::Corrupt(_)), "{error:?}");
        }
        for sql in ["SELEC", "SELECT 1 / 0", "SELECT * FROM missing"] {
            let error = failed(&client, sql).await;
            assert!(!unavailable(&error), "{sql}: {error:?}");
        }
        let sql = "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'check_violation'; END $$";
        assert!(matches!(failed(&client, sql).await, Error::Corrupt(_)));
    }

    #[tokio::test]
    async fn a_lost_connection_may_come_back() {
        let (client, connection) = connected().await;
        connection.abort();
        let (other, _connection) = connected().await;
        let sql = "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'admin_shutdown'; END $$";
        let closed = client.query("SELECT 1", &[]).await.unwrap_err();
        let reset = reset_connection().await;
        let refused = tokio_postgres::connect("host=127.0.0.1 port=1", NoTls).await.err().unwrap();
        let late = tokio_postgres::Error::__private_api_timeout();
        for error in [closed, reset, refused, late] {
            let error = Error::from(error);
            assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
        }
        assert!(matches!(failed(&other, sql).await, Error::Unavailable(_)));
    }

    /// The error of a connection that the server resets in the middle of the greeting.
    async fn reset_connection() -> tokio_postgres::Error {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.read_u8().await.unwrap();
            // Unread bytes and no lingering: the system answers with a reset.
            stream.set_zero_linger().unwrap();
        });
        let url = format!("host=127.0.0.1 port={port} user=u");
        let connecting = tokio_postgres::connect(&url, NoTls);
        let error = tokio::time::timeout(Duration::from_secs(20), connecting).await.unwrap();
        server.await.unwrap();
        error.err().unwrap()
    }
}
