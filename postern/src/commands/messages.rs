//! `postern messages`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postern_kit::env::Env;
use postern_proto::v1;
use postern_proto::v1::message_service_client::MessageServiceClient;
use serde_json::json;
use tonic::transport::Channel;

use super::json as shown;
use crate::cli::{MessageContent, MessageResend, Messages};
use crate::client::Client;
use crate::output::{line, octets};

pub(super) async fn messages(command: Messages, env: &Env) -> anyhow::Result<()> {
    match command {
        Messages::Content(args) => content(args, env).await,
        Messages::Resend(args) => resend(args, env).await,
    }
}

/// A client that takes mail of any size the core may show.
fn service(client: &Client) -> MessageServiceClient<Channel> {
    MessageServiceClient::new(client.channel.clone()).max_decoding_message_size(usize::MAX)
}

async fn content(args: MessageContent, env: &Env) -> anyhow::Result<()> {
    let client = Client::new(&args.connection, env)?;
    let request = v1::GetMessageContentRequest { id: args.id, recipient_id: args.recipient };
    let answer = service(&client).get_message_content(client.request(request)).await?;
    let raw = answer.into_inner().raw;
    if args.connection.json {
        line(&json!({"raw": STANDARD.encode(&raw)}).to_string());
    } else {
        octets(&raw);
    }
    Ok(())
}

async fn resend(args: MessageResend, env: &Env) -> anyhow::Result<()> {
    let client = Client::new(&args.connection, env)?;
    let request = v1::ResendMessageRequest {
        id: args.id,
        recipient_ids: args.recipient,
        validate_only: args.dry_run,
        request_id: args.idempotency_key.unwrap_or_default(),
    };
    let answer = service(&client).resend_message(client.request(request)).await?.into_inner();
    match answer.message {
        None if args.connection.json => line("{}"),
        None => line("it could be sent once more"),
        Some(message) if args.connection.json => line(&shown::message(&message).to_string()),
        Some(message) => line(&message.id),
    }
    Ok(())
}
