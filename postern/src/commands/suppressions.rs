//! `postern suppressions`: takes in addresses that get no mail. A crash in the middle leaves the first
//! lines taken in; running the command again goes on from there.

use std::fs::File;
use std::io::Read;
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use csv::{Reader, ReaderBuilder, StringRecord, Terminator, Trim};
use indicatif::{ProgressBar, ProgressBarIter};
use postern_kit::env::Env;
use postern_proto::v1;
use postern_proto::v1::suppression_service_client::SuppressionServiceClient;
use serde_json::{Value, json};

use crate::cli::{Suppressions, SuppressionsImport};
use crate::client::Client;
use crate::output::{REFUSED, line, progress};

/// Addresses handed over with one request.
const BATCH: usize = 1000;
/// The longest line in octets.
const LINE_BYTES_MAX: usize = 16 << 10;
/// Octets of a file.
const FILE_BYTES_MAX: u64 = 1 << 30;
/// Refused lines that are named; the others are counted.
const NAMED_MAX: usize = 100;

/// Runs the command and says how the process ends.
pub(super) async fn suppressions(command: Suppressions, env: &Env) -> anyhow::Result<ExitCode> {
    let Suppressions::Import(args) = command;
    import(&args, env).await
}

/// What became of the lines.
#[derive(Default)]
struct Counts {
    created: i64,
    existing: i64,
    refused: i64,
    /// The first refused lines, and why.
    named: Vec<(u64, String)>,
}

impl Counts {
    fn refuse(&mut self, line: u64, why: String) {
        self.refused += 1;
        if self.named.len() < NAMED_MAX {
            self.named.push((line, why));
        }
    }
}

async fn import(args: &SuppressionsImport, env: &Env) -> anyhow::Result<ExitCode> {
    let client = Client::new(&args.connection, env)?;
    let mut service = SuppressionServiceClient::new(client.channel.clone());
    let (file, bar) = open(args)?;
    let mut list = List::new(file);
    let mut counts = Counts::default();
    loop {
        let batch = list.batch(&mut counts)?;
        let is_long = bar.position() > FILE_BYTES_MAX;
        ensure!(!is_long, "the file has more than {FILE_BYTES_MAX} octets; split it");
        let Some((last, _)) = batch.last() else { break };
        let behind = *last;
        let (lines, suppressions): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
        let request =
            v1::BatchCreateSuppressionsRequest { suppressions, validate_only: args.dry_run };
        let answer = service.batch_create_suppressions(client.request(request)).await;
        let answer =
            answer.with_context(|| format!("in the {BATCH} addresses before line {behind}"));
        let answer = answer?.into_inner();
        counts.created += i64::from(answer.created_count);
        counts.existing += i64::from(answer.existing_count);
        for fault in answer.faults {
            let at = lines.get(fault.index as usize).copied().unwrap_or(behind);
            counts.refuse(at, fault.message);
        }
        bar.set_message(format!("{} added", counts.created));
    }
    bar.finish_and_clear();
    tell(&counts, args.connection.json);
    Ok(if counts.refused == 0 { ExitCode::SUCCESS } else { ExitCode::from(REFUSED) })
}

fn tell(counts: &Counts, as_json: bool) {
    let Counts { created, existing, refused, named } = counts;
    if as_json {
        let faults: Vec<Value> =
            named.iter().map(|(line, why)| json!({"line": line, "message": why})).collect();
        let shown = json!({
            "created": created, "existing": existing, "refused": refused, "faults": faults,
        });
        line(&shown.to_string());
        return;
    }
    for (number, why) in named {
        line(&format!("line {number}: {why}"));
    }
    line(&format!("{created} added, {existing} were there, {refused} refused"));
}

type Input = ProgressBarIter<Box<dyn Read>>;

/// The file, and what shows how much of it was read.
fn open(args: &SuppressionsImport) -> anyhow::Result<(Input, ProgressBar)> {
    let cannot = || format!("cannot read {}", args.file.display());
    let (file, size): (Box<dyn Read>, _) = match args.file.to_str() {
        Some("-") => (Box::new(std::io::stdin().take(FILE_BYTES_MAX + 1)), None),
        _ => {
            let file = File::open(&args.file).with_context(cannot)?;
            let size = file.metadata().with_context(cannot)?.len();
            (Box::new(file.take(FILE_BYTES_MAX + 1)), Some(size))
        }
    };
    let bar = progress(size);
    Ok((bar.wrap_read(file), bar))
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
struct List {
    reader: Reader<Input>,
    columns: Option<Columns>,
}

impl List {
    fn new(file: Input) -> Self {
        let mut builder = ReaderBuilder::new();
        builder.has_headers(false).flexible(true).trim(Trim::All);
        // A carriage return before it is trimmed; the reader would count such lines wrongly.
        let reader = builder.terminator(Terminator::Any(b'\n')).from_reader(file);
        Self { reader, columns: None }
    }

    /// The next addresses with their lines; none at the end. Lines that say nothing are refused.
    fn batch(&mut self, counts: &mut Counts) -> anyhow::Result<Vec<(u64, v1::Suppression)>> {
        let (mut batch, mut record) = (Vec::new(), StringRecord::new());
        while batch.len() < BATCH && self.reader.read_record(&mut record)? {
            let at = record.position().map_or(0, csv::Position::line);
            ensure!(record.as_slice().len() <= LINE_BYTES_MAX, "line {at} is too long");
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
                Err(why) => counts.refuse(at, why),
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

    fn read(text: &'static str) -> (Vec<(u64, v1::Suppression)>, Counts) {
        let file: Box<dyn Read> = Box::new(text.as_bytes());
        let mut counts = Counts::default();
        let batch = List::new(ProgressBar::hidden().wrap_read(file)).batch(&mut counts).unwrap();
        (batch, counts)
    }

    #[test]
    fn columns_are_found_by_their_names() {
        let (batch, counts) = read(
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
        assert_eq!((batch.len(), counts.refused), (2, 1));
        assert!(counts.named[0].0 == 5 && counts.named[0].1.contains("boredom is no reason"));
    }

    #[test]
    fn a_list_of_addresses_needs_no_names() {
        let (batch, _) = read("a@x.io\nb@x.io\n");
        let emails: Vec<_> = batch.iter().map(|(line, one)| (*line, one.email.as_str())).collect();
        assert_eq!(emails, [(1, "a@x.io"), (2, "b@x.io")]);
        assert!(read("").0.is_empty());
    }
}
