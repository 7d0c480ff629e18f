//! `postern send`.

use std::collections::BTreeMap;
use std::io::Read as _;

use anyhow::Context as _;
use postern_kit::env::Env;
use postern_proto::v1;
use postern_proto::v1::message_service_client::MessageServiceClient;

use super::json;
use crate::cli::Send;
use crate::client::Client;
use crate::output::line;

pub(super) async fn send(args: Send, env: &Env) -> anyhow::Result<()> {
    let client = Client::new(&args.connection, env)?;
    let (as_json, dry_run) = (args.connection.json, args.dry_run);
    let request = v1::SendMessageRequest {
        request_id: args.idempotency_key.clone().unwrap_or_default(),
        validate_only: dry_run,
        message: Some(message(args)?),
    };
    let mut service = MessageServiceClient::new(client.channel.clone());
    let response = service.send_message(client.request(request)).await?.into_inner();
    let message = response.message.unwrap_or_default();
    if as_json {
        line(&json::message(&message).to_string());
    } else if dry_run {
        line("The message would be accepted.");
    } else {
        let replayed = if response.replayed { " (accepted before)" } else { "" };
        line(&format!("{}{replayed}", message.id));
    }
    Ok(())
}

fn message(args: Send) -> anyhow::Result<v1::OutgoingMessage> {
    let recipient = |text: &String| {
        let address = address(text);
        let (email, display_name) = (address.email, address.display_name);
        v1::Recipient { email, display_name, ..v1::Recipient::default() }
    };
    let attachments = args.attach.iter().map(|path| {
        let content =
            std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let filename = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(v1::Attachment { filename, content: content.into(), ..v1::Attachment::default() })
    });
    let template = args.template.map(|id| v1::TemplateRef { id, missing_variables: 0 });
    Ok(v1::OutgoingMessage {
        from: Some(address(&args.from)),
        to: args.to.iter().map(recipient).collect(),
        subject: args.subject,
        text: body(args.text)?,
        html: body(args.html)?,
        attachments: attachments.collect::<anyhow::Result<_>>()?,
        template,
        variables: variables(&args.var)?,
        tags: args.tag,
        ..v1::OutgoingMessage::default()
    })
}

/// `Name <a@b>` or `a@b`. What is wrong with it, the core says.
fn address(text: &str) -> v1::EmailAddress {
    let text = text.trim();
    let split = text.strip_suffix('>').and_then(|text| text.rsplit_once('<'));
    let (name, email) = split.unwrap_or(("", text));
    v1::EmailAddress {
        email: email.trim().to_owned(),
        display_name: name.trim().trim_matches('"').to_owned(),
    }
}

fn body(given: Option<String>) -> anyhow::Result<String> {
    match given.as_deref() {
        Some("-") => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
            Ok(text)
        }
        _ => Ok(given.unwrap_or_default()),
    }
}

fn variables(given: &[String]) -> anyhow::Result<Option<prost_types::Struct>> {
    let mut fields = BTreeMap::new();
    for pair in given {
        let (name, value) =
            pair.split_once('=').with_context(|| format!("--var {pair}: write name=value"))?;
        let kind = Some(prost_types::value::Kind::StringValue(value.to_owned()));
        fields.insert(name.to_owned(), prost_types::Value { kind });
    }
    Ok((!fields.is_empty()).then_some(prost_types::Struct { fields }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_names_or_not() {
        let with_name = address("Shop <hi@shop.example>");
        assert_eq!(with_name.display_name, "Shop");
        assert_eq!(with_name.email, "hi@shop.example");
        assert_eq!(address(" hi@shop.example ").email, "hi@shop.example");
    }
}
