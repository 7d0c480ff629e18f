//! `postern audit`.

use postern_kit::env::Env;
use postern_proto::v1;
use postern_proto::v1::audit_service_client::AuditServiceClient;

use super::json;
use super::time::given;
use crate::cli::{Audit, AuditList};
use crate::client::Client;
use crate::output::line;

/// Entries asked for at once.
const PAGE: usize = 1000;

pub(super) async fn audit(command: Audit, env: &Env) -> anyhow::Result<()> {
    let Audit::List(args) = command;
    list(args, env).await
}

async fn list(args: AuditList, env: &Env) -> anyhow::Result<()> {
    let client = Client::new(&args.connection, env)?;
    let mut service = AuditServiceClient::new(client.channel.clone());
    let mut request = v1::ListAuditEntriesRequest {
        since: given("--since", args.since.as_deref())?,
        until: given("--until", args.until.as_deref())?,
        actor: args.actor,
        action: args.action,
        target: args.target,
        ..v1::ListAuditEntriesRequest::default()
    };
    let mut left = args.limit;
    while left > 0 {
        request.page_size = left.min(PAGE) as i32;
        let page = service.list_audit_entries(client.request(request.clone())).await?.into_inner();
        for entry in &page.entries {
            show(entry, args.connection.json);
        }
        left = left.saturating_sub(page.entries.len());
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    Ok(())
}

fn show(entry: &v1::AuditEntry, as_json: bool) {
    if as_json {
        line(&json::audit_entry(entry).to_string());
        return;
    }
    let time = json::time(entry.create_time.as_ref());
    let time = time.as_str().unwrap_or_default();
    let who = if entry.actor_name.is_empty() { &entry.actor } else { &entry.actor_name };
    let v1::AuditEntry { action, target, detail, client_ip, .. } = entry;
    line(&format!("{time}  {who}  {client_ip:<15}  {action:<24} {target}  {detail}"));
}
