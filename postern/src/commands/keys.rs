//! `postern keys`.

use postern_kit::env::Env;
use postern_proto::v1;
use postern_proto::v1::credential_service_client::CredentialServiceClient;
use tonic::transport::Channel;

use super::change::{self, Change};
use super::{json, wishes};
use crate::cli::{KeyArgs, KeyImport, KeyUpdate, Keys, ListArgs, Named, Rotate};
use crate::client::Client;
use crate::output::line;

pub(super) async fn keys(command: Keys, env: &Env) -> anyhow::Result<()> {
    match command {
        Keys::Create(args) => create(args.key, env).await,
        Keys::Import(args) => import(args, env).await,
        Keys::Rotate(args) => rotate(args, env).await,
        Keys::Update(args) => update(args, env).await,
        Keys::List(args) => list(&args, env).await,
        Keys::Revoke(args) => revoke(&args, env).await,
    }
}

fn service(client: &Client) -> CredentialServiceClient<Channel> {
    CredentialServiceClient::new(client.channel.clone())
}

fn asked(args: &KeyArgs) -> v1::ApiKey {
    v1::ApiKey {
        display_name: args.name.clone(),
        scopes: args.scopes.clone(),
        sender_domains: args.domains.clone(),
        daily_limit: args.daily_limit,
        ip_allow: args.allow_ip.clone(),
        test: args.test,
        tracking: wishes::tracking(&args.wishes),
        unsubscribe: wishes::unsubscribe(&args.wishes),
        ..v1::ApiKey::default()
    }
}

async fn create(args: KeyArgs, env: &Env) -> anyhow::Result<()> {
    let client = Client::new(&args.connection, env)?;
    let request = v1::CreateApiKeyRequest {
        api_key: Some(asked(&args)),
        never_expires: args.never_expires,
        validate_only: false,
    };
    let response = service(&client).create_api_key(client.request(request)).await?.into_inner();
    show_secret(&response.api_key.unwrap_or_default(), response.secret, args.connection.json);
    Ok(())
}

async fn import(args: KeyImport, env: &Env) -> anyhow::Result<()> {
    let KeyImport { sha256, key: args } = args;
    let client = Client::new(&args.connection, env)?;
    let request = v1::ImportApiKeyRequest {
        api_key: Some(asked(&args)),
        sha256,
        never_expires: args.never_expires,
        validate_only: false,
    };
    let response = service(&client).import_api_key(client.request(request)).await?.into_inner();
    show(&response.api_key.unwrap_or_default(), args.connection.json);
    Ok(())
}

async fn rotate(args: Rotate, env: &Env) -> anyhow::Result<()> {
    let client = Client::new(&args.connection, env)?;
    let overlap = change::overlap(&args.overlap)?;
    let request = v1::RotateApiKeyRequest { id: args.id, overlap, validate_only: false };
    let response = service(&client).rotate_api_key(client.request(request)).await?.into_inner();
    show_secret(&response.api_key.unwrap_or_default(), response.secret, args.connection.json);
    Ok(())
}

async fn update(args: KeyUpdate, env: &Env) -> anyhow::Result<()> {
    let client = Client::new(&args.connection, env)?;
    let mut change = Change::new(args.changes)?;
    change.names("scopes", !args.scopes.is_empty());
    let update_mask = change.mask()?;
    let key = v1::ApiKey {
        id: args.id,
        display_name: change.display_name,
        scopes: args.scopes,
        sender_domains: change.sender_domains,
        daily_limit: change.daily_limit,
        ip_allow: change.ip_allow,
        expire_time: change.expire_time,
        tracking: change.tracking,
        unsubscribe: change.unsubscribe,
        ..v1::ApiKey::default()
    };
    let request = v1::UpdateApiKeyRequest { api_key: Some(key), update_mask, validate_only: false };
    let response = service(&client).update_api_key(client.request(request)).await?.into_inner();
    show(&response.api_key.unwrap_or_default(), args.connection.json);
    Ok(())
}

fn show_secret(key: &v1::ApiKey, secret: String, as_json: bool) {
    if as_json {
        let mut value = json::key(key);
        value["secret"] = secret.into();
        line(&value.to_string());
        return;
    }
    line(&format!("{}  {secret}", key.id));
    line("The secret is shown this once.");
}

fn show(key: &v1::ApiKey, as_json: bool) {
    if as_json {
        line(&json::key(key).to_string());
        return;
    }
    let state = match (&key.revoke_time, key.replaced_by.as_str()) {
        (Some(_), _) => "revoked",
        (None, "") => "active",
        (None, _) => "replaced",
    };
    let scopes = key.scopes.join(",");
    line(&format!("{}  {:<8} {}  {}  {scopes}", key.id, state, key.hint, key.display_name));
}

async fn list(args: &ListArgs, env: &Env) -> anyhow::Result<()> {
    let client = Client::new(&args.connection, env)?;
    let mut page_token = String::new();
    loop {
        let request = v1::ListApiKeysRequest { page_size: 1000, page_token };
        let page = service(&client).list_api_keys(client.request(request)).await?.into_inner();
        for key in &page.api_keys {
            show(key, args.connection.json);
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
