//! `postern status`.

use anyhow::bail;
use postern_kit::env::Env;
use postern_proto::v1;
use postern_proto::v1::message_service_client::MessageServiceClient;

use super::json;
use crate::cli::Status;
use crate::client::Client;
use crate::output::line;

pub(super) async fn status(args: &Status, env: &Env) -> anyhow::Result<()> {
    let client = Client::new(&args.connection, env)?;
    let message = find(&client, &args.id).await?;
    if args.connection.json {
        line(&json::message(&message).to_string());
        return Ok(());
    }
    print(&message);
    Ok(())
}

/// The message with this id, ours or the client's.
pub(super) async fn find(client: &Client, id: &str) -> anyhow::Result<v1::Message> {
    let mut service = MessageServiceClient::new(client.channel.clone());
    let message = if id.starts_with("msg_") {
        let request = v1::GetMessageRequest { id: id.to_owned() };
        service.get_message(client.request(request)).await?.into_inner().message
    } else {
        let external_id = id.to_owned();
        let request = v1::ListMessagesRequest {
            external_id,
            page_size: 1,
            ..v1::ListMessagesRequest::default()
        };
        let found = service.list_messages(client.request(request)).await?.into_inner();
        found.messages.into_iter().next()
    };
    let Some(message) = message else { bail!("there is no message '{id}'") };
    Ok(message)
}

fn print(message: &v1::Message) {
    line(&format!("{}  {}", message.id, message.subject));
    for recipient in &message.recipients {
        let state = json::state(recipient.state());
        let mut text = format!("  {:<10} {}", state, recipient.email);
        if !recipient.reason.is_empty() {
            text += &format!("  {}", recipient.reason);
        }
        if let Some(reply) = &recipient.last_reply {
            text += &format!("  {} {} {}", reply.code, reply.enhanced_code, reply.text);
        }
        line(&text);
    }
}
