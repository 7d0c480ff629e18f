//! Settings that change while a transport is in use.

use tokio::time::Instant;

use super::server::{DOT, GREETING, SILENCE, Script};
use super::*;

#[tokio::test(start_paused = true)]
async fn time_limits_change_from_one_reply_to_the_next() {
    let cases = [
        (GREETING, "GREETING", "deferred timeout connect"),
        ("EHLO", "EHLO", "deferred timeout ehlo"),
        ("MAIL", "MAIL", "deferred timeout mail"),
        ("RCPT", "RCPT", "deferred timeout rcpt"),
        ("DATA", "DATA_INIT", "deferred timeout data"),
        (DOT, "DATA_DONE", "deferred timeout data dup"),
    ];
    for (verb, name, expected) in cases {
        let server = Script::default().on(verb, SILENCE).start().await;
        let settings = in_force(&[]);
        let vars = [("POSTERN_RELAY_URL", &*server.url())];
        let relay = Relay::new(&config(&vars), settings.clone()).unwrap();
        let changed = in_force(&[(&format!("POSTERN_SMTP_TIMEOUT_{name}"), "7s")]);
        settings.replace(Settings::clone(&changed.now()));
        let begin = Instant::now();
        assert_eq!(brief(&send(&relay).await), expected, "{name}");
        assert_eq!(begin.elapsed().as_secs(), 7, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn kept_connections_go_by_what_holds_when_they_are_used() {
    let server = Script::default().start().await;
    let settings = in_force(&[]);
    let vars = [("POSTERN_RELAY_URL", &*server.url())];
    let relay = Relay::new(&config(&vars), settings.clone()).unwrap();
    for (name, value) in [
        ("POSTERN_CONNECTION_MESSAGES", "1"),
        ("POSTERN_CONNECTION_AGE", "0s"),
        ("POSTERN_CONNECTION_IDLE", "0s"),
    ] {
        settings.replace(Settings::default());
        assert_eq!(brief(&send(&relay).await), "delivered data");
        let before = server.connections();
        assert_eq!(brief(&send(&relay).await), "delivered data");
        assert_eq!(server.connections(), before, "it is kept");
        settings.replace(Settings::clone(&in_force(&[(name, value)]).now()));
        assert_eq!(brief(&send(&relay).await), "delivered data");
        assert_eq!(server.connections(), before + 1, "{name}");
    }
}
