//! Lists: what one was asked for, where it goes on, and its rows as a page or as a file.
//!
//! No state; a crash has nothing to lose.

use std::sync::Arc;

use prost_types::Timestamp;
use serde::Deserialize;

use super::figures::encoded;
use super::view::{Block, Cell, Table};
use super::visit::Visit;
use super::{Answer, csv, show_live};
use crate::App;
use crate::fault::Fault;

/// What a list was asked for besides its own filters.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    page: String,
    #[serde(default)]
    format: String,
}

impl Asked {
    pub(super) fn is_csv(&self) -> bool {
        self.format == "csv"
    }

    /// The token of the page; empty for the first.
    pub(super) fn token(&self) -> String {
        self.page.clone()
    }

    /// Whether it is the first page that was asked for.
    pub(super) fn is_first(&self) -> bool {
        self.page.is_empty()
    }
}

/// The address of a list as CSV.
pub(super) fn csv_of(path: &str) -> String {
    with(path, &[("format", "csv")])
}

/// A page of rows, and the token of the next; empty at the end.
pub(super) type Rows = Result<(Vec<Vec<Cell>>, String), Fault>;

/// A list, whatever is in its rows.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct List<'a> {
    /// What the page is called.
    pub(super) title: &'a str,
    /// What the table is called; empty where the page says it.
    pub(super) table: &'a str,
    /// What the file is called.
    pub(super) file: &'static str,
    pub(super) columns: &'a [&'static str],
    /// What the column of buttons is called, which stands behind the others and in no file; empty for
    /// none.
    pub(super) actions: &'static str,
    /// Shown when there are no rows.
    pub(super) empty: &'a str,
    /// The address of the list, with its filter.
    pub(super) path: &'a str,
    /// Seconds after which the page reads itself again; 0 for never.
    pub(super) live: u32,
}

impl List<'_> {
    /// The page with the rows that `fetch` reads, below `before`; or all of them as a file.
    pub(super) async fn answer<F, R>(
        self,
        app: Arc<App>,
        visit: Visit,
        asked: &Asked,
        before: Vec<Block>,
        fetch: F,
    ) -> Answer
    where
        F: Fn(Arc<App>, Visit, String) -> R + Send + 'static,
        R: Future<Output = Rows> + Send,
    {
        if asked.is_csv() {
            let fetch = move |token| fetch(app.clone(), visit.clone(), token);
            return Ok(csv::export(self.file, self.columns, fetch));
        }
        let (rows, next) = fetch(app, visit.clone(), asked.token()).await?;
        let mut columns = self.columns.to_vec();
        columns.extend(Some(self.actions).filter(|name| !name.is_empty()));
        let mut blocks = before;
        blocks.push(Block::Table(Table {
            title: self.table.to_owned(),
            columns,
            rows,
            empty: self.empty.to_owned(),
            next: if next.is_empty() { next } else { with(self.path, &[("page", &next)]) },
            csv: csv_of(self.path),
        }));
        Ok(show_live(&visit, self.title, &blocks, self.live))
    }
}

/// An address with what is not empty of a query.
pub(super) fn with(path: &str, query: &[(&str, &str)]) -> String {
    let pairs = query.iter().filter(|(_, value)| !value.is_empty());
    let pairs: Vec<_> = pairs.map(|(key, value)| format!("{key}={}", encoded(value))).collect();
    let glue = if path.contains('?') { '&' } else { '?' };
    if pairs.is_empty() { path.to_owned() } else { format!("{path}{glue}{}", pairs.join("&")) }
}

/// The beginning of a day (`2026-11-26`), or of one that comes so many days after it.
pub(super) fn day(text: &str, plus: i64) -> Option<Timestamp> {
    let date: jiff::civil::Date = text.trim().parse().ok()?;
    let start = date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second();
    Some(Timestamp { seconds: start + plus * 86_400, nanos: 0 })
}

/// The present time in seconds.
pub(super) fn now_seconds() -> i64 {
    jiff::Timestamp::now().as_second()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_begin_and_end_in_utc() {
        assert_eq!(day("2026-11-26", 0).unwrap().seconds, 1_795_651_200);
        assert_eq!(day("2026-11-26", 1).unwrap().seconds, 1_795_651_200 + 86_400);
        assert!(day("26.11.2026", 0).is_none() && day("", 0).is_none());
    }

    #[test]
    fn an_address_holds_what_was_asked_for() {
        assert_eq!(with("/x", &[("a", ""), ("b", "1 &2")]), "/x?b=1%20%262");
        assert_eq!(csv_of("/x?b=1"), "/x?b=1&format=csv");
    }
}
