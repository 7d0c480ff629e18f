//! Serves the gateway on `POSTERN_REST_LISTEN` in front of the tests' stand-in for the core, with a
//! few mails in the inbox, to look at the pages.

#[path = "../tests/support/mod.rs"]
mod support;

use postern_proto::time::timestamp;
use postern_proto::v1::{GetSinkMessageResponse, ListSinkMessagesResponse, SinkMessage};

const MAIL: &str = "From: Shop <hi@shop.example>\r\nTo: Ann <ann@example.com>\r\n\
    Subject: Your order has left\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\nMIME-Version: 1.0\r\n\
    Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n\
    <h1 style=\"font-family:sans-serif\">Your order has left</h1><p>It is on its way, Ann.</p>\r\n\
    --b\r\nContent-Type: application/pdf\r\n\
    Content-Disposition: attachment; filename=invoice.pdf\r\n\r\nPDF\r\n--b--\r\n";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let stage = support::Stage::new(&[]);
    let subjects = ["Your order has left", "Reset your password", "News of the week"];
    let messages: Vec<_> = subjects
        .iter()
        .enumerate()
        .map(|(at, subject)| SinkMessage {
            id: format!("snk_{at}"),
            create_time: Some(timestamp(1_795_428_000_000 - at as i64 * 61_000)),
            envelope_from: "bounce@shop.example".to_owned(),
            envelope_to: format!("ann{at}@example.com"),
            subject: (*subject).to_owned(),
            from: "Shop <hi@shop.example>".to_owned(),
            size_bytes: 2_345 * (at as i64 + 1),
            raw: MAIL.as_bytes().into(),
            ..SinkMessage::default()
        })
        .collect();
    let message = messages.first().cloned();
    stage.answer("SinkService/GetSinkMessage", &GetSinkMessageResponse { message });
    let list = ListSinkMessagesResponse { messages, next_page_token: "more".to_owned() };
    stage.answer("SinkService/ListSinkMessages", &list);
    let env = postern_kit::env::Env::process();
    let addr = postern_gateway_rest::RestConfig::from_env(&env)?.listen;
    let stop = postern_kit::shutdown::token_on_signal()?;
    stage.gateway().serve(addr.bind().await?, stop).await;
    Ok(())
}
