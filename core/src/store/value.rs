//! Values and rows that mean the same in both databases.

use uuid::Uuid;

use super::Error;

/// A parameter or a column.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// No value.
    Null,
    /// `bigint` / `INTEGER`.
    Int(i64),
    /// `boolean` / `INTEGER`.
    Bool(bool),
    /// `text`.
    Text(String),
    /// `bytea` / `BLOB`.
    Blob(Vec<u8>),
    /// `uuid` / `BLOB`.
    Uuid(Uuid),
}

macro_rules! from {
    ($($from:ty => $variant:ident;)*) => {$(
        impl From<$from> for Value {
            fn from(value: $from) -> Self {
                Self::$variant(value.into())
            }
        }
    )*};
}

from! {
    i64 => Int;
    bool => Bool;
    String => Text;
    &str => Text;
    Vec<u8> => Blob;
    Uuid => Uuid;
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// A row of a result. Accessors fail with [`Error::Corrupt`] when the type is not as expected.
#[derive(Debug, Clone, PartialEq)]
pub struct Row(pub Vec<Value>);

impl Row {
    fn bad<T>(&self, column: usize) -> Result<T, Error> {
        Err(Error::Corrupt(format!("column {column} has an unexpected type")))
    }

    /// An integer.
    pub fn int(&self, column: usize) -> Result<i64, Error> {
        match self.0.get(column) {
            Some(Value::Int(value)) => Ok(*value),
            _ => self.bad(column),
        }
    }

    /// An integer, or none.
    pub fn int_or_null(&self, column: usize) -> Result<Option<i64>, Error> {
        match self.0.get(column) {
            Some(Value::Null) => Ok(None),
            _ => self.int(column).map(Some),
        }
    }

    /// A truth value.
    pub fn bool(&self, column: usize) -> Result<bool, Error> {
        match self.0.get(column) {
            Some(Value::Bool(value)) => Ok(*value),
            Some(Value::Int(value)) => Ok(*value != 0),
            _ => self.bad(column),
        }
    }

    /// A text.
    pub fn text(&self, column: usize) -> Result<String, Error> {
        match self.0.get(column) {
            Some(Value::Text(value)) => Ok(value.clone()),
            _ => self.bad(column),
        }
    }

    /// Bytes; none reads as empty.
    pub fn blob(&self, column: usize) -> Result<Vec<u8>, Error> {
        match self.0.get(column) {
            Some(Value::Blob(value)) => Ok(value.clone()),
            Some(Value::Null) => Ok(Vec::new()),
            _ => self.bad(column),
        }
    }

    /// An id.
    pub fn uuid(&self, column: usize) -> Result<Uuid, Error> {
        match self.0.get(column) {
            Some(Value::Uuid(value)) => Ok(*value),
            // SQLite has no type for ids.
            Some(Value::Blob(value)) => Uuid::from_slice(value).or_else(|_| self.bad(column)),
            _ => self.bad(column),
        }
    }

    /// An id, or none.
    pub fn uuid_or_null(&self, column: usize) -> Result<Option<Uuid>, Error> {
        match self.0.get(column) {
            Some(Value::Null) => Ok(None),
            _ => self.uuid(column).map(Some),
        }
    }

    /// A JSON text.
    pub fn json<T: serde::de::DeserializeOwned>(&self, column: usize) -> Result<T, Error> {
        serde_json::from_str(&self.text(column)?).map_err(|error| Error::Corrupt(error.to_string()))
    }
}

/// The JSON text of a value that always has one.
pub(crate) fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("maps with text keys and lists always serialize")
}
