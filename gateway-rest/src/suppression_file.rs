//! Files of addresses that get no mail, as the dashboard and the operator's command take them in: a CSV
//! whose first line names the columns `email` and, where there are such, `reason`, `campaign_id` and
//! `note`; or one address a line.
//!
//! Holds no more than a batch; a crash loses what was not handed over.

use std::io::Read;

use csv::{Reader, ReaderBuilder, StringRecord, Terminator, Trim};
use postern_proto::v1;

/// Addresses of a batch: as many as the core takes at once.
pub const BATCH: usize = 1000;
/// The longest line in octets.
const LINE_BYTES_MAX: usize = 16 << 10;

/// The file cannot be read any further.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// It is no CSV, or gives no more octets.
    #[error(transparent)]
    Csv(#[from] csv::Error),
    /// A line is longer than any that is right.
    #[error("line {0} is too long")]
    Long(u64),
}

/// Where the columns are.
struct Columns {
    email: usize,
    reason: Option<usize>,
    campaign_id: Option<usize>,
    note: Option<usize>,
}

impl Columns {
    /// As the first line names them; none when it is an address already.
    fn named(head: &StringRecord) -> Option<Self> {
        let at = |name: &str| head.iter().position(|one| one.eq_ignore_ascii_case(name));
        let (reason, campaign_id, note) = (at("reason"), at("campaign_id"), at("note"));
        at("email").map(|email| Self { email, reason, campaign_id, note })
    }
}

/// The addresses of a file.
pub struct List<R> {
    reader: Reader<R>,
    columns: Option<Columns>,
}

impl<R: Read> List<R> {
    /// Begins to read.
    pub fn new(file: R) -> Self {
        let mut builder = ReaderBuilder::new();
        builder.has_headers(false).flexible(true).trim(Trim::All);
        // A carriage return before it is trimmed; the reader would count such lines wrongly.
        let reader = builder.terminator(Terminator::Any(b'\n')).from_reader(file);
        Self { reader, columns: None }
    }

    /// The next addresses with their lines; none at the end. `refuse` hears of lines that say nothing,
    /// and why.
    pub fn batch(
        &mut self,
        mut refuse: impl FnMut(u64, String),
    ) -> Result<Vec<(u64, v1::Suppression)>, Unreadable> {
        let (mut batch, mut record) = (Vec::new(), StringRecord::new());
        while batch.len() < BATCH && self.reader.read_record(&mut record)? {
            let at = record.position().map_or(0, csv::Position::line);
            if record.as_slice().len() > LINE_BYTES_MAX {
                return Err(Unreadable::Long(at));
            }
            if record.iter().all(str::is_empty) {
                continue;
            }
            if self.columns.is_none() {
                let named = Columns::named(&record);
                let is_head = named.is_some();
                let plain = Columns { email: 0, reason: None, campaign_id: None, note: None };
                self.columns = Some(named.unwrap_or(plain));
                if is_head {
                    continue;
                }
            }
            let Some(columns) = &self.columns else { continue };
            match entry(&record, columns) {
                Ok(entry) => batch.push((at, entry)),
                Err(why) => refuse(at, why),
            }
        }
        Ok(batch)
    }
}

/// The address of a line.
fn entry(record: &StringRecord, columns: &Columns) -> Result<v1::Suppression, String> {
    let text = |at: Option<usize>| at.and_then(|at| record.get(at)).unwrap_or_default();
    let name = text(columns.reason);
    let reason = match name {
        "" => Some(v1::SuppressionReason::Manual),
        name => {
            let name = format!("SUPPRESSION_REASON_{}", name.to_ascii_uppercase());
            v1::SuppressionReason::from_str_name(&name)
        }
    };
    let reason = reason.ok_or_else(|| {
        format!("{name} is no reason; there are hard_bounce, complaint, unsubscribe, manual")
    })?;
    Ok(v1::Suppression {
        email: unguarded(text(Some(columns.email))).to_owned(),
        reason: reason.into(),
        campaign_id: text(columns.campaign_id).to_owned(),
        note: text(columns.note).to_owned(),
        ..v1::Suppression::default()
    })
}

/// Without the apostrophe that an export for spreadsheets puts before what looks like a formula.
fn unguarded(text: &str) -> &str {
    match text.strip_prefix('\'') {
        Some(rest) if rest.starts_with(['=', '+', '-', '@']) => rest,
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Lines<T> = Vec<(u64, T)>;

    fn read(text: &str) -> (Lines<v1::Suppression>, Lines<String>) {
        let mut refused = Vec::new();
        let batch = List::new(text.as_bytes()).batch(|line, why| refused.push((line, why)));
        (batch.unwrap(), refused)
    }

    #[test]
    fn columns_are_found_by_their_names() {
        let (batch, refused) = read(
            "Note, email ,seen,reason,campaign_id\r\n\
             \"gone, really\",a@x.io,2026,Hard_Bounce,spring\r\n\r\nx,'+b@x.io\r\nx,c@x.io,,boredom,\r\n",
        );
        let (line, first) = &batch[0];
        assert_eq!(
            (*line, first.email.as_str(), first.campaign_id.as_str()),
            (2, "a@x.io", "spring")
        );
        assert_eq!(
            (first.reason(), first.note.as_str()),
            (v1::SuppressionReason::HardBounce, "gone, really")
        );
        assert_eq!(
            (batch[1].1.email.as_str(), batch[1].1.reason()),
            ("+b@x.io", v1::SuppressionReason::Manual)
        );
        assert_eq!((batch.len(), refused.len()), (2, 1));
        assert!(refused[0].0 == 5 && refused[0].1.contains("boredom is no reason"));
    }

    #[test]
    fn a_list_of_addresses_needs_no_names() {
        let (batch, _) = read("a@x.io\nb@x.io\n");
        let emails: Vec<_> = batch.iter().map(|(line, one)| (*line, one.email.as_str())).collect();
        assert_eq!(emails, [(1, "a@x.io"), (2, "b@x.io")]);
        assert!(read("").0.is_empty());
    }

    #[test]
    fn a_line_without_end_is_not_read_on() {
        let long = format!("a@x.io\n{}", "x".repeat(LINE_BYTES_MAX + 1));
        let read = List::new(long.as_bytes()).batch(|_, _| {});
        assert!(matches!(read, Err(Unreadable::Long(2))));
    }

    /// Every address of a file has its line, in order, and the file that they make has the same.
    #[test]
    fn fuzz_suppressions() {
        postern_fuzz::check!("suppressions", |input| {
            let mut refused = Vec::new();
            let Ok(batch) = List::new(input).batch(|line, _| refused.push(line)) else { return };
            assert!(batch.len() <= BATCH);
            assert!(batch.windows(2).all(|two| two[0].0 < two[1].0));
            assert!(refused.iter().all(|line| batch.iter().all(|(other, _)| other != line)));
            let mut written = csv::Writer::from_writer(Vec::new());
            written.write_record(["email", "reason", "campaign_id", "note"]).unwrap();
            for (_, one) in &batch {
                let reason = one.reason().as_str_name().replace("SUPPRESSION_REASON_", "");
                // The apostrophe of an export, which is taken off again.
                let guarded = one.email.starts_with(['=', '+', '-', '@', '\'']);
                let email = format!("{}{}", if guarded { "'" } else { "" }, one.email);
                if one.email.starts_with('\'') || email.is_empty() {
                    return;
                }
                written.write_record([&email, &reason, &one.campaign_id, &one.note]).unwrap();
            }
            let file = written.into_inner().unwrap();
            let again = List::new(&*file).batch(|line, why| panic!("{line}: {why}")).unwrap();
            let entries =
                |batch: Vec<(u64, v1::Suppression)>| batch.into_iter().map(|(_, one)| one);
            assert!(entries(again).eq(entries(batch)));
        });
    }
}
