//! PostgreSQL's errors in our words. The only place that knows SQLSTATE.

use tokio_postgres::error::SqlState;

use super::super::Error;

impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Self {
        let text = match error.as_db_error() {
            Some(db) => db.message().to_owned(),
            None => error.to_string(),
        };
        match error.code() {
            Some(&SqlState::UNIQUE_VIOLATION) => Self::Conflict(text),
            Some(code) if is_fault_of_ours(code) => Self::Corrupt(text),
            _ => Self::Unavailable(text),
        }
    }
}

/// Syntax errors, unknown tables, wrong types: trying again would not help.
fn is_fault_of_ours(code: &SqlState) -> bool {
    code.code().starts_with("42") || code.code().starts_with("22")
}

impl From<deadpool_postgres::PoolError> for Error {
    fn from(error: deadpool_postgres::PoolError) -> Self {
        match error {
            deadpool_postgres::PoolError::Backend(error) => error.into(),
            other => Self::Unavailable(other.to_string()),
        }
    }
}
