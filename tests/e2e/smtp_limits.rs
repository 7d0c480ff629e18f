//! Limits of the SMTP gateway: live, per credential, and shared between gateways through Redis.

use postern_kit::env::Env;
use postern_tests::proxy::Proxy;
use postern_tests::role::{Role, TOKEN};
use postern_tests::smtp_client::SmtpClient;
use postern_tests::stack::Stack;
use postern_tests::wait;

const PLAIN_AUTH: (&str, &str) = ("POSTERN_SMTP_PLAIN_AUTH", "on");
const MAIL: &str = "From: hi@shop.test\r\nSubject: hello\r\n\r\nhello";

/// A credential that may send two messages an hour: user name and password.
async fn two_an_hour(stack: &Stack) -> (String, String) {
    so_many_an_hour(stack, 2).await
}

async fn so_many_an_hour(stack: &Stack, count: u32) -> (String, String) {
    let limit = format!("--rate-limit={count}");
    let create = ["smtp-credentials", "create", "limited", &limit];
    let made = stack.operate(&create).await.unwrap();
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    (text("username"), text("secret"))
}

#[tokio::test]
async fn the_stored_rate_limit_holds_and_refuses_before_the_content() {
    let stack = Stack::start(&[PLAIN_AUTH]).await.unwrap();
    let (user, password) = two_an_hour(&stack).await;
    for n in 0..2 {
        let mut client = SmtpClient::login(stack.smtp.starttls, &user, &password).await.unwrap();
        let reply = client.mail(MAIL).await.unwrap();
        assert!(reply.starts_with("250 2.0.0 "), "{n}: {reply}");
    }
    let mut client = SmtpClient::login(stack.smtp.starttls, &user, &password).await.unwrap();
    let reply = client.ask("MAIL FROM:<hi@shop.test>\r\n").await.unwrap();
    assert!(reply.starts_with("451 4.7.1 ") && reply.contains("try again in"), "{reply}");
}

#[tokio::test]
async fn settings_take_effect_without_a_restart() {
    let stack = Stack::start(&[PLAIN_AUTH]).await.unwrap();
    let mut held = Vec::new();
    stack.operate(&["settings", "set", "smtp.connections_per_address_max", "2"]).await.unwrap();
    let refused = wait::until("a connection too many", async || {
        let mut client = SmtpClient::dial(stack.smtp.starttls).await?;
        let greeting = client.reply().await?;
        held.push(client);
        Ok((!greeting.starts_with("220 ")).then_some(greeting))
    });
    let refused = refused.await.unwrap();
    assert!(refused.starts_with("421 4.7.0 ") && refused.contains("your address"), "{refused}");
    drop(held);
    stack.operate(&["settings", "reset", "smtp.connections_per_address_max"]).await.unwrap();
    stack.operate(&["settings", "set", "smtp.credential_recipients", "1"]).await.unwrap();
    let limited = wait::until("the recipients are limited", async || {
        let login = SmtpClient::login(stack.smtp.starttls, "u", &stack.key).await;
        let Ok(mut client) = login else { return Ok(None) };
        client.ask("MAIL FROM:<hi@shop.test>\r\n").await?;
        client.ask("RCPT TO:<a@good.test>\r\n").await?;
        let reply = client.ask("RCPT TO:<b@good.test>\r\n").await?;
        Ok((!reply.starts_with("250 ")).then_some(reply))
    });
    let limited = limited.await.unwrap();
    assert!(limited.starts_with("451 4.7.1 ") && limited.contains("recipients"), "{limited}");
    let bad = stack.operator(&["settings", "set", "smtp.recipients_max", "0"]).await.unwrap();
    let complaint = String::from_utf8_lossy(&bad.stderr).into_owned();
    assert!(!bad.status.success() && complaint.contains("from 1 to 1000"), "{complaint}");
}

#[tokio::test]
async fn content_in_memory_is_bounded_over_all_sessions() {
    let octets = ("POSTERN_SMTP_CONTENT_OCTETS_MAX", "2097152");
    let stack = Stack::start(&[PLAIN_AUTH, octets, ("POSTERN_SMTP_RECIPIENTS_MAX", "1")]).await;
    let stack = stack.unwrap();
    let begun = async || -> anyhow::Result<(SmtpClient, String)> {
        let mut client = SmtpClient::login(stack.smtp.starttls, "u", &stack.key).await?;
        client.ask("MAIL FROM:<hi@shop.test>\r\n").await?;
        client.ask("RCPT TO:<a@good.test>\r\n").await?;
        let second = client.ask("RCPT TO:<b@good.test>\r\n").await?;
        assert!(client.ask("DATA\r\n").await?.starts_with("354 "));
        Ok((client, second))
    };
    wait::until("the settings are read", async || {
        Ok(begun().await?.1.starts_with("452 4.5.3 ").then_some(()))
    })
    .await
    .unwrap();
    // Buffers grow ahead of what is in them: one of these fits for sure, three never do.
    let line = "x".repeat(998) + "\r\n";
    let content = format!("From: hi@shop.test\r\nSubject: large\r\n\r\n{}", line.repeat(920));
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(begun().await.unwrap().0);
    }
    let [a, b, c] = &mut clients[..] else { panic!("three clients") };
    for client in [&mut *a, &mut *b, &mut *c] {
        // Who is cut off in the middle is told so all the same.
        let _cut_off = client.send(content.as_bytes()).await;
    }
    let told = tokio::select! { told = a.reply() => told, told = b.reply() => told, told = c.reply() => told };
    let told = told.unwrap();
    assert!(told.starts_with("421 4.3.1 ") && told.contains("try again"), "{told}");
    drop(clients);
    let alone = wait::until("room for one", async || {
        let (mut client, _) = begun().await?;
        // The others may still be on their way out.
        if client.send(content.as_bytes()).await.is_err() {
            return Ok(None);
        }
        let reply = client.ask(".\r\n").await.unwrap_or_default();
        Ok(reply.starts_with("250 2.0.0 ").then_some(()))
    });
    alone.await.unwrap();
}

#[tokio::test]
async fn gateways_share_limits_through_redis_and_do_without_it_when_it_is_gone() {
    let url = Env::process().text("POSTERN_TEST_REDIS_URL", "");
    let host = url.strip_prefix("redis://").expect("run this under tests/with-postgres");
    let redis = Proxy::start(host).await.unwrap();
    let stack = Stack::start(&[("POSTERN_GATEWAY_TOKEN", TOKEN)]).await.unwrap();
    let (user, password) = two_an_hour(&stack).await;
    let redis_url = format!("redis://{}", redis.addr);
    let vars = [("REDIS_URL", redis_url.as_str()), ("POSTERN_REDIS_TIMEOUT", "5s")];
    let first = Role::smtp(&stack.grpc, &vars).await.unwrap();
    let second = Role::smtp(&stack.grpc, &vars).await.unwrap();
    for port in [first.port, second.port] {
        let mut client = SmtpClient::login(port, &user, &password).await.unwrap();
        assert!(client.mail(MAIL).await.unwrap().starts_with("250 2.0.0 "));
    }
    for port in [first.port, second.port] {
        let mut client = SmtpClient::login(port, &user, &password).await.unwrap();
        let reply = client.mail(MAIL).await.unwrap();
        assert!(reply.starts_with("451 4.7.1 "), "both are counted together: {reply}");
    }
    redis.cut();
    // Each counts alone now: neither without a limit nor refusing mail.
    let mut client = SmtpClient::login(first.port, &user, &password).await.unwrap();
    for n in 0..3 {
        let reply = client.mail(MAIL).await.unwrap();
        let expected = if n < 2 { "250 2.0.0 " } else { "451 4.7.1 " };
        assert!(reply.starts_with(expected), "{n}: {reply}");
    }
    first.stop().await.unwrap();
}

#[tokio::test]
async fn a_redis_that_comes_late_is_used_all_the_same() {
    let url = Env::process().text("POSTERN_TEST_REDIS_URL", "");
    let host = url.strip_prefix("redis://").expect("run this under tests/with-postgres");
    let redis = Proxy::start(host).await.unwrap();
    redis.cut();
    let stack = Stack::start(&[("POSTERN_GATEWAY_TOKEN", TOKEN)]).await.unwrap();
    let redis_url = format!("redis://{}", redis.addr);
    let vars = [("REDIS_URL", redis_url.as_str())];
    let first = Role::smtp(&stack.grpc, &vars).await.unwrap();
    let second = Role::smtp(&stack.grpc, &vars).await.unwrap();
    let shared = async || {
        let (user, password) = so_many_an_hour(&stack, 1).await;
        let mut client = SmtpClient::login(first.port, &user, &password).await?;
        assert!(client.mail(MAIL).await?.starts_with("250 2.0.0 "));
        let mut client = SmtpClient::login(second.port, &user, &password).await?;
        Ok(client.mail(MAIL).await?.starts_with("451 4.7.1 ").then_some(()))
    };
    assert_eq!(shared().await.unwrap(), None, "each counts alone at first");
    redis.restore();
    wait::until("both count together", shared).await.unwrap();
}
