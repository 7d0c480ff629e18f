//! Servers that cannot be reached: found out once, not by every mail.

use std::net::{Ipv4Addr, SocketAddr};

use futures_util::future::join_all;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::server::{Script, closed_port};
use super::*;

/// More than are ever under way to one server.
const QUEUE: usize = 2000;
const LOCALHOST: Ipv4Addr = Ipv4Addr::LOCALHOST;
const MARK: &str = "not tried again so soon";

fn relay_at(port: u16, dead: &str) -> Relay {
    let url = format!("smtp://127.0.0.1:{port}");
    let vars = [
        ("POSTERN_RELAY_URL", url.as_str()),
        ("POSTERN_DESTINATION_DEAD", dead),
        ("POSTERN_SMTP_TIMEOUT_CONNECT", "2s"),
    ];
    relay_with(&vars)
}

fn is_remembered(outcome: &Outcome) -> bool {
    reply_of(outcome).text.contains(MARK)
}

/// A listener whose queue is full: connecting to it meets silence. Keep all of it.
async fn unresponsive() -> (TcpListener, Vec<TcpStream>, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((LOCALHOST, 0).into()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut fill = Vec::new();
    let patience = Duration::from_millis(500);
    while let Ok(stream) = tokio::time::timeout(patience, TcpStream::connect(address)).await {
        fill.push(stream.unwrap());
    }
    (listener, fill, address)
}

#[tokio::test]
async fn a_closed_port_is_tried_once_for_a_whole_queue() {
    let relay = relay_at(closed_port(LOCALHOST.into()).await, "1h");
    let first = send(&relay).await;
    assert_eq!(brief(&first), "deferred connection connect");
    assert!(!is_remembered(&first));
    for outcome in join_all((0..QUEUE).map(|_| send(&relay))).await {
        assert_eq!(brief(&outcome), "deferred connection connect");
        assert!(is_remembered(&outcome), "{outcome:?}");
        assert_eq!(reply_of(&outcome).host, reply_of(&first).host);
    }
}

#[tokio::test]
async fn a_silent_port_costs_one_time_limit_for_a_whole_queue() {
    let (_listener, _fill, address) = unresponsive().await;
    let relay = relay_at(address.port(), "1h");
    let begin = tokio::time::Instant::now();
    let outcomes = join_all((0..QUEUE).map(|_| send(&relay))).await;
    // Twenty are under way when it is found out; one after the other would take minutes.
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    assert!(outcomes.iter().all(|outcome| brief(outcome) == "deferred timeout connect"));
    let tried = outcomes.iter().filter(|outcome| !is_remembered(outcome)).count();
    assert!(tried <= 20, "{tried} waited for themselves");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_comes_back_gets_its_mail() {
    let port = closed_port(LOCALHOST.into()).await;
    let relay = relay_at(port, "30s");
    assert!(!is_remembered(&send(&relay).await));
    let server = Script::default().start_at(LOCALHOST, port).await;
    assert!(is_remembered(&send(&relay).await), "it is not tried yet");
    assert_eq!(server.connections(), 0);
    tokio::time::advance(Duration::from_secs(31)).await;
    assert_eq!(brief(&send(&relay).await), "delivered data");
    assert_eq!(brief(&send(&relay).await), "delivered data");
}

#[tokio::test]
async fn without_a_memory_every_mail_tries() {
    let relay = relay_at(closed_port(LOCALHOST.into()).await, "0s");
    for _ in 0..3 {
        assert!(!is_remembered(&send(&relay).await));
    }
}
