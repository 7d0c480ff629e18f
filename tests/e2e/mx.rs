//! From a gRPC call to the recipient's own server, found through DNS.

use postern_tests::dns;
use postern_tests::peer::Peer;
use postern_tests::smtp_receiver::Receiver;
use postern_tests::stack::Stack;

struct World {
    stack: Stack,
    receiver: Receiver,
    // Answers as long as it is held.
    _names: Peer,
}

async fn world() -> World {
    let receiver = Receiver::start().await.unwrap();
    let names = dns::start().await.unwrap();
    let (servers, port) = (format!("127.0.0.1:{}", names.port), receiver.port());
    let vars = [
        ("POSTERN_TRANSPORT", "mx"),
        ("POSTERN_DNS_SERVERS", servers.as_str()),
        ("POSTERN_MX_PORT", &port.to_string()),
        ("POSTERN_MX_ALLOW_PRIVATE", "on"),
        ("POSTERN_SENDER_POLICY", "any"),
    ];
    let stack = Stack::start(&vars).await.unwrap();
    World { stack, receiver, _names: names }
}

#[tokio::test]
async fn mail_goes_to_the_host_that_mx_names() {
    let world = world().await;
    let id = world.stack.grpc_send_to("ann@good.test").await.unwrap();
    let message = world.stack.wait_state(&id, "delivered").await.unwrap();
    let reply = &message["recipients"][0]["last_reply"];
    assert_eq!(reply["host"], "mx.good.test [127.0.0.1]", "{message}");
    let mails = world.receiver.mails_to("ann@good.test").unwrap();
    assert_eq!(mails.len(), 1);
    assert!(mails[0].text().contains("\r\nSubject: Hello\r\n"));
}

#[tokio::test]
async fn a_domain_without_mx_gets_its_mail_at_its_own_address() {
    let world = world().await;
    let id = world.stack.grpc_send_to("ann@implicit.test").await.unwrap();
    world.stack.wait_state(&id, "delivered").await.unwrap();
    let mails = world.receiver.mails_to("ann@implicit.test").unwrap();
    assert_eq!(mails.len(), 1);
}

#[tokio::test]
async fn a_domain_that_takes_no_mail_bounces_without_an_attempt_to_connect() {
    let world = world().await;
    let id = world.stack.grpc_send_to("ann@nullmx.test").await.unwrap();
    let message = world.stack.wait_state(&id, "bounced").await.unwrap();
    let reply = &message["recipients"][0]["last_reply"];
    assert_eq!(reply["phase"], "dns", "{message}");
    assert!(world.receiver.mails().unwrap().is_empty());
}

#[tokio::test]
async fn a_domain_that_does_not_exist_bounces_as_a_dns_failure() {
    let world = world().await;
    let id = world.stack.grpc_send_to("ann@missing.test").await.unwrap();
    let message = world.stack.wait_state(&id, "bounced").await.unwrap();
    assert_eq!(message["recipients"][0]["reason"], "dns_failure", "{message}");
    assert!(world.receiver.mails().unwrap().is_empty());
}
