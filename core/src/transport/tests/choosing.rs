//! Which transport a mail gets.

use std::sync::Arc;

use async_trait::async_trait;
use uuid::Uuid;

use super::*;
use crate::model::content::Mailbox;
use crate::model::message::{Claimed, Priority};
use crate::transport::{TransportChoice, Transports};

struct Inbox;

#[async_trait]
impl Transport for Inbox {
    async fn deliver(&self, _mail: Mail) -> Outcome {
        Outcome::Delivered { reply: Reply::default() }
    }

    fn lane(&self, _recipient_domain: &str) -> String {
        "inbox".to_owned()
    }
}

fn env(vars: &[(&str, &str)]) -> Env {
    vars.iter().fold(Env::default(), |env, (name, value)| env.with(name, *value))
}

fn problem(vars: &[(&str, &str)]) -> String {
    TransportChoice::from_env(&env(vars)).unwrap_err().to_string()
}

fn delivery(sender: &str, test: bool) -> Claimed {
    Claimed {
        id: RecipientId::generate(),
        message_id: MessageId::generate(),
        content_id: Uuid::nil(),
        mailbox: Mailbox { email: "b@example.net".to_owned(), name: String::new() },
        variables: String::new(),
        campaign_id: String::new(),
        priority: Priority::Normal,
        attempts: 0,
        date_ms: 0,
        expire_ms: i64::MAX,
        test,
        rfc_message_id: String::new(),
        sender: sender.to_owned(),
        suppressed: None,
    }
}

#[tokio::test]
async fn a_sender_domain_goes_its_own_way() {
    let vars = [
        ("POSTERN_TRANSPORT_DOMAINS", "a.example=relay, b.example=mx,münchen.example=relay"),
        ("POSTERN_RELAY_URL", "smtp://relay.example.org"),
    ];
    let choice = TransportChoice::from_env(&env(&vars)).unwrap();
    assert!(!choice.is_local());
    let transports =
        Transports::new(&choice, &config(&vars[1..]), Arc::new(Inbox), None, 1).unwrap();
    let lane = |sender, test| transports.of(&delivery(sender, test)).lane("example.net");
    assert_eq!(lane("x@a.example", false), "relay:relay.example.org:25");
    assert_eq!(lane("x@A.example", false), "relay:relay.example.org:25");
    assert_eq!(lane("x@xn--mnchen-3ya.example", false), "relay:relay.example.org:25");
    assert_eq!(lane("x@b.example", false), "example.net");
    assert_eq!(lane("x@other.example", false), "inbox", "the default");
    assert_eq!(lane("x@sub.a.example", false), "inbox", "a subdomain is another domain");
    assert_eq!(lane("x@a.example", true), "inbox", "mail of test keys never leaves");
}

#[test]
fn mistakes_are_named() {
    let domains = |value| [("POSTERN_TRANSPORT_DOMAINS", value)];
    let cases = [
        ("a.example", "'a.example' is not domain=transport"),
        ("a.example=smtp", "'smtp' is none of sink, relay, mx"),
        ("localhost=mx", "needs a full domain name"),
        ("a.example=mx,A.example=sink", "a second time"),
    ];
    for (value, expected) in cases {
        let said = problem(&domains(value));
        assert!(said.starts_with("POSTERN_TRANSPORT_DOMAINS: "), "{said}");
        assert!(said.contains(expected), "{said}");
    }
    assert_eq!(problem(&domains("a.example=relay")), "POSTERN_RELAY_URL: is not set");
    assert!(problem(&[("POSTERN_TRANSPORT", "pigeon")]).contains("'pigeon' is none of"));
}

#[test]
fn what_was_chosen_is_shown() {
    let choice = TransportChoice::from_env(&env(&[])).unwrap();
    assert_eq!((choice.to_string(), choice.is_local()), ("sink".to_owned(), true));
    let vars = [("POSTERN_TRANSPORT_DOMAINS", "b.example=mx,a.example=sink")];
    let choice = TransportChoice::from_env(&env(&vars)).unwrap();
    assert_eq!(choice.to_string(), "sink, from a.example: sink, from b.example: mx");
}
