//! Classification, against what large receivers say and what the old system took it for; and the
//! configuration.

use postern_smtp_wire::reply::Enhanced;

use super::super::classify::classify;
use super::super::config::{Login, TlsPolicy};
use super::*;
use crate::model::delivery::Phase;

/// The category of a whole reply line.
fn judge(line: &str, phase: Phase) -> (&'static str, bool) {
    let (code, text) = line.split_once(' ').unwrap();
    let (enhanced, text) = match Enhanced::split_from(text) {
        Some((enhanced, text)) => (Some(enhanced), text),
        None => (None, text),
    };
    let verdict = classify(code.parse().unwrap(), enhanced, text, phase);
    (verdict.category.name(), verdict.permanent)
}

/// What the old system took for something else, and its own test vectors.
const OLD: &[(&str, &str)] = &[
    // The old system's mistakes.
    ("550 5.1.1 recipient rejected user unknown", "unknown_user"),
    ("451 4.3.0 id 14294 busy", "other"),
    ("550 rejected, id=4x552y", "other"),
    ("550 Mailbox unavailable", "unknown_user"),
    ("550 5.7.23 The message was rejected because of SPF violation", "auth_failed"),
    ("550 SPF check failed for 127.0.0.1", "auth_failed"),
    // Its test vectors.
    ("421 4.7.0 receiving mail at a rate", "rate_limited"),
    ("421 4.7.0 Temporary problem, try again later", "rate_limited"),
    ("550 5.2.1 mailbox is full", "mailbox_full"),
    ("550 5.1.1 address does not exist", "unknown_user"),
    ("550 the account does not exist", "unknown_user"),
    ("550 5.7.1 SPF record for shop.test does not exist", "auth_failed"),
    ("550 DMARC policy does not exist", "auth_failed"),
    ("550 5.7.1 Sender domain does not exist", "dns_failure"),
    ("550 5.7.1 Sender domain listed in Spamhaus DBL", "reputation"),
    ("451 4.7.1 sender domain rate limited, try again later", "rate_limited"),
    ("550 5.7.1 SPF check failed for sender domain", "auth_failed"),
    ("550 mailbox unavailable; sender verify failed", "policy"),
    ("550 5.1.0 <hi@shop.test>: Sender address rejected: User unknown", "policy"),
    ("550 domain does not exist", "dns_failure"),
    ("550 5.7.1 message has been blocked", "spam_content"),
    ("552 5.2.2 quota", "mailbox_full"),
    ("550 5.7.26 Unauthenticated email is not accepted", "auth_failed"),
];

/// What large receivers and common servers say.
const LARGE: &[(&str, &str)] = &[
    ("450 4.2.1 The user you are trying to contact is receiving mail at a rate", "rate_limited"),
    ("550 5.2.1 The email account that you tried to reach is disabled", "inactive"),
    ("552 5.2.2 The email account that you tried to reach is over quota", "mailbox_full"),
    ("550 5.7.1 Our system has detected that this message is likely spam", "spam_content"),
    ("550 5.7.1 Unfortunately, messages from [192.0.2.1] weren't sent. (S3140)", "reputation"),
    ("550 5.7.606 Access denied, banned sending IP [192.0.2.1]", "reputation"),
    ("451 4.7.650 The mail server has been temporarily rate limited", "rate_limited"),
    ("550 5.4.1 Recipient address rejected: Access denied", "connection"),
    ("554 5.7.1 Service unavailable; blocked using zen.spamhaus.org", "reputation"),
    ("550 5.7.25 no PTR record", "reputation"),
    ("554 5.7.1 <b@x>: Relay access denied", "relay_denied"),
    ("450 4.7.1 <b@x>: Recipient address rejected: Greylisted", "rate_limited"),
    ("550 No such user here", "unknown_user"),
    ("554 delivery error: This user doesn't have a yahoo.com account", "unknown_user"),
    ("552 5.3.4 Message size exceeds fixed limit", "too_large"),
    ("550 5.1.10 null MX", "dns_failure"),
    ("530 5.7.0 Must issue a STARTTLS command first", "tls"),
    ("550 5.7.1 rejected by policy", "policy"),
    ("503 bad sequence of commands", "protocol"),
    ("550 spamless words like antispamology and rblx do not count", "other"),
    ("550 user@blacklist.example is fine", "reputation"),
];

#[test]
fn replies_of_recipients_servers() {
    for (line, expected) in OLD.iter().chain(LARGE) {
        let permanent = line.starts_with('5');
        assert_eq!(judge(line, Phase::Rcpt), (*expected, permanent), "{line}");
    }
}

#[test]
fn the_phase_decides_where_the_words_do_not() {
    assert_eq!(judge("552 no", Phase::Rcpt).0, "mailbox_full");
    assert_eq!(judge("552 no", Phase::Data).0, "too_large");
    assert_eq!(judge("550 mailbox unavailable", Phase::Data).0, "other");
    assert_eq!(judge("421 bye", Phase::Connect), ("connection", false));
    assert_eq!(judge("250 what", Phase::Data), ("protocol", false));
    assert_eq!(judge("354 what", Phase::Mail), ("protocol", false));
}

#[test]
fn relay_urls() {
    let relay = |url: &str| config(&[("POSTERN_RELAY_URL", url)]).relay.unwrap();
    let plain = relay("smtp://mx.example");
    assert_eq!(
        (plain.host.as_str(), plain.port, plain.tls),
        ("mx.example", 25, TlsPolicy::Opportunistic)
    );
    let login = relay("smtp://me%40x.y:p%2F%C3%BC@[::1]:587/");
    assert_eq!((login.host.as_str(), login.port, login.tls), ("::1", 587, TlsPolicy::Required));
    assert_eq!(login.login, Some(Login { user: "me@x.y".into(), password: "p/ü".into() }));
    assert_eq!((relay("smtps://h").port, relay("smtps://h").tls), (465, TlsPolicy::Implicit));
    assert_eq!(relay("smtp://h:26?tls=off").tls, TlsPolicy::Off);
    for bad in [
        "h",
        "http://h",
        "smtp://",
        "smtp://h:x",
        "smtp://h:99999",
        "smtp://u:secret@h?tls=maybe",
        "smtp://secret@h",
        "smtp://u:secret%zz@h",
        "smtps://u:secret@h?tls=off",
        "smtp://u:secret@[::1",
        "smtp://u:secret@h h",
    ] {
        let error = TransportConfig::from_env(&Env::from([("POSTERN_RELAY_URL", bad)]));
        let error = error.unwrap_err().to_string();
        assert!(error.starts_with("POSTERN_RELAY_URL: "), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
    assert!(
        !format!("{:?}", config(&[("POSTERN_RELAY_URL", "smtp://u:secret@h")])).contains("secret")
    );
}

#[test]
fn other_settings() {
    let config = config(&[
        ("POSTERN_DNS_SERVERS", "192.0.2.1, 192.0.2.2:5353, [2001:db8::1]:53"),
        ("POSTERN_SENDING_ADDRESSES", "192.0.2.10, 2001:db8::10"),
    ]);
    assert_eq!(config.dns_servers.len(), 3);
    assert_eq!(config.dns_servers[0].port(), 53);
    let addresses: [std::net::IpAddr; 2] =
        ["192.0.2.10", "2001:db8::10"].map(|text| text.parse().unwrap());
    assert_eq!(config.sending_addresses, addresses);
    for (name, bad) in [
        ("POSTERN_HELO_NAME", "a b"),
        ("POSTERN_DNS_SERVERS", "dns.example"),
        ("POSTERN_SENDING_ADDRESSES", "192.0.2.0/24"),
        ("POSTERN_SENDING_ADDRESSES", &["192.0.2.1"; 33].join(",")),
        ("POSTERN_MX_PORT", "smtp"),
    ] {
        let error = TransportConfig::from_env(&Env::from([(name, bad)])).unwrap_err();
        assert_eq!(error.name, name);
    }
}
