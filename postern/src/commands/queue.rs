//! `postern queue`.

use postern_kit::env::Env;
use postern_proto::v1;
use postern_proto::v1::queue_service_client::QueueServiceClient;
use serde_json::json;
use tonic::transport::Channel;

use super::json as shown;
use crate::cli::{Destination, DestinationPause, DestinationRetry, ListArgs, Queue};
use crate::client::Client;
use crate::output::line;

pub(super) async fn queue(command: Queue, env: &Env) -> anyhow::Result<()> {
    match command {
        Queue::List(args) => list(&args, env).await,
        Queue::Pause(args) => pause(args, env).await,
        Queue::Resume(args) => resume(args, env).await,
        Queue::Retry(args) => retry(args, env).await,
    }
}

fn service(client: &Client) -> QueueServiceClient<Channel> {
    QueueServiceClient::new(client.channel.clone())
}

async fn list(args: &ListArgs, env: &Env) -> anyhow::Result<()> {
    let client = Client::new(&args.connection, env)?;
    let request = client.request(v1::ListDestinationsRequest {});
    let answer = service(&client).list_destinations(request).await?.into_inner();
    for one in &answer.destinations {
        if args.connection.json {
            line(&shown::destination(one).to_string());
            continue;
        }
        let v1::Destination { domain, queued, sending, deferred, oldest_due_seconds, .. } = one;
        let paused = if one.paused { format!("  paused: {}", one.note) } else { String::new() };
        line(&format!(
            "{domain:<30} {queued:>7} queued {sending:>5} sending {deferred:>7} deferred  \
             due since {oldest_due_seconds} s{paused}"
        ));
    }
    if answer.partial && !args.connection.json {
        line("More recipients wait than were counted.");
    }
    Ok(())
}

async fn pause(args: DestinationPause, env: &Env) -> anyhow::Result<()> {
    let client = Client::new(&args.connection, env)?;
    let (domain, note) = (args.domain, args.note);
    let request =
        v1::PauseDestinationRequest { domain: domain.clone(), note, validate_only: false };
    service(&client).pause_destination(client.request(request)).await?;
    done(args.connection.json, &domain, "waits");
    Ok(())
}

async fn resume(args: Destination, env: &Env) -> anyhow::Result<()> {
    let client = Client::new(&args.connection, env)?;
    let domain = args.domain;
    let request = v1::ResumeDestinationRequest { domain: domain.clone(), validate_only: false };
    service(&client).resume_destination(client.request(request)).await?;
    done(args.connection.json, &domain, "goes on");
    Ok(())
}

fn done(as_json: bool, domain: &str, what: &str) {
    if as_json {
        line("{}");
    } else {
        line(&format!("mail to {domain} {what}"));
    }
}

async fn retry(args: DestinationRetry, env: &Env) -> anyhow::Result<()> {
    let client = Client::new(&args.connection, env)?;
    let (domain, validate_only) = (args.domain, args.dry_run);
    let request = v1::RetryDestinationRequest { domain, validate_only };
    let answer = service(&client).retry_destination(client.request(request)).await?.into_inner();
    if args.connection.json {
        line(&json!({"count": answer.count}).to_string());
    } else {
        let when = if args.dry_run { "would be due now" } else { "are due now" };
        line(&format!("{} recipients {when}", answer.count));
    }
    Ok(())
}
