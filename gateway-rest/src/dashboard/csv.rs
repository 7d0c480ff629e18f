//! Tables as CSV (RFC 4180), page by page as they are read, so that a long one needs no memory.
//!
//! Spreadsheets take a cell that begins like a formula for one; such cells get an apostrophe first.
//! A table that breaks off says so in its last line, because its status is sent before.

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::stream;
use http::HeaderValue;

use super::figures::encoded;
use super::list::Rows;
use super::view::{Cell, Table};

/// Rows of one export.
const ROWS_MAX: usize = 1_000_000;

struct Reading<F> {
    next: Option<String>,
    rows: usize,
    fetch: F,
    columns: usize,
}

/// One table of a page, with all that the page shows of it.
pub(super) fn whole(path: &str, table: &Table) -> Response {
    let path = path.split('?').next().unwrap_or_default();
    let named = path.rsplit('/').find(|part| !part.is_empty()).unwrap_or_default();
    let is_plain = |c: &char| c.is_ascii_alphanumeric() || "-_.".contains(*c);
    let name: String = named.chars().filter(is_plain).collect();
    download(&name, Body::from(text(table)))
}

/// The same as an address that holds it, for tables that answer a form.
pub(super) fn inline(table: &Table) -> String {
    format!("data:text/csv;charset=utf-8,{}", encoded(&text(table)))
}

fn text(table: &Table) -> String {
    let is_button = |row: &Vec<Cell>, at: usize| matches!(row.get(at), Some(Cell::Actions(_)));
    let has_buttons = |at: &usize| table.rows.iter().any(|row| is_button(row, *at));
    let columns = (0..table.columns.len()).take_while(|at| !has_buttons(at)).count();
    line(table.columns[..columns].iter().copied()) + &lines(&table.rows, columns)
}

/// Exports a table whose pages `fetch` reads, the first under the empty token.
pub(super) fn export<F, R>(name: &str, columns: &[&str], fetch: F) -> Response
where
    F: Fn(String) -> R + Send + 'static,
    R: Future<Output = Rows> + Send,
{
    let head = line(columns.iter().copied());
    let start = Reading { next: Some(String::new()), rows: 0, fetch, columns: columns.len() };
    let pages = stream::unfold(start, async |mut reading| {
        let token = reading.next.take()?;
        let text = match (reading.fetch)(token).await {
            Ok((rows, next)) => {
                reading.rows += rows.len();
                let more = !next.is_empty() && reading.rows < ROWS_MAX;
                reading.next = more.then_some(next);
                lines(&rows, reading.columns)
            }
            Err(fault) => line([format!("# {}", fault.0.message).as_str()].into_iter()),
        };
        Some((Ok::<_, std::convert::Infallible>(Bytes::from(text)), reading))
    });
    let head = stream::once(async move { Ok(Bytes::from(head)) });
    let body = Body::from_stream(futures_util::StreamExt::chain(head, pages));
    download(name, body)
}

fn download(name: &str, body: Body) -> Response {
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert("content-type", HeaderValue::from_static("text/csv; charset=utf-8"));
    headers.insert("cache-control", HeaderValue::from_static("no-store"));
    let file = format!("attachment; filename=\"{name}.csv\"");
    if let Ok(file) = HeaderValue::try_from(file) {
        headers.insert("content-disposition", file);
    }
    response
}

/// Buttons stand behind the columns, and are left out.
fn lines(rows: &[Vec<Cell>], columns: usize) -> String {
    rows.iter()
        .map(|row| {
            let cells: Vec<String> = row.iter().take(columns).map(Cell::plain).collect();
            line(cells.iter().map(String::as_str))
        })
        .collect()
}

fn line<'a>(cells: impl Iterator<Item = &'a str>) -> String {
    let mut writer = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .has_headers(false)
        .from_writer(Vec::new());
    let written = writer.write_record(cells.map(harmless));
    let bytes = written.ok().and_then(|()| writer.into_inner().ok()).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn harmless(text: &str) -> String {
    match text.chars().next() {
        Some('=' | '+' | '-' | '@' | '\t' | '\r') => format!("'{text}"),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_a_page_comes_without_its_buttons() {
        let rows = vec![
            vec![Cell::text("a,b"), Cell::Number(1), Cell::Actions(Vec::new())],
            vec![Cell::text("=c"), Cell::Number(2), Cell::text("")],
        ];
        let table = Table { columns: vec!["x", "y", "act"], rows, ..Table::default() };
        assert_eq!(text(&table), "x,y\r\n\"a,b\",1\r\n'=c,2\r\n");
        assert!(inline(&table).starts_with("data:text/csv;charset=utf-8,x%2Cy%0D%0A"));
    }

    #[test]
    fn buttons_are_left_out() {
        let row = vec![Cell::text("a"), Cell::Number(1), Cell::Actions(Vec::new())];
        assert_eq!(lines(&[row], 2), "a,1\r\n");
    }

    #[test]
    fn no_cell_is_a_formula_and_every_cell_is_whole() {
        let cells = ["=HYPERLINK(1)", "a \"b\", c", "line\nline", "-1", "plain", ""];
        assert_eq!(
            line(cells.into_iter()),
            "'=HYPERLINK(1),\"a \"\"b\"\", c\",\"line\nline\",'-1,plain,\r\n"
        );
    }
}
