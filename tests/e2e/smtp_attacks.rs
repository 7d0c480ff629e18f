//! Attacks on the SMTP gateway, over the wire; the full tables are beside the code of the session.

use postern_tests::smtp_client::{ENVELOPE, SmtpClient, base64};
use postern_tests::stack::Stack;
use postern_tests::wait;

const PLAIN_AUTH: [(&str, &str); 1] = [("POSTERN_SMTP_PLAIN_AUTH", "on")];

async fn subjects(stack: &Stack) -> Vec<String> {
    let listed = stack.get("/v1/messages?page_size=1000").await.unwrap();
    let messages = listed.body["messages"].as_array().unwrap().iter();
    messages.map(|message| message["subject"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn no_end_of_data_but_the_right_one_ends_a_message() {
    let stack = Stack::start(&PLAIN_AUTH).await.unwrap();
    let ends = [
        "\n.\n",
        "\n.\r\n",
        "\r.\r",
        "\r.\r\n",
        "\r\n.\n",
        "\r\n.\r",
        "\r\n.\r\r\n",
        "\0\r\n.\r\n",
    ];
    let inner = "MAIL FROM:<hi@shop.test>\r\nRCPT TO:<victim@good.test>\r\nDATA\r\nFrom: hi@shop.test\r\n\
                 Subject: smuggled\r\n\r\nx\r\n.\r\nQUIT\r\n";
    for end in ends {
        let mut client = SmtpClient::login(stack.smtp.starttls, "u", &stack.key).await.unwrap();
        let message = format!("From: hi@shop.test\r\nSubject: outer\r\n\r\nbody{end}{inner}");
        let reply = client.mail(message.trim_end_matches("\r\n.\r\nQUIT\r\n")).await.unwrap();
        assert!(reply.starts_with("554 5.6.0 "), "{end:?}: {reply}");
    }
    // The same bytes as a chunk.
    let mut client = SmtpClient::login(stack.smtp.starttls, "u", &stack.key).await.unwrap();
    let body = format!("From: hi@shop.test\r\nSubject: chunk\r\n\r\nbody\n.\r\n{inner}");
    let text = format!("{ENVELOPE}BDAT {} LAST\r\n{body}", body.len());
    client.send(text.as_bytes()).await.unwrap();
    let replies = [client.reply().await.unwrap(), client.reply().await.unwrap()];
    assert!(replies.iter().all(|reply| reply.starts_with("250 ")), "{replies:?}");
    assert!(client.reply().await.unwrap().starts_with("554 5.6.0 "));
    assert!(subjects(&stack).await.is_empty(), "nothing was accepted");
}

#[tokio::test]
async fn commands_sent_before_tls_never_run_within_it() {
    let stack = Stack::start(&[]).await.unwrap();
    let mut client = SmtpClient::connect(stack.smtp.starttls).await.unwrap();
    client.ask("EHLO test\r\n").await.unwrap();
    client.send(b"STARTTLS\r\nEHLO injected\r\n").await.unwrap();
    let said = client.until_closed().await.unwrap();
    assert!(said.starts_with("503 5.5.0 ") && said.lines().count() == 1, "{said}");
    // A password is refused before it can be of use to whoever listens.
    let mut client = SmtpClient::connect(stack.smtp.starttls).await.unwrap();
    let offer = client.ask("EHLO test\r\n").await.unwrap();
    assert!(offer.contains("STARTTLS") && !offer.contains("AUTH"), "{offer}");
    assert!(client.auth("u", &stack.key).await.unwrap().starts_with("538 5.7.11 "));
    assert!(client.ask("MAIL FROM:<a@shop.test>\r\n").await.unwrap().starts_with("530 5.7.0 "));
}

#[tokio::test]
async fn mail_that_would_be_a_bomb_is_refused_and_the_session_goes_on() {
    let stack = Stack::start(&PLAIN_AUTH).await.unwrap();
    let mut client = SmtpClient::login(stack.smtp.starttls, "u", &stack.key).await.unwrap();
    let head = "From: hi@shop.test\r\nSubject: bomb\r\n";
    let mut nested = head.to_owned();
    for level in 0..200 {
        nested +=
            &format!("Content-Type: multipart/mixed; boundary=b{level}\r\n\r\n--b{level}\r\n");
    }
    let header = format!("{head}{}", "X-A: b\r\n".repeat(5000));
    let parts = format!(
        "{head}Content-Type: multipart/mixed; boundary=b\r\n\r\n{}",
        "--b\r\n\r\n\r\n".repeat(5000)
    );
    let line = format!("{head}\r\n{}", "x".repeat(70_000));
    let authors = "From: hi@shop.test\r\nFrom: boss@bank.test\r\nSubject: two\r\n\r\nx".to_owned();
    let nul = format!("{head}\r\na\0b");
    for (what, message) in [
        ("nested", nested),
        ("header", header),
        ("parts", parts),
        ("line", line),
        ("authors", authors),
        ("nul", nul),
    ] {
        let reply = client.mail(&message).await.unwrap();
        assert!(reply.starts_with("554 5.6.0 "), "{what}: {reply}");
    }
    let good = client.mail(&format!("{head}\r\nfine")).await.unwrap();
    assert!(good.starts_with("250 2.0.0 "), "{good}");
    assert_eq!(subjects(&stack).await, ["bomb"]);
}

#[tokio::test]
async fn thousands_of_recipients_and_a_slow_client_meet_their_limits() {
    let stack = Stack::start(&PLAIN_AUTH).await.unwrap();
    let mut client = SmtpClient::login(stack.smtp.starttls, "u", &stack.key).await.unwrap();
    client.ask("MAIL FROM:<hi@shop.test>\r\n").await.unwrap();
    let many: String = (0..1005).map(|n| format!("RCPT TO:<r{n}@good.test>\r\n")).collect();
    client.send(many.as_bytes()).await.unwrap();
    let mut taken = 0;
    for _ in 0..1005 {
        let reply = client.reply().await.unwrap();
        if reply.starts_with("250 ") {
            taken += 1;
        } else {
            assert!(reply.starts_with("452 4.5.3 "), "{reply}");
        }
    }
    assert_eq!(taken, 1000);
    // A line that never ends is not waited for longer than the setting says, however it dribbles.
    stack.operate(&["settings", "set", "smtp.command_time_max", "1s"]).await.unwrap();
    let said = wait::until("the new limit holds", async || {
        let mut slow = SmtpClient::connect(stack.smtp.starttls).await?;
        slow.send(b"EHL").await?;
        // The limit before the change is minutes, so a session that began under it says nothing.
        let patience = std::time::Duration::from_secs(5);
        tokio::time::timeout(patience, slow.until_closed()).await.ok().transpose()
    });
    let said = said.await.unwrap();
    assert!(said.starts_with("421 4.4.2 "), "{said}");
}

#[tokio::test]
async fn neither_passwords_nor_bodies_are_logged() {
    let vars = [PLAIN_AUTH[0], ("POSTERN_LOG", "trace,h2=info,hyper=info,tower=info")];
    let stack = Stack::start(&vars).await.unwrap();
    let secret = "pa55word-never-logged";
    let mut client = SmtpClient::connect(stack.smtp.starttls).await.unwrap();
    client.ask("EHLO test\r\n").await.unwrap();
    assert!(client.auth("someone", secret).await.unwrap().starts_with("535 5.7.8 "));
    let mut client = SmtpClient::login(stack.smtp.starttls, "u", &stack.key).await.unwrap();
    let mail = "From: hi@shop.test\r\nSubject: s\r\n\r\nbody-never-logged";
    assert!(client.mail(mail).await.unwrap().starts_with("250 "));
    stack.caught("ann@good.test").await.unwrap();
    let log = stack.log().unwrap();
    assert!(log.contains("login refused"), "the log says what happened");
    let encoded = base64(format!("\0someone\0{secret}").as_bytes());
    for hidden in [secret, &encoded, "body-never-logged", &stack.key, "ann@good.test"] {
        assert!(!log.contains(hidden), "{hidden} stands in the log");
    }
}
