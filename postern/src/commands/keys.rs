//! `postern keys`.

use postern_kit::env::Env;
use postern_proto::v1;
use postern_proto::v1::credential_service_client::CredentialServiceClient;
use tonic::transport::Channel;

use super::{json, wishes};
use crate::cli::{KeyCreate, Keys, ListArgs, Named};
use crate::client::Client;
use crate::output::line;

pub(super) async fn keys(command: Keys, env: &Env) -> anyhow::Result<()> {
    match command {
        Keys::Create(args) => create(args, env).await,
        Keys::List(args) => list(&args, env).await,
        Keys::Revoke(args) => revoke(&args, env).await,
    }
}

fn service(client: &Client) -> CredentialServiceClient<Channel> {
    CredentialServiceClient::new(client.channel.clone())
}

async fn create(args: KeyCreate, env: &Env) -> anyhow::Result<()> {
    let client = Client::new(&args.connection, env)?;
    let key = v1::ApiKey {
        display_name: args.name,
        scopes: args.scopes,
        sender_domains: args.domains,
        daily_limit: args.daily_limit,
        test: args.test,
        tracking: wishes::tracking(&args.wishes),
        unsubscribe: wishes::unsubscribe(&args.wishes),
        ..v1::ApiKey::default()
    };
    let request = v1::CreateApiKeyRequest {
        api_key: Some(key),
        never_expires: args.never_expires,
        validate_only: false,
    };
    let response = service(&client).create_api_key(client.request(request)).await?.into_inner();
    let key = response.api_key.unwrap_or_default();
    if args.connection.json {
        let mut value = json::key(&key);
        value["secret"] = response.secret.into();
        line(&value.to_string());
    } else {
        line(&format!("{}  {}", key.id, response.secret));
        line("The secret is shown this once.");
    }
    Ok(())
}

async fn list(args: &ListArgs, env: &Env) -> anyhow::Result<()> {
    let client = Client::new(&args.connection, env)?;
    let mut page_token = String::new();
    loop {
        let request = v1::ListApiKeysRequest { page_size: 1000, page_token };
        let page = service(&client).list_api_keys(client.request(request)).await?.into_inner();
        for key in &page.api_keys {
            if args.connection.json {
                line(&json::key(key).to_string());
                continue;
            }
            let state = if key.revoke_time.is_some() { "revoked" } else { "active" };
            let scopes = key.scopes.join(",");
            line(&format!("{}  {:<8} {}  {}  {scopes}", key.id, state, key.hint, key.display_name));
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(());
        }
    }
}

async fn revoke(args: &Named, env: &Env) -> anyhow::Result<()> {
    let client = Client::new(&args.connection, env)?;
    let request = v1::RevokeApiKeyRequest { id: args.name.clone(), validate_only: false };
    let response = service(&client).revoke_api_key(client.request(request)).await?.into_inner();
    let key = response.api_key.unwrap_or_default();
    if args.connection.json {
        line(&json::key(&key).to_string());
    } else {
        line(&format!("{} is revoked", key.id));
    }
    Ok(())
}
