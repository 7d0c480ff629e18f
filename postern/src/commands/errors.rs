//! `postern errors`.

use postern_kit::env::Env;
use postern_proto::v1;
use postern_proto::v1::stats_service_client::StatsServiceClient;

use super::json;
use super::time::given;
use crate::cli::{Errors, ErrorsList};
use crate::client::Client;
use crate::output::line;

pub(super) async fn errors(command: Errors, env: &Env) -> anyhow::Result<()> {
    let Errors::List(args) = command;
    list(args, env).await
}

async fn list(args: ErrorsList, env: &Env) -> anyhow::Result<()> {
    let client = Client::new(&args.connection, env)?;
    let mut service = StatsServiceClient::new(client.channel.clone());
    let request = v1::ListErrorsRequest {
        since: given("--since", args.since.as_deref())?,
        campaign_id: args.campaign,
        category: args.category,
        domain: args.domain,
        page_size: args.page_size,
        page_token: args.page_token,
    };
    let answer = service.list_errors(client.request(request)).await?.into_inner();
    if args.connection.json {
        line(&json::errors(&answer).to_string());
        return Ok(());
    }
    counts("by category", &answer.categories);
    counts("by destination", &answer.destinations);
    line("the newest");
    for error in &answer.errors {
        let time = json::time(error.create_time.as_ref());
        let time = time.as_str().unwrap_or_default();
        let v1::DeliveryError { message_id, email, r#type: kind, category, reply, .. } = error;
        line(&format!("  {time}  {message_id}  {email}  {kind}  {category}  {reply}"));
    }
    if answer.partial {
        line("There were more; the newest 5000 were counted.");
    }
    if !answer.next_page_token.is_empty() {
        line(&format!("Go on with --page-token {}", answer.next_page_token));
    }
    Ok(())
}

fn counts(title: &str, counts: &[v1::ErrorCount]) {
    line(title);
    for count in counts {
        let v1::ErrorCount { name, deferred, failed } = count;
        line(&format!("  {name:<30} {deferred:>7} deferred {failed:>7} failed"));
    }
}
