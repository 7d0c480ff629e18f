//! `postern domains`.

use std::process::ExitCode;

use postern_kit::env::Env;
use postern_proto::v1;
use postern_proto::v1::domain_service_client::DomainServiceClient;
use tonic::transport::Channel;

use super::json;
use crate::cli::{DomainActivate, DomainRotate, Domains, ListArgs, Named};
use crate::client::Client;
use crate::output::{REFUSED, line};

/// Runs the command and says how the process ends.
pub(super) async fn domains(command: Domains, env: &Env) -> anyhow::Result<ExitCode> {
    match command {
        Domains::Add(args) => add(&args, env).await?,
        Domains::Records(args) => records(&args, env).await?,
        Domains::List(args) => list(&args, env).await?,
        Domains::Check(args) => return check(&args, env).await,
        Domains::Rotate(args) => rotate(args, env).await?,
        Domains::Activate(args) => activate(args, env).await?,
    }
    Ok(ExitCode::SUCCESS)
}

fn service(client: &Client) -> DomainServiceClient<Channel> {
    DomainServiceClient::new(client.channel.clone())
}

async fn add(args: &Named, env: &Env) -> anyhow::Result<()> {
    let client = Client::new(&args.connection, env)?;
    let request = v1::CreateDomainRequest { name: args.name.clone(), ..Default::default() };
    let response = service(&client).create_domain(client.request(request)).await?.into_inner();
    show(&response.domain.unwrap_or_default(), args.connection.json);
    Ok(())
}

async fn records(args: &Named, env: &Env) -> anyhow::Result<()> {
    let client = Client::new(&args.connection, env)?;
    let request = v1::GetDomainRequest { id: args.name.clone() };
    let response = service(&client).get_domain(client.request(request)).await?.into_inner();
    show(&response.domain.unwrap_or_default(), args.connection.json);
    Ok(())
}

async fn list(args: &ListArgs, env: &Env) -> anyhow::Result<()> {
    let client = Client::new(&args.connection, env)?;
    let mut page_token = String::new();
    loop {
        let request = v1::ListDomainsRequest { page_size: 1000, page_token };
        let page = service(&client).list_domains(client.request(request)).await?.into_inner();
        for domain in &page.domains {
            if args.connection.json {
                line(&json::domain(domain).to_string());
            } else {
                line(&format!("{}  {}", domain.id, domain.name));
            }
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(());
        }
    }
}

async fn check(args: &Named, env: &Env) -> anyhow::Result<ExitCode> {
    let client = Client::new(&args.connection, env)?;
    let request = v1::CheckDomainRequest { id: args.name.clone() };
    let response = service(&client).check_domain(client.request(request)).await?.into_inner();
    let domain = response.domain.unwrap_or_default();
    if args.connection.json {
        line(&json::domain(&domain).to_string());
    } else {
        line(&format!("{}  {}", domain.id, domain.name));
        domain.checks.iter().for_each(show_check);
    }
    let is_right = domain.checks.iter().all(|check| {
        use v1::DomainCheckStatus::{Ok, Warning};
        check.need() != v1::DnsRecordNeed::Required || matches!(check.status(), Ok | Warning)
    });
    Ok(if is_right { ExitCode::SUCCESS } else { ExitCode::from(REFUSED) })
}

/// A row, and below it what a person needs to put it right.
fn show_check(check: &v1::DomainCheck) {
    let (status, need) = (json::check_status(check.status()), json::need(check.need()));
    line(&format!("  {status:<8} {need:<12} {:<12} {}", check.purpose, check.name));
    let below = |title: &str, text: &str| {
        if !text.is_empty() {
            line(&format!("           {title}{text}"));
        }
    };
    below("", &check.hint);
    if check.status() != v1::DomainCheckStatus::Ok {
        below("expected: ", &check.expected);
        below("found:    ", &check.found);
    }
    below("no answer now: ", &check.error);
}

async fn rotate(args: DomainRotate, env: &Env) -> anyhow::Result<()> {
    let client = Client::new(&args.connection, env)?;
    let seconds = i64::from(args.overlap_hours) * 3600;
    let request = v1::RotateDkimKeysRequest {
        id: args.name,
        selector: args.selector,
        overlap: Some(prost_types::Duration { seconds, nanos: 0 }),
        replace_pending: args.replace_pending,
        ..Default::default()
    };
    let response = service(&client).rotate_dkim_keys(client.request(request)).await?.into_inner();
    show(&response.domain.unwrap_or_default(), args.connection.json);
    Ok(())
}

async fn activate(args: DomainActivate, env: &Env) -> anyhow::Result<()> {
    let client = Client::new(&args.connection, env)?;
    let request = v1::ActivateDkimKeysRequest {
        id: args.name,
        selector: args.selector,
        force: args.force,
        ..Default::default()
    };
    let response = service(&client).activate_dkim_keys(client.request(request)).await?.into_inner();
    let domain = response.domain.unwrap_or_default();
    if args.connection.json {
        line(&json::domain(&domain).to_string());
        return Ok(());
    }
    line(&format!("{}  {}", domain.id, domain.name));
    for key in &domain.dkim_keys {
        let until = json::time(key.remove_time.as_ref());
        let until = until.as_str().map(|time| format!(" until {time}")).unwrap_or_default();
        line(&format!("  {:<8} {}{until}", json::key_state(key.state()), key.selector));
    }
    Ok(())
}

fn show(domain: &v1::Domain, as_json: bool) {
    if as_json {
        line(&json::domain(domain).to_string());
        return;
    }
    line(&format!("{}  {}", domain.id, domain.name));
    line("Publish these DNS records:");
    for record in &domain.dns_records {
        let need = json::need(record.need());
        line(&format!("  {need:<12} {} {} \"{}\"", record.name, record.r#type, record.value));
        if !record.note.is_empty() {
            line(&format!("               ({})", record.note));
        }
    }
}
