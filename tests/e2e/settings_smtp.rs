//! Live settings of the SMTP gateway: what is too much, and for how long.

use postern_tests::smtp_client::{ENVELOPE, SmtpClient};
use postern_tests::stack::Stack;
use postern_tests::wait;

use super::settings::set;

const PLAIN_AUTH: (&str, &str) = ("POSTERN_SMTP_PLAIN_AUTH", "on");
const MAIL: &str = "From: hi@shop.test\r\nSubject: hello\r\n\r\nhello";

/// The default that the environment gives, and what a client hears at last.
async fn last_words(setting: &str, value: &str, said: &str) -> String {
    let stack = Stack::start(&[PLAIN_AUTH, (setting, value)]).await.unwrap();
    let mut client = SmtpClient::login(stack.smtp.starttls, "u", &stack.key).await.unwrap();
    for command in said.split_inclusive("\r\n") {
        client.ask(command).await.unwrap();
    }
    client.until_closed().await.unwrap()
}

#[tokio::test]
async fn a_session_and_a_message_take_no_longer_than_their_settings() {
    let content = format!("{ENVELOPE}DATA\r\n");
    let (session, message) = tokio::join!(
        last_words("POSTERN_SMTP_SESSION_TIME_MAX", "1s", "NOOP\r\n"),
        last_words("POSTERN_SMTP_DATA_TIME_MAX", "1s", &content),
    );
    assert!(session.contains("421 4.4.2 ") && session.contains("lasted long enough"), "{session}");
    assert!(
        message.contains("421 4.4.2 ") && message.contains("message took too long"),
        "{message}"
    );
}

#[tokio::test]
async fn connections_of_all_clients_together_have_a_limit() {
    let stack = Stack::start(&[("POSTERN_SMTP_CONNECTIONS_MAX", "1")]).await.unwrap();
    let greeted = async || {
        let mut client = SmtpClient::dial(stack.smtp.starttls).await?;
        Ok((client.reply().await?, client))
    };
    let first: anyhow::Result<_> = greeted().await;
    let (greeting, first) = first.unwrap();
    assert!(greeting.starts_with("220 "), "{greeting}");
    let (refused, _second) = greeted().await.unwrap();
    assert!(refused.starts_with("421 4.7.0 too many connections; try again"), "{refused}");
    drop(first);
    let free = wait::until("there is room again", async || {
        Ok(greeted().await?.0.starts_with("220 ").then_some(()))
    });
    free.await.unwrap();
    set(&stack, &[("smtp.connections_max", "2")]).await;
    let both = wait::until("there is room for two", async || {
        let (one, two) = (greeted().await?, greeted().await?);
        Ok((one.0.starts_with("220 ") && two.0.starts_with("220 ")).then_some(()))
    });
    both.await.unwrap();
}

#[tokio::test]
async fn what_a_credential_has_used_up_comes_back_within_the_window() {
    let vars =
        [("POSTERN_SMTP_CREDENTIAL_MESSAGES", "1"), ("POSTERN_SMTP_CREDENTIAL_WINDOW", "6s")];
    let stack = Stack::start(&[PLAIN_AUTH, vars[0], vars[1]]).await.unwrap();
    let login = || SmtpClient::login(stack.smtp.starttls, "u", &stack.key);
    assert!(login().await.unwrap().mail(MAIL).await.unwrap().starts_with("250 2.0.0 "));
    let mut refused = String::new();
    // By the default window this would take an hour.
    let again = wait::until("the credential may send again", async || {
        let reply = login().await?.ask("MAIL FROM:<hi@shop.test>\r\n").await?;
        let sent = reply.starts_with("250 ");
        if !sent {
            refused = reply;
        }
        Ok(sent.then_some(()))
    });
    again.await.unwrap();
    assert!(refused.starts_with("451 4.7.1 ") && refused.contains("messages"), "{refused}");
}

#[tokio::test]
async fn failed_logins_are_forgotten_after_the_window() {
    let vars = [
        PLAIN_AUTH,
        ("POSTERN_SMTP_AUTH_FAILURES_PER_USER", "1"),
        ("POSTERN_SMTP_AUTH_FAILURE_WINDOW", "3s"),
    ];
    let stack = Stack::start(&vars).await.unwrap();
    let guess = async || {
        let mut client = SmtpClient::connect(stack.smtp.starttls).await?;
        client.ask("EHLO test\r\n").await?;
        client.auth("nobody", "guess").await
    };
    let heard = async |code: &'static str| {
        let look = async || Ok(guess().await?.starts_with(code).then_some(()));
        wait::until(code, look).await.unwrap();
    };
    heard("454 4.7.0 ").await;
    // By the default window this would take a quarter of an hour.
    heard("535 5.7.8 ").await;
}
