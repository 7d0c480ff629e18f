//! Mail handed in by real clients arrives in the local inbox as it was sent.

use std::path::Path;
use std::process::{Output, Stdio};

use postern_tests::peer;
use postern_tests::smtp_client::SmtpClient;
use postern_tests::stack::Stack;
use postern_tests::wait;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

async fn run(command: &mut Command, input: &str) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
    tokio::time::timeout(wait::LIMIT, child.wait_with_output()).await.unwrap().unwrap()
}

fn text(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err))
}

async fn succeed(command: &mut Command, input: &str) -> String {
    let output = run(command, input).await;
    assert!(output.status.success(), "{}", text(&output));
    text(&output)
}

const MAIL: &str = "From: Shop <hi@shop.test>\r\nTo: ann@good.test\r\nSubject: by curl\r\n\
    Message-ID: <one@shop.test>\r\nDate: Tue, 24 Nov 2026 09:00:00 +0000\r\n\r\n.\r\nb\u{fc}te\r\n";

#[tokio::test]
async fn swaks_sends_over_starttls_and_tls() {
    let stack = Stack::start(&[]).await.unwrap();
    let credential = stack.operate(&["smtp-credentials", "create", "ams"]).await.unwrap();
    let user = credential["username"].as_str().unwrap();
    assert!(user.starts_with("smtp_") && user.len() == 21, "{user}");
    let password = credential["secret"].as_str().unwrap();
    for (port, tls, to) in
        [(stack.smtp.starttls, "--tls", "one"), (stack.smtp.tls, "--tls-on-connect", "two")]
    {
        let mut swaks = Command::new("swaks");
        swaks.args(["--server", &format!("127.0.0.1:{port}"), tls, "--auth-user", user]);
        swaks.args(["--auth-password", password, "--from", "hi@shop.test"]);
        swaks.args(["--to", &format!("{to}@good.test"), "--header", "Subject: by swaks"]);
        let said = succeed(&mut swaks, "").await;
        assert!(
            said.contains("235 2.7.0 ") && said.contains("250 2.0.0 Ok: queued as msg_"),
            "{said}"
        );
        let mail = stack.caught(&format!("{to}@good.test")).await.unwrap();
        assert!(mail.contains("Subject: by swaks\r\n"), "{mail}");
        assert!(!mail.contains("X-Mailer"), "{mail}");
    }
    // The id of the 250 is the message's.
    let listed = stack.get("/v1/messages?to=one@good.test").await.unwrap();
    assert_eq!(listed.body["messages"].as_array().map(Vec::len), Some(1), "{listed:?}");
}

#[tokio::test]
async fn smtplib_sends_several_messages_in_a_session_and_every_byte_survives() {
    let stack = Stack::start(&[]).await.unwrap();
    for (port, mode) in [(stack.smtp.starttls, "starttls"), (stack.smtp.tls, "tls")] {
        let mut python = Command::new("/usr/bin/python3");
        python.arg(peer::path("smtplib_send.py"));
        // Any user name will do when the password is an API key.
        python.args([&port.to_string(), mode, "postern", &stack.key]);
        let output = run(&mut python, "next\nlast\n").await;
        assert!(output.status.success(), "{}", text(&output));
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(said.matches("250 2.0.0 Ok: queued as msg_").count(), 3, "{said}");
        let sent = String::from_utf8(output.stderr).unwrap();
        for recipient in ["ann", "hidden"] {
            let mail = stack.caught(&format!("{recipient}@good.test")).await.unwrap();
            // Campaign and program are dropped, Date, Message-ID and a way to unsubscribe added; the
            // rest is as it was.
            let kept = mail.find("From: ").unwrap();
            let expected = sent.replace("X-ID-mail: [777]\r\n", "");
            let (before, added) = mail[kept..].split_once("List-Unsubscribe: <http").unwrap();
            let post = "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n";
            let (_, behind) = added.split_once(post).unwrap();
            assert_eq!(format!("{before}{behind}"), expected, "{mode} {recipient}");
            assert!(mail[..kept].contains("Date: ") && mail[..kept].contains("Message-ID: <msg_"));
        }
        stack.caught("next@good.test").await.unwrap();
        stack.caught("last@good.test").await.unwrap();
    }
    let listed = stack.get("/v1/messages?campaign_id=777&limit=50").await.unwrap();
    let messages = listed.body["messages"].as_array().unwrap();
    assert_eq!(messages.len(), 6, "{listed:?}");
    let two =
        messages.iter().filter(|message| message["recipients"].as_array().unwrap().len() == 2);
    assert_eq!(two.count(), 2);
}

#[tokio::test]
async fn curl_sends() {
    let stack = Stack::start(&[]).await.unwrap();
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--ssl-reqd", "--insecure", "--mail-from", "hi@shop.test"]);
    curl.args(["--mail-rcpt", "ann@good.test", "--mail-rcpt", "bob@good.test"]);
    curl.args(["--user", &format!("anything:{}", stack.key), "--upload-file", "-"]);
    curl.arg(format!("smtp://127.0.0.1:{}", stack.smtp.starttls));
    succeed(&mut curl, MAIL).await;
    for recipient in ["ann@good.test", "bob@good.test"] {
        assert_eq!(stack.caught(recipient).await.unwrap(), MAIL);
    }
}

#[tokio::test]
async fn msmtp_sends() {
    let stack = Stack::start(&[]).await.unwrap();
    let credential = stack.operate(&["smtp-credentials", "create", "msmtp"]).await.unwrap();
    let mut msmtp = Command::new("msmtp");
    msmtp.args(["--host=127.0.0.1", &format!("--port={}", stack.smtp.tls), "--tls=on"]);
    msmtp.args([
        "--tls-starttls=off",
        "--tls-certcheck=off",
        "--auth=plain",
        "--from=hi@shop.test",
    ]);
    let user = credential["username"].as_str().unwrap();
    let password = credential["secret"].as_str().unwrap();
    msmtp.args([&format!("--user={user}"), &format!("--passwordeval=echo {password}")]);
    msmtp.args(["--", "ann@good.test"]);
    succeed(&mut msmtp, &MAIL.replace("\r\n", "\n")).await;
    assert!(stack.caught("ann@good.test").await.unwrap().contains("Subject: by curl\r\n"));
}

#[tokio::test]
async fn nodemailer_sends() {
    let modules = postern_kit::env::Env::process().text("POSTERN_TEST_NODE_MODULES", "");
    assert!(Path::new(&modules).join("nodemailer").exists(), "run this under tests/run");
    let stack = Stack::start(&[]).await.unwrap();
    let script = format!(
        "const transport = require('nodemailer').createTransport({{host: '127.0.0.1', port: {}, \
         requireTLS: true, tls: {{rejectUnauthorized: false}}, auth: {{user: 'node', pass: '{}'}}}}); \
         transport.sendMail({{from: '\"Shop, Inc\" <hi@shop.test>', to: 'ann@good.test', bcc: \
         'bob@good.test', subject: 'by nodemailer', html: '<p>é</p>', attachments: [{{filename: \
         'a.txt', content: 'attached'}}]}}).then(sent => console.log(sent.response))",
        stack.smtp.starttls, stack.key
    );
    let mut node = Command::new("node");
    let said = succeed(node.args(["-e", &script]).env("NODE_PATH", &modules), "").await;
    assert!(said.contains("250 2.0.0 Ok: queued as msg_"), "{said}");
    for recipient in ["ann@good.test", "bob@good.test"] {
        let mail = stack.caught(recipient).await.unwrap();
        assert!(mail.contains("From: \"Shop, Inc\" <hi@shop.test>\r\n"), "{mail}");
        assert!(mail.contains("a.txt") && !mail.contains("bob@good.test"), "{mail}");
    }
}

#[tokio::test]
async fn the_plain_sink_takes_mail_without_a_password_and_sends_none_on() {
    let stack = Stack::start(&[]).await.unwrap();
    let mut swaks = Command::new("swaks");
    swaks.args(["--server", &format!("127.0.0.1:{}", stack.smtp.sink), "--from", "dev@app.test"]);
    swaks.args(["--to", "ann@good.test", "--header", "X-Custom: kept"]);
    succeed(&mut swaks, "").await;
    let mail = stack.caught("ann@good.test").await.unwrap();
    // What is caught on purpose is shown as it came.
    assert!(mail.contains("X-Custom: kept\r\n") && mail.contains("X-Mailer: swaks"), "{mail}");
    let listed = stack.get("/v1/messages?to=ann@good.test").await.unwrap();
    assert_eq!(listed.body["messages"][0]["test"], true, "{listed:?}");
    let mut client = SmtpClient::connect(stack.smtp.sink).await.unwrap();
    let offer = client.ask("EHLO test\r\n").await.unwrap();
    assert!(!offer.contains("AUTH") && !offer.contains("STARTTLS"), "{offer}");
}
