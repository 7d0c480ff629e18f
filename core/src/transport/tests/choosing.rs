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
        trace: None,
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
    let settings = in_force(&[]);
    assert!(!choice.is_local(&settings.now()));
    let (config, sink) = (config(&vars[1..]), Arc::new(Inbox));
    let transports = Transports::new(choice, &config, settings.clone(), sink, None, 1).unwrap();
    let lane = |sender, test| transports.of(&delivery(sender, test)).lane("example.net");
    assert_eq!(lane("x@a.example", false), "relay:relay.example.org:25");
    assert_eq!(lane("x@A.example", false), "relay:relay.example.org:25");
    assert_eq!(lane("x@xn--mnchen-3ya.example", false), "relay:relay.example.org:25");
    assert_eq!(lane("x@b.example", false), "example.net");
    assert_eq!(lane("x@other.example", false), "inbox", "the default");
    assert_eq!(lane("x@sub.a.example", false), "inbox", "a subdomain is another domain");
    assert_eq!(lane("x@a.example", true), "inbox", "mail of test keys never leaves");
    settings.replace(in_force(&[("POSTERN_TRANSPORT", "mx")]).now().as_ref().clone());
    assert_eq!(lane("x@other.example", false), "example.net", "the setting has changed");
    assert_eq!(lane("x@a.example", false), "relay:relay.example.org:25");
    settings.replace(in_force(&[("POSTERN_TRANSPORT", "postal")]).now().as_ref().clone());
    let waiting = transports.of(&delivery("x@other.example", false)).admit();
    assert!(waiting.is_err(), "what is not set up here lets mail wait");
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
    let (now, later) = (in_force(&[]).now(), in_force(&[("POSTERN_TRANSPORT", "mx")]).now());
    assert_eq!((choice.describe(&now).as_str(), choice.is_local(&now)), ("sink", true));
    assert_eq!((choice.describe(&later).as_str(), choice.is_local(&later)), ("mx", false));
    assert_eq!((choice.problem(0), choice.problem(2)), (None, None));
    assert!(choice.problem(1).unwrap().contains("set POSTERN_RELAY_URL"));
    assert!(choice.problem(3).unwrap().contains("set POSTERN_POSTAL_URL"));
    let vars = [("POSTERN_TRANSPORT_DOMAINS", "b.example=mx,a.example=sink")];
    let choice = TransportChoice::from_env(&env(&vars)).unwrap();
    assert_eq!(choice.describe(&now), "sink, from a.example: sink, from b.example: mx");
}
