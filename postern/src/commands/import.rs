//! `postern import`: takes over files of the old system. Each is taken in as a whole or not at all, so
//! a command that a crash cuts off is run again.

use std::fs::File;
use std::io::Read as _;

use anyhow::{Context as _, ensure};
use postern_kit::env::Env;
use postern_proto::v1;
use postern_proto::v1::bounce_service_client::BounceServiceClient;
use serde_json::json;

use crate::cli::{BouncePatterns, Import};
use crate::client::Client;
use crate::output::line;

/// A larger file is not read to its end; the core takes less.
const FILE_BYTES_MAX: u64 = 1 << 20;

pub(super) async fn import(command: Import, env: &Env) -> anyhow::Result<()> {
    let Import::BouncePatterns(args) = command;
    bounce_patterns(&args, env).await
}

async fn bounce_patterns(args: &BouncePatterns, env: &Env) -> anyhow::Result<()> {
    let yaml = read(args)?;
    let client = Client::new(&args.connection, env)?;
    let mut service = BounceServiceClient::new(client.channel.clone());
    let request = v1::ImportBouncePatternsRequest { yaml, validate_only: args.dry_run };
    let answer = service.import_bounce_patterns(client.request(request)).await?.into_inner();
    if args.connection.json {
        let patterns = answer.patterns.iter().map(|one| {
            json!({"category": one.category, "pattern": one.pattern, "reason": one.reason,
                   "unusable": one.unusable})
        });
        let patterns: Vec<_> = patterns.collect();
        let shown = json!({"used": answer.used, "patterns": patterns, "notes": answer.notes});
        line(&shown.to_string());
        return Ok(());
    }
    for one in answer.patterns.iter().filter(|one| !one.unusable.is_empty()) {
        line(&format!("left out  {}  '{}': {}", one.category, one.pattern, one.unusable));
    }
    for note in &answer.notes {
        line(&format!("note      {note}"));
    }
    line(&format!("{} of {} patterns are used", answer.used, answer.patterns.len()));
    Ok(())
}

fn read(args: &BouncePatterns) -> anyhow::Result<String> {
    let mut text = String::new();
    let octets = match args.file.to_str() {
        Some("-") => std::io::stdin().lock().take(FILE_BYTES_MAX + 1).read_to_string(&mut text),
        _ => {
            let file = File::open(&args.file);
            let file = file.with_context(|| format!("cannot read {}", args.file.display()))?;
            file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)
        }
    };
    let octets = octets.with_context(|| format!("cannot read {}", args.file.display()))?;
    ensure!(octets as u64 <= FILE_BYTES_MAX, "the file has more than {FILE_BYTES_MAX} octets");
    Ok(text)
}
