//! Mail that is taken, and what it looks like on the wire.

use super::server::{DOT, Script};
use super::*;

#[tokio::test]
async fn a_mail_arrives_as_it_was_in_few_writes() {
    let server = Script::default().start().await;
    let outcome = send(&relay(&server.url())).await;
    assert_eq!(brief(&outcome), "delivered data");
    let reply = reply_of(&outcome);
    assert_eq!((reply.code, reply.enhanced.as_str(), reply.tls.as_str()), (250, "2.0.0", ""));
    assert_eq!(
        (reply.text.as_str(), reply.host.as_str()),
        ("queued as 14294", "127.0.0.1 [127.0.0.1]")
    );
    assert_eq!(server.mails(), [BODY]);
    let size = BODY.len();
    let group =
        format!("MAIL FROM:<a@example.org> SIZE={size}\r\nRCPT TO:<b@example.net>\r\nDATA\r\n");
    assert_eq!(server.reads(), ["EHLO us.example.org\r\n".to_owned(), group]);
}

#[tokio::test]
async fn without_pipelining_every_command_waits() {
    let server = Script::default().extensions("250 HELP\r\n").start().await;
    assert_eq!(brief(&send(&relay(&server.url())).await), "delivered data");
    let reads = server.reads();
    assert_eq!(
        reads[1..],
        ["MAIL FROM:<a@example.org>\r\n", "RCPT TO:<b@example.net>\r\n", "DATA\r\n"]
    );
}

#[tokio::test]
async fn one_connection_carries_many_mails() {
    let server = Script::default().start().await;
    let relay = relay(&server.url());
    for _ in 0..5 {
        assert_eq!(brief(&send(&relay).await), "delivered data");
    }
    assert_eq!((server.connections(), server.mails().len()), (1, 5));
    assert!(!server.commands(0).contains(&"RSET".to_owned()));
}

#[tokio::test]
async fn replies_may_arrive_byte_by_byte() {
    let server = Script::default().chopped().start().await;
    assert_eq!(brief(&send(&relay(&server.url())).await), "delivered data");
}

#[tokio::test]
async fn a_server_without_ehlo_gets_helo() {
    let server = Script::default().on("EHLO", "502 5.5.2 what?\r\n").start().await;
    assert_eq!(brief(&send(&relay(&server.url())).await), "delivered data");
    assert_eq!(server.commands(0)[1], "HELO us.example.org");
}

#[tokio::test]
async fn large_bodies_are_stuffed_across_blocks() {
    let server = Script::default().start().await;
    let body = format!("A: b\r\n\r\n{}", ".....\r\n".repeat(150_000));
    let mail = Mail { bytes: Bytes::from(body.clone()), ..mail_to("b@example.net") };
    assert_eq!(brief(&relay(&server.url()).deliver(mail).await), "delivered data");
    assert!(server.mails() == [body]);
}

#[tokio::test]
async fn mails_the_server_cannot_take_are_refused_here() {
    let server = Script::default().extensions("250-PIPELINING\r\n250 SIZE 10\r\n").start().await;
    let outcome = send(&relay(&server.url())).await;
    assert_eq!(brief(&outcome), "refused too_large local");
    assert_eq!(reply_of(&outcome).enhanced, "5.3.4");

    let server = Script::default().start().await;
    let relay = relay(&server.url());
    let outcome = relay.deliver(mail_to("дом@example.net")).await;
    assert_eq!(brief(&outcome), "refused protocol local");
    assert_eq!(reply_of(&outcome).enhanced, "5.6.7");
    for to in ["b@example.net>\r\nRCPT TO:<c@example.net", "b c@example.net"] {
        assert_eq!(brief(&relay.deliver(mail_to(to)).await), "refused protocol local");
    }
    assert_eq!(server.commands(0), ["EHLO us.example.org"]);
    assert_eq!(brief(&send(&relay).await), "delivered data");
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn parameters_are_sent_when_they_are_needed_and_offered() {
    let server = Script::default().extensions("250-8BITMIME\r\n250 SMTPUTF8\r\n").start().await;
    let relay = relay(&server.url());
    let mail = Mail { from: String::new(), ..mail_to("дом@example.net") };
    assert_eq!(brief(&relay.deliver(mail).await), "delivered data");
    let bytes = Bytes::from("From: a@b.c\r\n\r\nü\r\n");
    let mail = Mail { bytes, ..mail_to("b@example.net") };
    assert_eq!(brief(&relay.deliver(mail).await), "delivered data");
    let commands = server.commands(0);
    assert_eq!(commands[1], "MAIL FROM:<> BODY=8BITMIME SMTPUTF8");
    assert_eq!(commands[4], "MAIL FROM:<a@example.org> BODY=8BITMIME");
}

#[tokio::test]
async fn a_login_goes_by_plain_or_login() {
    let plain = Script::default().extensions("250 AUTH LOGIN PLAIN\r\n").start().await;
    let url = format!("smtp://me%40x:p%3Aw@{}?tls=off", plain.address);
    assert_eq!(brief(&send(&relay(&url)).await), "delivered data");
    assert_eq!(plain.commands(0)[1], "AUTH PLAIN AG1lQHgAcDp3");

    let login = Script::default().extensions("250 AUTH LOGIN\r\n");
    let login = login.rule(|_, command| match command {
        "AUTH LOGIN" => Some("334 VXNlcm5hbWU6\r\n"),
        "bWVAeA==" => Some("334 UGFzc3dvcmQ6\r\n"),
        "cDp3" => Some("235 ok\r\n"),
        _ => None,
    });
    let login = login.start().await;
    let url = format!("smtp://me%40x:p%3Aw@{}?tls=off", login.address);
    assert_eq!(brief(&send(&relay(&url)).await), "delivered data");

    let wrong = Script::default().extensions("250 AUTH PLAIN\r\n");
    let wrong = wrong.on("AUTH", "535 5.7.8 wrong password\r\n").start().await;
    let url = format!("smtp://u:p@{}?tls=off", wrong.address);
    let outcome = send(&relay(&url)).await;
    assert_eq!(brief(&outcome), "deferred auth_failed auth");
    assert_eq!(wrong.mails().len(), 0);
}

#[tokio::test]
async fn a_late_refusal_is_an_answer() {
    let server = Script::default().on(DOT, "554 5.7.1 message has been blocked\r\n").start().await;
    let relay = relay(&server.url());
    assert_eq!(brief(&send(&relay).await), "refused spam_content data");
    assert_eq!(brief(&send(&relay).await), "refused spam_content data");
    assert_eq!(server.connections(), 1);
    assert!(!server.commands(0).contains(&"RSET".to_owned()));
}
