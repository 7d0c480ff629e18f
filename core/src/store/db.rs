//! The small common denominator of the two databases, for everything that is not a hot path.
//!
//! SQL is written once with `$1`-style parameters, numbered in the order of their first use, and in
//! the dialect both understand.

use async_trait::async_trait;
use tokio::sync::watch;
use uuid::Uuid;

use super::Error;
use super::value::{Row, Value};

/// One statement with its parameters.
#[derive(Debug, Clone)]
pub struct Statement {
    /// The text.
    pub sql: String,
    /// The parameters, `$1` first.
    pub params: Vec<Value>,
    /// What it is to its transaction.
    pub part: Part,
}

/// What a statement is to the transaction it stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// What the transaction is about.
    Change,
    /// Goes along; nobody would call it a change by itself.
    Aside,
    /// Only happens when a change before it had an effect.
    Consequence,
}

impl Statement {
    /// A change.
    pub fn new(sql: impl Into<String>, params: Vec<Value>) -> Self {
        Self { sql: sql.into(), params, part: Part::Change }
    }

    /// The same statement as another part of its transaction.
    pub fn as_part(self, part: Part) -> Self {
        Self { part, ..self }
    }

    /// Whether it is to be left out behind statements that did this.
    pub(super) fn is_void(&self, before: &[Statement], done: &[Done]) -> bool {
        let had_effect = |(statement, done): (&Statement, &Done)| {
            statement.part == Part::Change && (done.changed > 0 || !done.rows.is_empty())
        };
        self.part == Part::Consequence && !before.iter().zip(done).any(had_effect)
    }
}

/// What a statement did.
#[derive(Debug, Clone, Default)]
pub struct Done {
    /// The rows it returned.
    pub rows: Vec<Row>,
    /// How many rows it changed, for statements that return none.
    pub changed: u64,
}

/// A database that can read, and write in one durable transaction.
#[async_trait]
pub trait Database: Send + Sync {
    /// Reads.
    async fn read(&self, statement: Statement) -> Result<Vec<Row>, Error>;

    /// Runs the statements in one transaction and commits it to stable storage. One that is left out
    /// (see [`Part::Consequence`]) has done nothing.
    async fn write(&self, statements: Vec<Statement>) -> Result<Vec<Done>, Error>;

    /// An SQL expression for the first sequence that an event reader must not read yet, because an
    /// event below it could still appear.
    fn horizon_sql(&self) -> &'static str;

    /// An SQL expression for the sequence of the first event of this transaction.
    fn sequence_sql(&self) -> &'static str;

    /// An SQL expression for the domain of an address in a column, in lower case.
    fn domain_sql(&self, column: &str) -> String;

    /// Changes whenever this process has committed events. Only a hint: other processes' events make
    /// no noise here, so readers also poll.
    fn events_signal(&self) -> watch::Receiver<u64>;
}

/// Builds `WHERE` clauses out of the conditions that are wanted.
#[derive(Debug, Default)]
pub struct Where {
    conditions: Vec<String>,
    params: Vec<Value>,
}

impl Where {
    /// Adds a condition in which `?` stands for the parameter.
    pub fn and(&mut self, condition: &str, param: impl Into<Value>) {
        self.params.push(param.into());
        let place = format!("${}", self.params.len());
        self.conditions.push(condition.replacen('?', &place, 1));
    }

    /// Adds a condition without a parameter.
    pub fn and_sql(&mut self, condition: &str) {
        self.conditions.push(condition.to_owned());
    }

    /// Adds `column IN (…)`; nothing fits an empty list.
    pub fn and_in(&mut self, column: &str, values: Vec<Value>) {
        if values.is_empty() {
            self.conditions.push("1 = 0".to_owned());
            return;
        }
        let first = self.params.len() + 1;
        let places: Vec<_> = (first..first + values.len()).map(|n| format!("${n}")).collect();
        self.params.extend(values);
        self.conditions.push(format!("{column} IN ({})", places.join(", ")));
    }

    /// `select`, the conditions, and `rest` behind them.
    pub fn statement(self, select: &str, rest: &str) -> Statement {
        let joined = self.conditions.join(" AND ");
        let clause = if joined.is_empty() { String::new() } else { format!(" WHERE {joined}") };
        Statement::new(format!("{select}{clause} {rest}"), self.params)
    }
}

/// The smallest id that can have been made at this time or later; ids begin with their time.
pub fn first_id(ms: i64) -> Uuid {
    let ms = u128::try_from(ms).unwrap_or_default();
    Uuid::from_u128(ms.min((1 << 48) - 1) << 80)
}

/// Cuts rows that are to be inserted into pieces of a few fixed sizes: every size is a statement of
/// its own, which the databases keep prepared.
pub fn pieces<T>(mut rows: &[T]) -> Vec<&[T]> {
    const SIZES: [usize; 3] = [64, 8, 1];
    let mut pieces = Vec::new();
    for size in SIZES {
        while let Some((piece, rest)) = rows.split_at_checked(size) {
            pieces.push(piece);
            rows = rest;
        }
    }
    pieces
}
