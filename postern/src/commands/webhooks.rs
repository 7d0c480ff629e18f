//! `postern webhooks`.

use std::io::Read as _;

use anyhow::Context as _;
use postern_kit::env::Env;
use postern_proto::v1;
use postern_proto::v1::webhook_service_client::WebhookServiceClient;
use tonic::transport::Channel;

use super::json;
use super::time::{given, time};
use crate::cli::{
    ListArgs, Named, WebhookCreate, WebhookDeliveries, WebhookDelivery, WebhookEnable,
    WebhookFormat, WebhookReplay, WebhookRotate, WebhookSince, WebhookState, Webhooks,
};
use crate::client::Client;
use crate::output::{line, progress};

/// How finely the bar of a replay moves.
const REPLAY_STEPS: u64 = 1000;

pub(super) async fn webhooks(command: Webhooks, env: &Env) -> anyhow::Result<()> {
    match command {
        Webhooks::Create(args) => create(args, env).await,
        Webhooks::List(args) => list(&args, env).await,
        Webhooks::Delete(args) => delete(args, env).await,
        Webhooks::RotateSecret(args) => rotate(args, env).await,
        Webhooks::Enable(args) => enable(args, env).await,
        Webhooks::Disable(args) => disable(args, env).await,
        Webhooks::Test(args) => test(args, env).await,
        Webhooks::Deliveries(args) => deliveries(args, env).await,
        Webhooks::Show(args) => show(args, env).await,
        Webhooks::Resend(args) => resend(args, env).await,
        Webhooks::Recover(args) => recover(args, env).await,
        Webhooks::Replay(args) => replay(args, env).await,
    }
}

fn service(client: &Client) -> WebhookServiceClient<Channel> {
    WebhookServiceClient::new(client.channel.clone())
}

async fn create(args: WebhookCreate, env: &Env) -> anyhow::Result<()> {
    let format = match args.format {
        WebhookFormat::Postern => v1::WebhookFormat::Postern,
        WebhookFormat::Thin => v1::WebhookFormat::Thin,
        WebhookFormat::Legacy => v1::WebhookFormat::Legacy,
    };
    let field = |text: &String| {
        let pair =
            text.split_once('=').with_context(|| format!("--header {text} is not NAME=VALUE"));
        pair.map(|(name, value)| (name.to_owned(), value.to_owned()))
    };
    let mut secret = args.secret.unwrap_or_default();
    if secret == "-" {
        secret.clear();
        std::io::stdin().read_to_string(&mut secret)?;
        secret.truncate(secret.trim_end().len());
    }
    let webhook = v1::Webhook {
        url: args.url,
        description: args.description,
        event_types: args.types,
        campaign_ids: args.campaigns,
        format: format.into(),
        ordered: args.ordered,
        max_concurrency: args.max_concurrency,
        rate_limit: args.rate_limit,
        headers: args.header.iter().map(field).collect::<anyhow::Result<_>>()?,
        ..v1::Webhook::default()
    };
    let client = Client::new(&args.connection, env)?;
    let request = v1::CreateWebhookRequest { webhook: Some(webhook), secret, validate_only: false };
    let response = service(&client).create_webhook(client.request(request)).await?.into_inner();
    let made = response.webhook.unwrap_or_default();
    say_secret(&made, &response.secret, args.connection.json);
    Ok(())
}

fn say_secret(webhook: &v1::Webhook, secret: &str, as_json: bool) {
    if as_json {
        let mut value = json::webhook(webhook);
        value["secret"] = secret.into();
        return line(&value.to_string());
    }
    line(&format!("{}  {secret}", webhook.id));
    line("The secret is shown this once.");
}

async fn list(args: &ListArgs, env: &Env) -> anyhow::Result<()> {
    let client = Client::new(&args.connection, env)?;
    let mut page_token = String::new();
    loop {
        let request = v1::ListWebhooksRequest { page_size: 1000, page_token };
        let page = service(&client).list_webhooks(client.request(request)).await?.into_inner();
        for webhook in &page.webhooks {
            say(webhook, args.connection.json);
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(());
        }
    }
}

fn say(webhook: &v1::Webhook, as_json: bool) {
    if as_json {
        return line(&json::webhook(webhook).to_string());
    }
    let state = match (webhook.disabled, webhook.failing_time.is_some()) {
        (true, _) => format!("disabled: {}", webhook.disable_reason),
        (false, true) => "failing".to_owned(),
        (false, false) => "active".to_owned(),
    };
    line(&format!("{}  {state:<8}  {}  {}", webhook.id, webhook.url, webhook.description));
}

async fn delete(args: Named, env: &Env) -> anyhow::Result<()> {
    let client = Client::new(&args.connection, env)?;
    let request = v1::DeleteWebhookRequest { id: args.name.clone(), ..Default::default() };
    service(&client).delete_webhook(client.request(request)).await?;
    line(&format!("{} is removed", args.name));
    Ok(())
}

async fn rotate(args: WebhookRotate, env: &Env) -> anyhow::Result<()> {
    let client = Client::new(&args.connection, env)?;
    let seconds = i64::from(args.overlap_hours) * 3600;
    let overlap = Some(prost_types::Duration { seconds, nanos: 0 });
    let request = v1::RotateWebhookSecretRequest { id: args.id, overlap, validate_only: false };
    let response = service(&client).rotate_webhook_secret(client.request(request)).await?;
    let response = response.into_inner();
    let webhook = response.webhook.unwrap_or_default();
    say_secret(&webhook, &response.secret, args.connection.json);
    Ok(())
}

async fn enable(args: WebhookEnable, env: &Env) -> anyhow::Result<()> {
    let client = Client::new(&args.connection, env)?;
    let recover_since = given("--recover-since", args.recover_since.as_deref())?;
    let request = v1::EnableWebhookRequest { id: args.id, recover_since, validate_only: false };
    let response = service(&client).enable_webhook(client.request(request)).await?.into_inner();
    say(&response.webhook.unwrap_or_default(), args.connection.json);
    Ok(())
}

async fn disable(args: Named, env: &Env) -> anyhow::Result<()> {
    let client = Client::new(&args.connection, env)?;
    let request = v1::DisableWebhookRequest { id: args.name, validate_only: false };
    let response = service(&client).disable_webhook(client.request(request)).await?.into_inner();
    say(&response.webhook.unwrap_or_default(), args.connection.json);
    Ok(())
}

async fn test(args: Named, env: &Env) -> anyhow::Result<()> {
    let client = Client::new(&args.connection, env)?;
    let request = v1::TestWebhookRequest { id: args.name };
    let response = service(&client).test_webhook(client.request(request)).await?.into_inner();
    let attempt = response.attempt.unwrap_or_default();
    say_attempt(&attempt, args.connection.json);
    anyhow::ensure!(attempt.error.is_empty(), "the endpoint did not take the test");
    Ok(())
}

fn say_attempt(attempt: &v1::WebhookAttempt, as_json: bool) {
    if as_json {
        return line(&json::webhook_attempt(attempt).to_string());
    }
    let took = json::took_ms(attempt).map(|took| format!("{took} ms"));
    let (time, took) = (json::time(attempt.create_time.as_ref()), took.unwrap_or_default());
    let result = if attempt.error.is_empty() { "taken" } else { &attempt.error };
    let (status, number) = (attempt.status, attempt.number);
    let response = attempt.response.lines().next().unwrap_or_default();
    let time = time.as_str().unwrap_or_default();
    line(&format!("  {number}  {time}  {result} {status}  {took}  {response}"));
}

async fn deliveries(args: WebhookDeliveries, env: &Env) -> anyhow::Result<()> {
    let client = Client::new(&args.connection, env)?;
    let state = args.state.map_or(v1::WebhookDeliveryState::Unspecified, |state| match state {
        WebhookState::Pending => v1::WebhookDeliveryState::Pending,
        WebhookState::Delivered => v1::WebhookDeliveryState::Delivered,
        WebhookState::Failed => v1::WebhookDeliveryState::Failed,
    });
    let mut page_token = String::new();
    loop {
        let request = v1::ListWebhookDeliveriesRequest {
            id: args.id.clone(),
            page_size: 1000,
            page_token,
            state: state.into(),
        };
        let page = service(&client).list_webhook_deliveries(client.request(request)).await?;
        let page = page.into_inner();
        for delivery in &page.deliveries {
            say_delivery(delivery, args.connection.json);
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(());
        }
    }
}

fn say_delivery(delivery: &v1::WebhookDelivery, as_json: bool) {
    if as_json {
        return line(&json::webhook_delivery(delivery).to_string());
    }
    let state = json::webhook_state(delivery.state());
    let time = json::time(delivery.create_time.as_ref());
    let (event, tries) = (&delivery.event_id, delivery.attempts);
    line(&format!("{event}  {state:<9}  {tries} tries  {}", time.as_str().unwrap_or_default()));
}

async fn show(args: WebhookDelivery, env: &Env) -> anyhow::Result<()> {
    let client = Client::new(&args.connection, env)?;
    let request = v1::GetWebhookDeliveryRequest { id: args.id, event_id: args.event };
    let response = service(&client).get_webhook_delivery(client.request(request)).await?;
    let delivery = response.into_inner().delivery.unwrap_or_default();
    say_delivery(&delivery, args.connection.json);
    if !args.connection.json {
        delivery.tries.iter().for_each(|attempt| say_attempt(attempt, false));
        line(&format!("  {}", delivery.body));
    }
    Ok(())
}

async fn resend(args: WebhookDelivery, env: &Env) -> anyhow::Result<()> {
    let client = Client::new(&args.connection, env)?;
    let (id, event_id) = (args.id, args.event);
    let request = v1::ResendWebhookDeliveryRequest { id, event_id, validate_only: false };
    let response = service(&client).resend_webhook_delivery(client.request(request)).await?;
    say_delivery(&response.into_inner().delivery.unwrap_or_default(), args.connection.json);
    Ok(())
}

async fn recover(args: WebhookSince, env: &Env) -> anyhow::Result<()> {
    let client = Client::new(&args.connection, env)?;
    let since = Some(time("--since", &args.since)?);
    let request = v1::RecoverWebhookRequest { id: args.id, since, validate_only: false };
    let response = service(&client).recover_webhook(client.request(request)).await?.into_inner();
    line(&format!("{} deliveries are tried again", response.count));
    Ok(())
}

async fn replay(args: WebhookReplay, env: &Env) -> anyhow::Result<()> {
    let client = Client::new(&args.connection, env)?;
    let until = given("--until", args.until.as_deref())?;
    let mut request = v1::ReplayWebhookRequest {
        id: args.id,
        event_types: args.types,
        campaign_id: args.campaign,
        since: Some(time("--since", &args.since)?),
        until,
        page_token: String::new(),
        validate_only: false,
    };
    let bar = progress(Some(REPLAY_STEPS));
    let mut total = 0;
    loop {
        let page = service(&client).replay_webhook(client.request(request.clone())).await?;
        let page = page.into_inner();
        total += page.count;
        bar.set_position((page.progress * REPLAY_STEPS as f64) as u64);
        bar.set_message(format!("{total} events"));
        if page.next_page_token.is_empty() {
            bar.finish_and_clear();
            line(&format!("{total} events are posted"));
            return Ok(());
        }
        request.page_token = page.next_page_token;
    }
}
