//! A Message-ID that no index of PostgreSQL takes: its mail is accepted like any other.

use postern_tests::cluster::Server;
use postern_tests::stack::Stack;
use serde_json::Value;

#[tokio::test]
async fn a_very_long_message_id_harms_nobody() {
    let server = Server::primary("").unwrap();
    let url = server.url();
    let stack = Stack::start(&[("DATABASE_URL", url.as_str())]).await.unwrap();
    for length in [580, 2_800, 60_000] {
        // Text that does not shrink, so that no index takes it by packing it.
        let random: String = (0..length)
            .map(|n: u64| {
                char::from(b'a' + ((n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) % 26) as u8)
            })
            .collect();
        let id = format!("{random}@shop.example");
        let folded = format!("<{id}>");
        let raw =
            format!("From: hi@shop.test\r\nTo: ann@good.test\r\nMessage-ID: {folded}\r\n\r\nHi");
        let sent = stack.raw_post("/v1/messages").header("content-type", "message/rfc822");
        let sent = sent.bearer_auth(&stack.key).body(raw).send().await.unwrap();
        let status = sent.status().as_u16();
        let answer: Value = sent.json().await.unwrap();
        // A line may be too long for a mail; what is stored is stored whole.
        assert!(status == 202 || (status == 422 && length > 998), "{length}: {answer}");
        if status == 202 {
            let message = answer["id"].as_str().unwrap();
            stack.wait_state(message, "delivered").await.unwrap();
        }
        let ordinary = stack.send_to("bob@good.test").await.unwrap();
        stack.wait_state(&ordinary, "delivered").await.unwrap();
        if length < 600 {
            let found = stack.get(&format!("/v1/messages?any_id={id}")).await.unwrap();
            assert_eq!(found.body["messages"].as_array().unwrap().len(), 1, "{found:?}");
        }
    }
}
