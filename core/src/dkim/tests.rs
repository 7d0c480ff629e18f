//! Signatures, checked by a verifier that is not ours.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use mail_auth::common::parse::TxtRecordParser;
use mail_auth::common::verify::DomainKey;
use mail_auth::hickory_resolver::config::{ResolverConfig, ResolverOpts};
use mail_auth::{
    AuthenticatedMessage, DkimResult, MX, MessageAuthenticator, Parameters, RecordSet,
    ResolverCache, Txt,
};

use super::*;
use crate::model::domain::DkimAlgorithm;

const NOW: u64 = 1_795_000_000;
const MAIL: &[u8] = b"From: A <a@example.org>\r\nTo: b@example.net\r\nSubject:  two  words \r\n\
    Date: Mon, 23 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@example.org>\r\n\
    List-Unsubscribe: <https://u.example.org/x>\r\n\
    List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n\r\n\
    Hello \t world  \r\n\r\nbye\t\r\n\r\n\r\n";

struct Cache<K, V>(Mutex<HashMap<K, V>>);

impl<K: Hash + Eq, V: Clone> ResolverCache<K, V> for Cache<K, V> {
    fn get<Q: Hash + Eq + ?Sized>(&self, name: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.0.lock().unwrap().get(name).cloned()
    }

    fn remove<Q: Hash + Eq + ?Sized>(&self, name: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.0.lock().unwrap().remove(name)
    }

    fn insert(&self, key: K, value: V, _: Instant) {
        self.0.lock().unwrap().insert(key, value);
    }
}

/// Mail-auth's verdict on each signature, with these TXT records and no network.
async fn verdicts(message: &[u8], records: &[(String, String)]) -> Vec<bool> {
    let txt = Cache::<Box<str>, Txt>(Mutex::default());
    for (name, value) in records {
        let record = DomainKey::parse(value.as_bytes()).unwrap();
        let until = Instant::now() + Duration::from_secs(3600);
        txt.insert(format!("{name}.").into_boxed_str(), record.into(), until);
    }
    let message = AuthenticatedMessage::parse(message).unwrap();
    let authenticator =
        MessageAuthenticator::new(ResolverConfig::default(), ResolverOpts::default()).unwrap();
    let parameters = Parameters {
        params: &message,
        cache_txt: Some(&txt),
        cache_mx: None::<&Cache<Box<str>, RecordSet<MX>>>,
        cache_ptr: None::<&Cache<IpAddr, RecordSet<Box<str>>>>,
        cache_ipv4: None::<&Cache<Box<str>, RecordSet<Ipv4Addr>>>,
        cache_ipv6: None::<&Cache<Box<str>, RecordSet<Ipv6Addr>>>,
    };
    let outputs = authenticator.verify_dkim(parameters).await;
    outputs.iter().map(|output| matches!(output.result(), DkimResult::Pass)).collect()
}

fn keys() -> (Vec<Signer>, Vec<(String, String)>) {
    let mut signers = Vec::new();
    let mut records = Vec::new();
    for (selector, algorithm) in [("r1", DkimAlgorithm::Rsa), ("e1", DkimAlgorithm::Ed25519)] {
        let key = generate(algorithm).unwrap();
        signers.push(Signer::new("example.org", selector, algorithm, &key.private_der).unwrap());
        records.push((record_name("example.org", selector), key.record));
    }
    (signers, records)
}

#[tokio::test]
async fn both_signatures_verify_and_every_change_breaks_them() {
    let (signers, records) = keys();
    let header = sign(&signers, MAIL, NOW).unwrap();
    let signed = [header.as_slice(), MAIL].concat();
    assert_eq!(verdicts(&signed, &records).await, [true, true]);

    // Relaxed: blanks at line ends and blank lines at the end do not matter.
    let text = String::from_utf8(signed.clone()).unwrap();
    let padded = text.replace("bye\t\r\n\r\n\r\n", "bye \r\n");
    assert_eq!(verdicts(padded.as_bytes(), &records).await, [true, true]);

    let second = |field: &str| format!("{field}\r\n{text}").into_bytes();
    for (what, changed) in [
        ("body", text.replace("world", "World").into_bytes()),
        ("subject", text.replace("two", "2").into_bytes()),
        ("second From", second("From: evil@example.com")),
        ("second Subject", second("Subject: other")),
        ("added Reply-To", second("Reply-To: evil@example.com")),
        ("added Cc", second("Cc: evil@example.com")),
        ("added Content-Type", second("Content-Type: text/html")),
        ("unsubscribe", text.replace("u.example.org", "evil.example").into_bytes()),
        ("one-click", text.replace("List-Unsubscribe-Post: ", "X-Was: ").into_bytes()),
    ] {
        assert_eq!(verdicts(&changed, &records).await, [false, false], "{what}");
    }
}

#[tokio::test]
async fn odd_bodies_verify() {
    let (signers, records) = keys();
    for body in ["", "\r\n", "\r\n\r\n\r\n", "no end", " \t \r\nx\r\n", "a\tb  c\r\n.\r\n\r\nd"] {
        let mail = format!("From: a@example.org\r\nSubject:\r\n\r\n{body}");
        let header = sign(&signers, mail.as_bytes(), NOW).unwrap();
        let signed = [header.as_slice(), mail.as_bytes()].concat();
        assert_eq!(verdicts(&signed, &records).await, [true, true], "{body:?}");
    }
}

#[test]
fn the_field_is_folded_and_says_what_it_should() {
    let (signers, _) = keys();
    let header = String::from_utf8(sign(&signers, MAIL, NOW).unwrap()).unwrap();
    assert!(header.lines().all(|line| line.len() <= 78), "{header}");
    assert_eq!(header.matches("DKIM-Signature:").count(), 2);
    assert!(!header.contains("\tl=") && !header.contains(" l="));
    assert!(header.contains(&format!("t={NOW}")));
    assert!(header.contains("From:From:To:To:Cc:Subject:Subject:"));
    assert!(!header.replace("\r\n", "").contains(['\r', '\n']));
    assert_eq!(header, String::from_utf8(sign(&signers, MAIL, NOW).unwrap()).unwrap());
}

#[test]
fn unusable_keys_and_messages_are_refused() {
    use rsa::pkcs8::EncodePrivateKey;
    let weak = rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 1024).unwrap();
    let weak = weak.to_pkcs8_der().unwrap();
    let rsa = DkimAlgorithm::Rsa;
    assert_eq!(record_value(rsa, weak.as_bytes()), Err(Error::WeakKey(1024)));
    assert_eq!(Signer::new("a.b", "s", rsa, weak.as_bytes()).unwrap_err(), Error::WeakKey(1024));
    assert!(matches!(Signer::new("a.b", "s", rsa, b"junk"), Err(Error::BadKey(_))));
    let key = generate(DkimAlgorithm::Ed25519).unwrap();
    let ed = DkimAlgorithm::Ed25519;
    assert!(matches!(Signer::new("a.b", "s", rsa, &key.private_der), Err(Error::BadKey(_))));
    assert!(matches!(Signer::new("a b", "s", ed, &key.private_der), Err(Error::BadName(_))));
    assert!(matches!(Signer::new("a.b", "s;", ed, &key.private_der), Err(Error::BadName(_))));
    let signer = Signer::new("a.b", "s", ed, &key.private_der).unwrap();
    assert_eq!(signer.sign(b"Subject: x\r\n\r\n", NOW), Err(Error::NoFrom));
    assert_eq!(format!("{key:?} {signer:?}"), "Generated(…) Signer(s._domainkey.a.b)");
    assert!(key.record.starts_with("v=DKIM1; k=ed25519; p="));
}
