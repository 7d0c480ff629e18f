//! Connections that are kept: reuse, loss, limits, and their end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;

use super::server::{CLOSE, DOT, GREETING, Script};
use super::*;

fn limited(url: &str, vars: &[(&str, &str)]) -> Relay {
    let mut all = vec![("POSTERN_RELAY_URL", url)];
    all.extend_from_slice(vars);
    relay_with(&all)
}

#[tokio::test]
async fn a_stale_connection_is_replaced_once() {
    for farewell in ["421 4.4.2 idle for too long\r\n", CLOSE] {
        let mails = AtomicUsize::new(0);
        let script = Script::default().rule(move |_, command| {
            let second = command.starts_with("MAIL") && mails.fetch_add(1, Ordering::SeqCst) == 1;
            second.then_some(farewell)
        });
        let server = script.start().await;
        let relay = relay(&server.url());
        assert_eq!(brief(&send(&relay).await), "delivered data");
        assert_eq!(brief(&send(&relay).await), "delivered data", "{farewell}");
        assert_eq!((server.connections(), server.mails().len()), (2, 2));
    }
}

#[tokio::test]
async fn a_new_connection_is_not_retried() {
    let server = Script::default().on("MAIL", CLOSE).start().await;
    assert_eq!(brief(&send(&relay(&server.url())).await), "deferred connection mail");
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_lost_answer_on_a_kept_connection_is_not_retried_either() {
    let dots = AtomicUsize::new(0);
    let script = Script::default().rule(move |_, command| {
        (command == DOT && dots.fetch_add(1, Ordering::SeqCst) == 1).then_some(CLOSE)
    });
    let server = script.start().await;
    let relay = relay(&server.url());
    assert_eq!(brief(&send(&relay).await), "delivered data");
    assert_eq!(brief(&send(&relay).await), "deferred connection data dup");
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn no_more_connections_than_allowed() {
    let server = Script::default().start().await;
    let relay = limited(&server.url(), &[("POSTERN_DESTINATION_CONNECTIONS", "2")]);
    let outcomes = join_all((0..20).map(|_| send(&relay))).await;
    assert!(outcomes.iter().all(|outcome| brief(outcome) == "delivered data"));
    assert!(server.connections() <= 2, "{}", server.connections());
}

#[tokio::test(start_paused = true)]
async fn a_delivery_does_not_wait_for_a_connection_forever() {
    let server = Script::default().on(GREETING, super::server::SILENCE).start().await;
    let relay = limited(&server.url(), &[("POSTERN_DESTINATION_CONNECTIONS", "1")]);
    let (first, second) = tokio::join!(send(&relay), send(&relay));
    assert_eq!(brief(&first), "deferred timeout connect");
    assert_eq!(brief(&second), "deferred rate_limited local");
}

#[tokio::test]
async fn a_connection_carries_only_so_many_mails() {
    let server = Script::default().start().await;
    let relay = limited(&server.url(), &[("POSTERN_CONNECTION_MESSAGES", "2")]);
    for _ in 0..5 {
        assert_eq!(brief(&send(&relay).await), "delivered data");
    }
    assert_eq!(server.connections(), 3);
}

#[tokio::test(start_paused = true)]
async fn old_connections_take_no_more_mail() {
    let server = Script::default().start().await;
    let vars = [("POSTERN_CONNECTION_AGE", "60s"), ("POSTERN_CONNECTION_IDLE", "1h")];
    let relay = limited(&server.url(), &vars);
    assert_eq!(brief(&send(&relay).await), "delivered data");
    tokio::time::advance(Duration::from_secs(61)).await;
    assert_eq!(brief(&send(&relay).await), "delivered data");
    assert_eq!(server.connections(), 2);
}

#[tokio::test(start_paused = true)]
async fn unused_connections_are_closed_with_quit() {
    let quit = Arc::new(tokio::sync::Notify::new());
    let said = quit.clone();
    let script = Script::default().rule(move |_, command| {
        if command == "QUIT" {
            said.notify_one();
        }
        None::<String>
    });
    let server = script.start().await;
    let relay = relay(&server.url());
    assert_eq!(brief(&send(&relay).await), "delivered data");
    let begin = tokio::time::Instant::now();
    quit.notified().await;
    assert!(begin.elapsed() <= Duration::from_secs(15), "{:?}", begin.elapsed());
    assert_eq!(brief(&send(&relay).await), "delivered data");
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_dropped_delivery_frees_its_place() {
    let server = Script::default()
        .rule(|connection, command| (connection == 0 && command == DOT).then_some("SILENCE"))
        .start()
        .await;
    let relay = limited(&server.url(), &[("POSTERN_DESTINATION_CONNECTIONS", "1")]);
    let seen = async {
        while server.mails().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        _ = send(&relay) => panic!("the server is silent"),
        () = seen => {}
    }
    assert_eq!(brief(&send(&relay).await), "delivered data");
    assert_eq!(server.connections(), 2);
}
