//! STARTTLS, implicit TLS, certificates, and servers that get them wrong.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::TlsAcceptor;

use super::server::{Script, Server};
use super::*;

const OFFER: &str = "250-PIPELINING\r\n250 STARTTLS\r\n";

/// A certificate for `localhost`, and the file a relay would trust it by.
fn certificate() -> (TlsAcceptor, tempfile::NamedTempFile) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let config = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), made.cert.pem()).unwrap();
    (TlsAcceptor::from(Arc::new(config)), file)
}

fn trusting(url: &str, file: &tempfile::NamedTempFile) -> Relay {
    let file = file.path().to_str().unwrap();
    relay_with(&[("POSTERN_RELAY_URL", url), ("POSTERN_RELAY_CA_FILE", file)])
}

fn localhost(server: &Server, scheme: &str, tls: &str) -> String {
    format!("{scheme}://localhost:{}{tls}", server.port())
}

#[tokio::test]
async fn opportunistic_tls_takes_any_certificate() {
    let (acceptor, _file) = certificate();
    let server = Script::default().extensions(OFFER).tls(acceptor, false).start().await;
    let outcome = send(&relay(&server.url())).await;
    assert_eq!(brief(&outcome), "delivered data");
    assert_eq!(reply_of(&outcome).tls, "TLSv1.3");
    // What was offered in clear is asked for again inside.
    let ehlo = "EHLO us.example.org";
    assert_eq!(server.commands(0)[..3], [ehlo, "STARTTLS", ehlo]);
    assert_eq!(server.mails(), [BODY]);
}

#[tokio::test]
async fn required_tls_needs_a_certificate_it_knows() {
    let (acceptor, file) = certificate();
    for implicit in [false, true] {
        let script = Script::default().extensions(OFFER).tls(acceptor.clone(), implicit);
        let server = script.start().await;
        let url = match implicit {
            true => localhost(&server, "smtps", ""),
            false => localhost(&server, "smtp", "?tls=required"),
        };
        let outcome = send(&relay(&url)).await;
        assert_eq!(brief(&outcome), "deferred tls starttls", "unknown authority");
        let outcome = send(&trusting(&url, &file)).await;
        assert_eq!(brief(&outcome), "delivered data");
        let by_address = url.replace("localhost", "127.0.0.1");
        let outcome = send(&trusting(&by_address, &file)).await;
        assert_eq!(brief(&outcome), "deferred tls starttls", "another name");
        assert_eq!(server.mails().len(), 1);
    }
}

#[tokio::test]
async fn a_server_without_tls_gets_mail_only_if_that_is_allowed() {
    let server = Script::default().start().await;
    let outcome = send(&relay(&(server.url() + "?tls=required"))).await;
    assert_eq!(brief(&outcome), "deferred tls starttls");
    assert_eq!(brief(&send(&relay(&server.url())).await), "delivered data");
    let (acceptor, _file) = certificate();
    let server = Script::default().extensions(OFFER).tls(acceptor, false).start().await;
    let outcome = send(&relay(&(server.url() + "?tls=off"))).await;
    assert_eq!((brief(&outcome).as_str(), reply_of(&outcome).tls.as_str()), ("delivered data", ""));
}

#[tokio::test]
async fn a_broken_handshake_is_followed_by_a_plain_connection() {
    // Agrees to TLS and then hangs up, since it has no certificate.
    let server = Script::default().extensions(OFFER).start().await;
    let outcome = send(&relay(&server.url())).await;
    assert_eq!(brief(&outcome), "delivered data");
    assert_eq!((server.connections(), reply_of(&outcome).tls.as_str()), (2, ""));
    assert!(!server.commands(1).contains(&"STARTTLS".to_owned()));
    let outcome = send(&relay(&(server.url() + "?tls=required"))).await;
    assert_eq!(brief(&outcome), "deferred tls starttls");
    assert_eq!(server.mails().len(), 1);
    // Or refuses it in words.
    let script = Script::default().extensions(OFFER);
    let server = script.on("STARTTLS", "454 4.7.0 not now\r\n").start().await;
    assert_eq!(brief(&send(&relay(&server.url())).await), "delivered data");
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn bytes_behind_the_reply_to_starttls_end_it() {
    let injected = "220 go\r\n250-them\r\n250 AUTH PLAIN\r\n";
    for reply in [injected, "220 go\r\n2"] {
        let server = Script::default().extensions(OFFER).on("STARTTLS", reply).start().await;
        let outcome = send(&relay(&server.url())).await;
        assert_eq!(brief(&outcome), "deferred protocol starttls");
        assert_eq!((server.connections(), server.mails().len()), (1, 0));
    }
}

#[tokio::test]
async fn a_password_is_not_sent_in_clear_beyond_this_host() {
    let refused = TransportConfig::from_env(&Env::from([(
        "POSTERN_RELAY_URL",
        "smtp://u:secret@192.0.2.1?tls=sometimes",
    )]));
    assert!(!refused.unwrap_err().to_string().contains("secret"));
    // With a login TLS is required unless the address says otherwise.
    let server = Script::default().extensions("250 AUTH PLAIN\r\n").start().await;
    let url = format!("smtp://u:secret@{}", server.address);
    assert_eq!(brief(&send(&relay(&url)).await), "deferred tls starttls");
    assert_eq!(server.commands(0), ["EHLO us.example.org"]);
}
