//! `postern suppressions`: takes in addresses that get no mail. A crash in the middle leaves the first
//! lines taken in; running the command again goes on from there.

use std::fs::File;
use std::io::Read;
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use indicatif::{ProgressBar, ProgressBarIter};
use postern_gateway_rest::suppression_file::{BATCH, List};
use postern_kit::env::Env;
use postern_proto::v1;
use postern_proto::v1::suppression_service_client::SuppressionServiceClient;
use serde_json::{Value, json};

use crate::cli::{Suppressions, SuppressionsImport};
use crate::client::Client;
use crate::output::{REFUSED, line, progress};

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
        let batch = list.batch(|line, why| counts.refuse(line, why))?;
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
