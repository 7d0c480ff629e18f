//! Refusals, silence, broken connections and hostile servers, at every point of the dialogue.

use std::sync::atomic::{AtomicBool, Ordering};

use super::server::{CLOSE, DOT, GREETING, SILENCE, Script};
use super::*;

#[tokio::test]
async fn every_refusal_is_judged_where_it_is_said() {
    let cases = [
        (GREETING, "421 4.3.2 shutting down", "deferred connection connect"),
        (GREETING, "554 5.7.1 poor reputation", "deferred reputation connect"),
        (GREETING, "521 no mail here", "refused dns_failure connect"),
        ("EHLO", "421 too many connections", "deferred rate_limited ehlo"),
        ("MAIL", "451 4.7.1 greylisted", "deferred rate_limited mail"),
        ("MAIL", "550 5.7.23 SPF fail", "refused auth_failed mail"),
        ("RCPT", "450 4.2.2 mailbox full", "deferred mailbox_full rcpt"),
        ("RCPT", "550 5.1.1 no such user", "refused unknown_user rcpt"),
        ("DATA", "451 4.3.0 later", "deferred other data"),
        ("DATA", "554 5.5.1 no", "refused protocol data"),
        ("DATA", "250 what", "deferred protocol data"),
        (DOT, "421 4.4.5 busy", "deferred rate_limited data"),
        (DOT, "552 5.3.4 too large", "refused too_large data"),
        (DOT, "354 what", "deferred protocol data"),
    ];
    for extensions in ["250 PIPELINING\r\n", "250 HELP\r\n"] {
        for (verb, reply, expected) in cases {
            let script = Script::default().extensions(extensions);
            let server = script.on(verb, &format!("{reply}\r\n")).start().await;
            let outcome = send(&relay(&server.url())).await;
            assert_eq!(brief(&outcome), expected, "{verb} {reply}");
            let taken = usize::from(verb == DOT);
            assert_eq!(server.mails().len(), taken, "{verb} {reply}: no body was sent");
        }
    }
}

#[tokio::test]
async fn a_refused_recipient_leaves_the_connection_in_step() {
    for extensions in ["250 PIPELINING\r\n", "250 HELP\r\n"] {
        let script = Script::default().extensions(extensions).rule(|_, command| {
            (command == "RCPT TO:<bad@example.net>").then_some("550 5.1.1 no such user\r\n")
        });
        // Even without a recipient this server says 354, which costs a pipelined connection.
        let server = script.start().await;
        let relay = relay(&server.url());
        let outcome = relay.deliver(mail_to("bad@example.net")).await;
        assert_eq!(brief(&outcome), "refused unknown_user rcpt");
        assert_eq!(brief(&send(&relay).await), "delivered data");
        assert_eq!(server.mails().len(), 1);
        if extensions == "250 HELP\r\n" {
            assert_eq!(server.connections(), 1);
            assert_eq!(server.commands(0)[3], "RSET");
        }
    }
}

#[tokio::test]
async fn a_strict_server_is_reset_within_the_next_group() {
    let refused = AtomicBool::new(false);
    let script = Script::default().rule(move |_, command| {
        if command.starts_with("RCPT") {
            refused.store(command.contains("bad"), Ordering::SeqCst);
        }
        let refused = refused.load(Ordering::SeqCst);
        match command.split([' ', ':']).next() {
            Some("RCPT") if refused => Some("550 5.1.1 no such user\r\n"),
            Some("DATA") if refused => Some("503 5.5.1 no recipients\r\n"),
            _ => None,
        }
    });
    let server = script.start().await;
    let relay = relay(&server.url());
    let outcome = relay.deliver(mail_to("bad@example.net")).await;
    assert_eq!(brief(&outcome), "refused unknown_user rcpt");
    assert_eq!(brief(&send(&relay).await), "delivered data");
    assert_eq!(server.connections(), 1);
    assert!(server.reads()[2].starts_with("RSET\r\nMAIL FROM:"), "{:?}", server.reads());
}

#[tokio::test]
async fn only_a_loss_behind_the_final_dot_may_duplicate() {
    for (verb, phase) in [
        (GREETING, "connect"),
        ("EHLO", "ehlo"),
        ("MAIL", "mail"),
        ("RCPT", "rcpt"),
        ("DATA", "data"),
        (DOT, "data dup"),
    ] {
        // Without a word, and in the middle of one.
        for last_words in [CLOSE, "250-hal"] {
            let server = Script::default().on(verb, last_words).start().await;
            let outcome = send(&relay(&server.url())).await;
            assert_eq!(brief(&outcome), format!("deferred connection {phase}"), "{verb}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn silence_ends_at_the_time_limit_of_each_phase() {
    for (verb, phase, seconds) in [
        (GREETING, "connect", 300),
        ("EHLO", "ehlo", 300),
        ("MAIL", "mail", 300),
        ("RCPT", "rcpt", 300),
        ("DATA", "data", 120),
        (DOT, "data dup", 600),
    ] {
        let server = Script::default().extensions("250 HELP\r\n").on(verb, SILENCE).start().await;
        let begin = tokio::time::Instant::now();
        let outcome = send(&relay(&server.url())).await;
        assert_eq!(brief(&outcome), format!("deferred timeout {phase}"), "{verb}");
        assert_eq!(begin.elapsed().as_secs(), seconds, "{verb}");
    }
}

#[tokio::test]
async fn replies_without_end_are_cut_off() {
    let long_line = "220 ".to_owned() + &"x".repeat(1_000_000);
    let server = Script::default().on(GREETING, &long_line).start().await;
    assert_eq!(brief(&send(&relay(&server.url())).await), "deferred protocol connect");
    for verb in [GREETING, "EHLO", DOT] {
        let lines = format!("{}-more\r\n", if verb == GREETING { 220 } else { 250 });
        let server = Script::default().on(verb, &lines.repeat(1_000_000)).start().await;
        let outcome = brief(&send(&relay(&server.url())).await);
        assert!(outcome.starts_with("deferred protocol"), "{verb}: {outcome}");
    }
}

#[tokio::test]
async fn what_is_no_smtp_is_a_breach_of_protocol() {
    for junk in ["HTTP/1.1 400 Bad Request\r\n", "\r\n", "220\0\r\n", "\u{16}\u{3}\u{1}\r\n"] {
        let server = Script::default().on(GREETING, junk).start().await;
        assert_eq!(brief(&send(&relay(&server.url())).await), "deferred protocol connect");
    }
    // Answers nobody asked for yet put everything behind them out of step.
    let server = Script::default().on("EHLO", "250 hi\r\n550 5.1.1 never\r\n").start().await;
    assert_eq!(brief(&send(&relay(&server.url())).await), "deferred protocol mail");
}

#[tokio::test(start_paused = true)]
async fn a_trickle_does_not_stretch_the_time_limit() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("smtp://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        let (mut tcp, _) = listener.accept().await.unwrap();
        let mut every = tokio::time::interval(Duration::from_secs(1));
        while tcp.write_all(b"2").await.is_ok() {
            every.tick().await;
        }
    });
    let begin = tokio::time::Instant::now();
    assert_eq!(brief(&send(&relay(&url)).await), "deferred timeout connect");
    assert_eq!(begin.elapsed().as_secs(), 300);
    server.abort();
}

#[tokio::test]
async fn nobody_listening_is_a_failed_connection() {
    let port = super::server::closed_port([127, 0, 0, 1].into()).await;
    let outcome = send(&relay(&format!("smtp://127.0.0.1:{port}"))).await;
    assert_eq!(brief(&outcome), "deferred connection connect");
    assert!(matches!(outcome, Outcome::Deferred { category: Category::Connection, .. }));
}
