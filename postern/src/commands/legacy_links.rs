//! `postern legacy-links`: takes over links of the old system. A crash in the middle leaves the first
//! lines imported; running the command again goes on from there.

use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};

use anyhow::Context as _;
use postern_kit::env::Env;
use postern_proto::v1;
use postern_proto::v1::tracking_service_client::TrackingServiceClient;
use serde::Deserialize;
use serde_json::json;

use crate::cli::{LegacyLinks, LegacyLinksImport};
use crate::client::Client;
use crate::output::line;

/// Links handed over with one request.
const BATCH: usize = 1000;
/// The longest line in octets.
const LINE_BYTES_MAX: u64 = 16 << 10;

/// One line of the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    token: String,
    #[serde(default)]
    url: String,
    address: String,
    #[serde(default)]
    campaign_id: String,
    #[serde(default)]
    message_id: String,
}

pub(super) async fn legacy_links(command: LegacyLinks, env: &Env) -> anyhow::Result<()> {
    let LegacyLinks::Import(args) = command;
    import(&args, env).await
}

async fn import(args: &LegacyLinksImport, env: &Env) -> anyhow::Result<()> {
    let client = Client::new(&args.connection, env)?;
    let mut service = TrackingServiceClient::new(client.channel.clone());
    let mut file: Box<dyn BufRead> = match args.file.to_str() {
        Some("-") => Box::new(std::io::stdin().lock()),
        _ => {
            let file = File::open(&args.file);
            let file = file.with_context(|| format!("cannot read {}", args.file.display()))?;
            Box::new(BufReader::new(file))
        }
    };
    let (mut read, mut imported) = (0u64, 0i64);
    loop {
        let links = batch(&mut *file, &mut read)?;
        if links.is_empty() {
            break;
        }
        let behind = read;
        let request = client.request(v1::ImportLegacyLinksRequest { links });
        let answer = service.import_legacy_links(request).await;
        let answer = answer.with_context(|| format!("in the {BATCH} lines before {behind}"))?;
        imported += i64::from(answer.into_inner().imported);
    }
    if args.connection.json {
        line(&json!({"read": read, "imported": imported}).to_string());
    } else {
        line(&format!("{read} links read, {imported} of them new"));
    }
    Ok(())
}

/// The next links of the file; none at its end. `read` counts lines.
fn batch(file: &mut dyn BufRead, read: &mut u64) -> anyhow::Result<Vec<v1::LegacyLink>> {
    let mut links = Vec::new();
    while links.len() < BATCH {
        let mut text = String::new();
        let octets = file.take(LINE_BYTES_MAX).read_line(&mut text)?;
        if octets == 0 {
            break;
        }
        *read += 1;
        let entry: Entry =
            serde_json::from_str(&text).with_context(|| format!("line {read} is no such link"))?;
        let Entry { token, url, address, campaign_id, message_id } = entry;
        links.push(v1::LegacyLink { token, url, address, campaign_id, message_id });
    }
    Ok(links)
}
