//! The SMTP gateway apart from its core: what it says when the core is away, slow, or silent.

use postern_tests::proxy::Proxy;
use postern_tests::role::{Role, TOKEN};
use postern_tests::smtp_client::SmtpClient;
use postern_tests::stack::Stack;
use postern_tests::wait;

const MAIL: &str = "From: hi@shop.test\r\nSubject: once\r\n\r\nonce";

async fn count(stack: &Stack) -> usize {
    let listed = stack.get("/v1/messages?page_size=1000").await.unwrap();
    listed.body["messages"].as_array().unwrap().len()
}

#[tokio::test]
async fn a_core_that_is_away_or_silent_means_try_again_and_never_two_mails() {
    let stack = Stack::start(&[("POSTERN_GATEWAY_TOKEN", TOKEN)]).await.unwrap();
    let proxy = Proxy::start(&stack.grpc).await.unwrap();
    let vars = [("POSTERN_SMTP_CORE_TIMEOUT", "1s")];
    let gateway = Role::smtp(&proxy.addr.to_string(), &vars).await.unwrap();
    let mut client = SmtpClient::login(gateway.port, "u", &stack.key).await.unwrap();

    // Silent: the core accepts, but its answer does not come.
    proxy.hold_answers();
    let reply = client.mail(MAIL).await.unwrap();
    assert!(reply.starts_with("451 4.4.2 ") && reply.contains("safely"), "{reply}");
    wait::until("the core has it", async || Ok((count(&stack).await == 1).then_some(())))
        .await
        .unwrap();
    proxy.release_answers();
    let reply = client.mail(MAIL).await.unwrap();
    assert!(reply.starts_with("250 2.0.0 Ok: queued as msg_"), "{reply}");
    assert_eq!(count(&stack).await, 1, "the same bytes again are the same mail");
    let other = client.mail(&MAIL.replace("once", "twice")).await.unwrap();
    assert!(other.starts_with("250 ") && count(&stack).await == 2, "{other}");
    // Sent again after a yes they are a mail of their own.
    assert!(client.mail(MAIL).await.unwrap().starts_with("250 ") && count(&stack).await == 3);

    // Away: nothing is accepted, and logins are not called wrong.
    proxy.cut();
    let reply = client.mail(&MAIL.replace("once", "away")).await.unwrap();
    assert!(reply.starts_with("451 4."), "{reply}");
    let mut late = SmtpClient::connect(gateway.port).await.unwrap();
    late.ask("EHLO test\r\n").await.unwrap();
    let reply = late.auth("u", "not-seen-before").await.unwrap();
    assert!(reply.starts_with("454 4.7.0 "), "{reply}");
    proxy.restore();
    let reply = wait::until("the core is back", async || {
        let reply = client.mail(&MAIL.replace("once", "away")).await?;
        Ok(reply.starts_with("250 ").then_some(reply))
    });
    reply.await.unwrap();
    assert_eq!(count(&stack).await, 4);
    gateway.stop().await.unwrap();
}

#[tokio::test]
async fn an_idempotency_key_makes_one_mail_of_two_and_holds_across_doors() {
    let stack = Stack::start(&[("POSTERN_SMTP_PLAIN_AUTH", "on")]).await.unwrap();
    let mut client = SmtpClient::login(stack.smtp.starttls, "u", &stack.key).await.unwrap();
    let keyed = format!("X-Postern-Idempotency-Key: k-1\r\n{MAIL}");
    let first = client.mail(&keyed).await.unwrap();
    let second = client.mail(&keyed).await.unwrap();
    assert!(first.starts_with("250 2.0.0 ") && first == second, "{first} {second}");
    let other = client.mail(&keyed.replace("once", "changed")).await.unwrap();
    assert!(other.starts_with("554 5.5.4 "), "{other}");
    let unknown = client.mail(&format!("X-Postern-Nothing: 1\r\n{MAIL}")).await.unwrap();
    assert!(
        unknown.starts_with("554 5.6.0 ") && unknown.contains("X-Postern-Nothing"),
        "{unknown}"
    );
    assert_eq!(count(&stack).await, 1);
    assert!(!stack.caught("ann@good.test").await.unwrap().contains("X-Postern"));
}

#[tokio::test]
async fn a_stop_lets_a_message_that_has_begun_end() {
    let stack = Stack::start(&[("POSTERN_GATEWAY_TOKEN", TOKEN)]).await.unwrap();
    let gateway = Role::smtp(&stack.grpc, &[]).await.unwrap();
    let mut busy = SmtpClient::login(gateway.port, "u", &stack.key).await.unwrap();
    let mut idle = SmtpClient::connect(gateway.port).await.unwrap();
    busy.ask("MAIL FROM:<hi@shop.test>\r\n").await.unwrap();
    busy.ask("RCPT TO:<ann@good.test>\r\n").await.unwrap();
    assert!(busy.ask("DATA\r\n").await.unwrap().starts_with("354 "));
    busy.send(b"From: hi@shop.test\r\n").await.unwrap();
    let stopping = tokio::spawn(gateway.stop());
    let said = idle.until_closed().await.unwrap();
    assert!(said.starts_with("421 4.3.2 "), "{said}");
    let reply = busy.ask("Subject: last\r\n\r\nlast\r\n.\r\n").await.unwrap();
    assert!(reply.starts_with("250 2.0.0 "), "{reply}");
    stopping.await.unwrap().unwrap();
    stack.caught("ann@good.test").await.unwrap();
}
