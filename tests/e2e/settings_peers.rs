//! How long other servers are waited for, step by step: one that falls silent there is given up after
//! the time of that step's setting, and after no other.

use std::time::Duration;

use postern_tests::stack::{Stack, mail_to};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::settings::set;

/// More than the buffers of both ends hold.
const LARGE: usize = 12 << 20;

/// The step at which the server falls silent, its setting, and the phase that is shown.
const STEPS: [(&str, &str, &str); 6] = [
    ("greeting", "smtp.timeout_greeting", "connect"),
    ("EHLO", "smtp.timeout_ehlo", "ehlo"),
    ("MAIL", "smtp.timeout_mail", "mail"),
    ("RCPT", "smtp.timeout_rcpt", "rcpt"),
    ("DATA", "smtp.timeout_data_init", "data"),
    ("content", "smtp.timeout_data_block", "data"),
];

async fn serve(listener: TcpListener, silent_at: watch::Receiver<&'static str>) {
    let mut tasks = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let step = *silent_at.borrow();
        tasks.spawn(async move {
            let _gone = converse(stream, step).await;
        });
    }
}

/// Speaks SMTP up to a step, and then keeps the connection open until the other end closes it.
async fn converse(stream: TcpStream, silent_at: &str) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    if silent_at != "greeting" {
        stream.write_all(b"220 mx.test ESMTP\r\n").await?;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            let verb = line.get(..4).unwrap_or_default();
            if verb == silent_at {
                break;
            }
            let answer: &[u8] = if verb == "DATA" { b"354 go on\r\n" } else { b"250 ok\r\n" };
            stream.write_all(answer).await?;
            if verb == "DATA" {
                // Nothing of the content is read.
                return std::future::pending().await;
            }
        }
    }
    stream.read_to_end(&mut Vec::new()).await.map(|_| ())
}

#[tokio::test]
async fn a_server_that_falls_silent_is_given_up_after_the_time_of_that_step() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("smtp://{}?tls=off", listener.local_addr().unwrap());
    let (step, silent_at) = watch::channel("");
    let server = tokio::spawn(serve(listener, silent_at));
    let vars = [
        ("POSTERN_TRANSPORT", "relay"),
        ("POSTERN_RELAY_URL", url.as_str()),
        ("POSTERN_SENDER_POLICY", "any"),
        ("POSTERN_RETRY_DELAYS", "1h"),
        ("POSTERN_DESTINATION_DEAD", "0s"),
    ];
    let stack = Stack::start(&vars).await.unwrap();
    for (n, (silent, setting, phase)) in STEPS.into_iter().enumerate() {
        step.send_replace(silent);
        set(&stack, &[(setting, "300ms")]).await;
        let mut mail = mail_to(&format!("user{n}@good.test"));
        if silent == "content" {
            mail["text"] = "0123456789 abcdef\n".repeat(LARGE / 18).into();
        }
        let id = stack.send(&mail).await.unwrap();
        let message = stack.wait_state(&id, "deferred").await.unwrap();
        let recipient = &message["recipients"][0];
        assert_eq!(recipient["reason"], "timeout", "{setting}: {recipient}");
        assert_eq!(recipient["last_reply"]["phase"], phase, "{setting}: {recipient}");
        stack.operate(&["settings", "reset", setting]).await.unwrap();
    }
    // By the defaults, the shortest of which is two minutes, the mail would still be waited for.
    step.send_replace("MAIL");
    let id = stack.send_to("waiting@good.test").await.unwrap();
    let over = tokio::time::timeout(Duration::from_secs(1), stack.wait_state(&id, "deferred"));
    assert!(over.await.is_err(), "nobody is given up after a second");
    server.abort();
}
