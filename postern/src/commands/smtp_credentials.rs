//! `postern smtp-credentials`.

use std::io::Read as _;

use anyhow::Context as _;
use postern_kit::env::Env;
use postern_proto::v1;
use postern_proto::v1::credential_service_client::CredentialServiceClient;
use tonic::transport::Channel;

use super::change::{self, Change};
use super::{json, wishes};
use crate::cli::{
    ListArgs, Named, Rotate, SmtpCredentialArgs, SmtpCredentialImport, SmtpCredentialUpdate,
    SmtpCredentials,
};
use crate::client::Client;
use crate::output::line;

pub(super) async fn smtp_credentials(command: SmtpCredentials, env: &Env) -> anyhow::Result<()> {
    match command {
        SmtpCredentials::Create(args) => create(args.credential, env).await,
        SmtpCredentials::Import(args) => import(args, env).await,
        SmtpCredentials::Rotate(args) => rotate(args, env).await,
        SmtpCredentials::Update(args) => update(args, env).await,
        SmtpCredentials::List(args) => list(&args, env).await,
        SmtpCredentials::Revoke(args) => revoke(args, env).await,
    }
}

fn service(client: &Client) -> CredentialServiceClient<Channel> {
    CredentialServiceClient::new(client.channel.clone())
}

fn aliases(names: &[String]) -> anyhow::Result<Vec<i32>> {
    let alias = |name: &String| {
        let full = format!("HEADER_ALIAS_{}", name.to_uppercase());
        let known = v1::HeaderAlias::from_str_name(&full).map(|alias| alias as i32);
        known.with_context(|| {
            format!("--alias {name} is none of postmark, mailgun, mandrill, sendgrid, sparkpost, ses, brevo, resend")
        })
    };
    names.iter().map(alias).collect()
}

fn asked(args: &SmtpCredentialArgs) -> anyhow::Result<v1::SmtpCredential> {
    Ok(v1::SmtpCredential {
        display_name: args.name.clone(),
        sender_domains: args.domains.clone(),
        rate_limit: args.rate_limit,
        daily_limit: args.daily_limit,
        header_aliases: aliases(&args.aliases)?,
        ip_allow: args.allow_ip.clone(),
        test: args.test,
        tracking: wishes::tracking(&args.wishes),
        unsubscribe: wishes::unsubscribe(&args.wishes),
        ..v1::SmtpCredential::default()
    })
}

async fn create(args: SmtpCredentialArgs, env: &Env) -> anyhow::Result<()> {
    let client = Client::new(&args.connection, env)?;
    let request = v1::CreateSmtpCredentialRequest {
        smtp_credential: Some(asked(&args)?),
        validate_only: false,
    };
    let response = service(&client).create_smtp_credential(client.request(request)).await?;
    let response = response.into_inner();
    let made = response.smtp_credential.unwrap_or_default();
    show_secret(&made, response.secret, args.connection.json);
    Ok(())
}

async fn rotate(args: Rotate, env: &Env) -> anyhow::Result<()> {
    let client = Client::new(&args.connection, env)?;
    let overlap = change::overlap(&args.overlap)?;
    let request = v1::RotateSmtpCredentialRequest { id: args.id, overlap, validate_only: false };
    let response = service(&client).rotate_smtp_credential(client.request(request)).await?;
    let response = response.into_inner();
    let rotated = response.smtp_credential.unwrap_or_default();
    show_secret(&rotated, response.secret, args.connection.json);
    Ok(())
}

async fn update(args: SmtpCredentialUpdate, env: &Env) -> anyhow::Result<()> {
    let client = Client::new(&args.connection, env)?;
    let mut change = Change::new(args.changes)?;
    change.names("rate_limit", args.rate_limit.is_some());
    change.names("header_aliases", !args.aliases.is_empty());
    let update_mask = change.mask()?;
    let credential = v1::SmtpCredential {
        id: args.id,
        display_name: change.display_name,
        sender_domains: change.sender_domains,
        rate_limit: args.rate_limit.unwrap_or_default(),
        daily_limit: change.daily_limit,
        header_aliases: aliases(&change::list(args.aliases, "none"))?,
        ip_allow: change.ip_allow,
        expire_time: change.expire_time,
        tracking: change.tracking,
        unsubscribe: change.unsubscribe,
        ..v1::SmtpCredential::default()
    };
    let request = v1::UpdateSmtpCredentialRequest {
        smtp_credential: Some(credential),
        update_mask,
        validate_only: false,
    };
    let response = service(&client).update_smtp_credential(client.request(request)).await?;
    let changed = response.into_inner().smtp_credential.unwrap_or_default();
    show(&changed, args.connection.json);
    Ok(())
}

fn show_secret(credential: &v1::SmtpCredential, secret: String, as_json: bool) {
    if as_json {
        let mut value = json::smtp_credential(credential);
        value["secret"] = secret.into();
        line(&value.to_string());
        return;
    }
    line(&format!(
        "{}\n  user      {}\n  password  {secret}\nThe password is shown this once. Server: this host, port 2587 \
         with STARTTLS or 2465 with TLS.",
        credential.id, credential.username
    ));
}

async fn import(args: SmtpCredentialImport, env: &Env) -> anyhow::Result<()> {
    let client = Client::new(&args.credential.connection, env)?;
    let mut bcrypt_hash = args.hash;
    if bcrypt_hash == "-" {
        bcrypt_hash.clear();
        let mut input = std::io::stdin().lock().take(1024);
        input.read_to_string(&mut bcrypt_hash).context("cannot read the hash")?;
    }
    let mut asked = asked(&args.credential)?;
    asked.username = args.username;
    let request = v1::ImportSmtpCredentialRequest {
        smtp_credential: Some(asked),
        bcrypt_hash: bcrypt_hash.trim().to_owned(),
        validate_only: false,
    };
    let response = service(&client).import_smtp_credential(client.request(request)).await?;
    let made = response.into_inner().smtp_credential.unwrap_or_default();
    show(&made, args.credential.connection.json);
    Ok(())
}

async fn list(args: &ListArgs, env: &Env) -> anyhow::Result<()> {
    let client = Client::new(&args.connection, env)?;
    let mut page_token = String::new();
    loop {
        let request = v1::ListSmtpCredentialsRequest { page_size: 1000, page_token };
        let page = service(&client).list_smtp_credentials(client.request(request)).await?;
        let page = page.into_inner();
        for credential in &page.smtp_credentials {
            show(credential, args.connection.json);
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(());
        }
    }
}

async fn revoke(args: Named, env: &Env) -> anyhow::Result<()> {
    let client = Client::new(&args.connection, env)?;
    let request = v1::RevokeSmtpCredentialRequest { id: args.name, validate_only: false };
    let response = service(&client).revoke_smtp_credential(client.request(request)).await?;
    let revoked = response.into_inner().smtp_credential.unwrap_or_default();
    show(&revoked, args.connection.json);
    Ok(())
}

fn show(credential: &v1::SmtpCredential, as_json: bool) {
    if as_json {
        line(&json::smtp_credential(credential).to_string());
        return;
    }
    let state = if credential.revoke_time.is_some() { "revoked" } else { "active" };
    let v1::SmtpCredential { id, username, display_name, .. } = credential;
    line(&format!("{id}  {state:<8} {username}  {display_name}"));
}
