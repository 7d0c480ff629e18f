//! `postern domains`.

use postern_kit::env::Env;
use postern_proto::v1;
use postern_proto::v1::domain_service_client::DomainServiceClient;
use tonic::transport::Channel;

use super::json;
use crate::cli::{Domains, ListArgs, Named};
use crate::client::Client;
use crate::output::line;

pub(super) async fn domains(command: Domains, env: &Env) -> anyhow::Result<()> {
    match command {
        Domains::Add(args) => add(&args, env).await,
        Domains::Records(args) => records(&args, env).await,
        Domains::List(args) => list(&args, env).await,
    }
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

fn show(domain: &v1::Domain, as_json: bool) {
    if as_json {
        line(&json::domain(domain).to_string());
        return;
    }
    line(&format!("{}  {}", domain.id, domain.name));
    line("Publish these DNS records:");
    for record in &domain.dns_records {
        line(&format!("  {} {} \"{}\"", record.name, record.r#type, record.value));
    }
}
