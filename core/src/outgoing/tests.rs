//! Where a client of ours goes and where it does not. A crash fails the test.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::transport::dns::MxAnswer;

/// Answers with the first list once and with the second from then on.
struct Table(Vec<IpAddr>, Vec<IpAddr>, AtomicUsize);

#[async_trait]
impl Dns for Table {
    async fn mx(&self, _domain: &str) -> Result<MxAnswer, DnsError> {
        Err(DnsError::NoRecords)
    }

    async fn addresses(&self, _host: &str) -> Result<Vec<IpAddr>, DnsError> {
        let asked = self.2.fetch_add(1, Ordering::Relaxed);
        let list = if asked == 0 { &self.0 } else { &self.1 };
        if list.is_empty() { Err(DnsError::NoDomain) } else { Ok(list.clone()) }
    }
}

fn client(first: &[&str], then: &[&str], allow_private: bool) -> Outgoing {
    let list = |list: &[&str]| list.iter().map(|ip| ip.parse().unwrap()).collect();
    let table = Table(list(first), list(then), AtomicUsize::new(0));
    Outgoing::new(Arc::new(table), allow_private, "test").unwrap()
}

async fn class(client: &Outgoing, url: &str) -> ErrorClass {
    let url = Url::parse(url).unwrap();
    client.get(&url, Duration::from_secs(30)).await.unwrap_err().class
}

/// A server that gives every connection this answer; its port, and how many came.
async fn server(answer: &'static str) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, count) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
    let counter = count.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            counter.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                let mut bytes = [0; 1024];
                let _some = stream.read(&mut bytes).await;
                let _gone = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    (port, count)
}

#[tokio::test]
async fn addresses_and_names_of_our_own_network_are_never_asked() {
    let nowhere = client(&[], &[], false);
    for url in [
        "https://127.0.0.1/",
        "https://10.0.0.1/",
        "https://192.168.1.1:8443/",
        "https://169.254.169.254/latest/meta-data",
        "https://100.64.0.1/",
        "https://[::1]/",
        "https://[fd00::1]/",
        "https://[fe80::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[::ffff:a9fe:a9fe]/",
        "https://0x7f.1/",
        "https://2130706433/",
        "https://0/",
        "https://a.test:22/",
        "https://me:secret@a.test/",
        "http://a.test/",
        "ftp://a.test/",
    ] {
        assert_eq!(class(&nowhere, url).await, ErrorClass::Blocked, "{url}");
    }
    let (port, count) = server("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    for ip in ["127.0.0.1", "::1", "::ffff:127.0.0.1", "10.1.2.3", "169.254.169.254"] {
        let client = client(&[ip], &[ip], false);
        let url = format!("https://a.test:{port}/");
        assert_eq!(class(&client, &url).await, ErrorClass::Blocked, "{ip}");
    }
    assert_eq!(class(&nowhere, "https://a.test/").await, ErrorClass::Dns);
    assert_eq!(count.load(Ordering::Relaxed), 0, "nobody was connected to");
}

#[tokio::test]
async fn a_name_that_changes_its_mind_gains_nothing() {
    let (port, count) = server("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    // TEST-NET would not do: it is no public address either.
    let client = client(&["192.0.2.1", "127.0.0.1"], &["127.0.0.1"], false);
    let url = format!("https://a.test:{port}/");
    assert_eq!(class(&client, &url).await, ErrorClass::Blocked);
    assert_eq!(class(&client, &url).await, ErrorClass::Blocked);
    assert_eq!(count.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn what_is_allowed_by_name_is_asked_and_redirects_are_answers() {
    let (target, reached) = server("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let answer = format!("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:{target}/\r\n\r\n");
    let (port, _) = server(answer.leak()).await;
    let client = client(&["127.0.0.1"], &["127.0.0.1"], true);
    for host in ["a.test", "localhost", "127.0.0.1"] {
        let url = Url::parse(&format!("http://{host}:{port}/")).unwrap();
        let answer = client.get(&url, Duration::from_secs(30)).await.unwrap();
        assert_eq!(answer.status, 302, "{host}");
    }
    assert_eq!(reached.load(Ordering::Relaxed), 0, "a redirect is not followed");
}

#[tokio::test]
async fn failures_have_a_class() {
    let client = client(&["127.0.0.1"], &["127.0.0.1"], true);
    let (plain, _) = server("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let (broken, _) = server("nonsense\r\n\r\n").await;
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    for (url, expected) in [
        (format!("https://a.test:{plain}/"), ErrorClass::Tls),
        (format!("http://a.test:{broken}/"), ErrorClass::Protocol),
        (format!("http://a.test:{free}/"), ErrorClass::Tcp),
    ] {
        assert_eq!(class(&client, &url).await, expected, "{url}");
    }
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://127.0.0.1:{}/", silent.local_addr().unwrap().port());
    let url = Url::parse(&url).unwrap();
    let late = client.get(&url, Duration::from_millis(50)).await.unwrap_err();
    assert_eq!(late.class, ErrorClass::Timeout);
}

#[tokio::test]
async fn no_more_of_an_answer_is_read_than_there_is_room_for() {
    let long = "x".repeat(ANSWER_OCTETS_MAX * 2);
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{long}", long.len());
    let (port, _) = server(answer.leak()).await;
    let client = client(&[], &[], true);
    let url = Url::parse(&format!("http://127.0.0.1:{port}/")).unwrap();
    let answer = client.get(&url, Duration::from_secs(30)).await.unwrap();
    assert_eq!(answer.body.len(), ANSWER_OCTETS_MAX);
}
