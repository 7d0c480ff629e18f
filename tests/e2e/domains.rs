//! A sender domain from the first record to the next keys, with a name server that is not ours.

use std::collections::BTreeMap;

use postern_tests::dns::Zone;
use postern_tests::smtp_receiver::Receiver;
use postern_tests::stack::Stack;
use serde_json::{Map, Value, json};

use crate::relay::{dkim_records, verify};

struct World {
    stack: Stack,
    receiver: Receiver,
    zone: Zone,
}

async fn world() -> World {
    let receiver = Receiver::start().await.unwrap();
    let zone = Zone::start().await.unwrap();
    let (servers, relay) = (zone.server(), receiver.relay_url());
    let vars = [
        ("POSTERN_TRANSPORT", "relay"),
        ("POSTERN_RELAY_URL", relay.as_str()),
        ("POSTERN_DNS_SERVERS", servers.as_str()),
        ("POSTERN_SENDING_ADDRESSES", "192.0.2.10,2001:db8::10"),
        ("POSTERN_HELO_NAME", "mx.out.test"),
        ("POSTERN_TRACKING_URL", "https://edge.out.test"),
        ("POSTERN_TRACKING_DOMAINS", "shop.test=https://t.shop.test"),
    ];
    let stack = Stack::start(&vars).await.unwrap();
    World { stack, receiver, zone }
}

impl World {
    /// A call that must succeed; the domain it answers with.
    async fn call(&self, verb: &str, body: Value) -> Value {
        let answer =
            self.stack.post(&format!("/v1/domains/shop.test/{verb}"), &body).await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    }

    /// A call that must be refused; the code and what is said.
    async fn refused(&self, verb: &str, body: Value) -> (String, String) {
        let answer =
            self.stack.post(&format!("/v1/domains/shop.test/{verb}"), &body).await.unwrap();
        assert!((404..=422).contains(&answer.status), "{answer:?}");
        (answer.text("code").to_owned(), answer.text("detail").to_owned())
    }

    /// Sends a mail and says which selectors signed it; every signature must verify.
    async fn signed_by(&self, to: &str, domain: &Value) -> Vec<String> {
        let mail = json!({"from": "hi@shop.test", "to": to, "subject": "Hello", "text": "Hi."});
        let id = self.stack.send(&mail).await.unwrap();
        self.stack.wait_state(&id, "delivered").await.unwrap();
        let mails = self.receiver.mails_to(to).unwrap();
        assert_eq!(mails.len(), 1);
        selectors(&verify(&dkim_records(domain), &mails[0].raw).await)
    }
}

/// The selectors in what the verifier said.
fn selectors(verdict: &str) -> Vec<String> {
    let words = verdict.split_whitespace().filter_map(|word| word.strip_prefix("s="));
    let mut selectors: Vec<_> = words.map(|word| word.trim_end_matches(':').to_owned()).collect();
    selectors.sort();
    selectors
}

/// What the domain says is to be published, and what else a careful owner has.
fn zone_of(domain: &Value) -> Map<String, Value> {
    let mut zone = Map::new();
    let mut add = |name: &str, kind: &str, value: Value| {
        let names = zone.entry(name).or_insert_with(|| json!({}));
        let values = names.as_object_mut().unwrap().entry(kind).or_insert_with(|| json!([]));
        values.as_array_mut().unwrap().push(value);
    };
    for record in domain["dns_records"].as_array().unwrap() {
        let text = |field: &str| record[field].as_str().unwrap();
        // What only the owner of the domain can fill in, is filled in below.
        if !text("value").contains('<') {
            add(text("name"), text("type"), record["value"].clone());
        }
    }
    let left = |purpose: &str| {
        let mut records = domain["dns_records"].as_array().unwrap().iter();
        records.any(|record| record["purpose"] == purpose && record["need"] == "recommended")
    };
    assert!(left("mx") && left("return_path"), "{domain}");
    add("shop.test", "MX", json!([10, "mail.shop.test"]));
    add("mail.shop.test", "A", json!("192.0.2.20"));
    add("edge.out.test", "A", json!("192.0.2.30"));
    add("mx.out.test", "A", json!("192.0.2.10"));
    add("mx.out.test", "AAAA", json!("2001:db8::10"));
    zone
}

/// The status of each check by purpose and selector; whatever is not OK says what to do.
fn statuses(domain: &Value) -> BTreeMap<String, String> {
    let checks = domain["checks"].as_array().unwrap().iter();
    let one = |check: &Value| {
        let text = |field: &str| check[field].as_str().unwrap_or_default().to_owned();
        assert!(check["status"] == "ok" || !text("hint").is_empty(), "{check}");
        let which = if check["purpose"] == "ptr" { text("name") } else { text("selector") };
        (format!("{} {which}", text("purpose")).trim_end().to_owned(), text("status"))
    };
    checks.map(one).collect()
}

fn found(domain: &Value, purpose: &str) -> Value {
    let mut checks = domain["checks"].as_array().unwrap().iter();
    checks.find(|check| check["purpose"] == purpose).unwrap().clone()
}

/// Selector and state of each key.
fn states(domain: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let keys = domain["dkim_keys"].as_array().unwrap().iter();
    keys.map(|key| (text(&key["selector"]), text(&key["state"]))).collect()
}

fn expected(rows: &[(&str, &str)]) -> Vec<(String, String)> {
    rows.iter().map(|(name, word)| ((*name).to_owned(), (*word).to_owned())).collect()
}

const PTR: [&str; 2] = [
    "10.2.0.192.in-addr.arpa",
    "0.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa",
];

#[tokio::test]
async fn a_domain_is_checked_until_everything_is_published() {
    let world = world().await;
    let made = json!({"name": "shop.test", "selector": "one"});
    let made = world.stack.post("/v1/domains", &made).await.unwrap().body;
    assert_eq!((&made["checks"], &made["last_check_time"]), (&json!([]), &Value::Null), "{made}");
    let nothing = world.call("check", json!({})).await;
    let ptr = PTR.map(|name| format!("ptr {name}"));
    let all = [
        ("dkim onee", "missing"),
        ("dkim oner", "missing"),
        ("dmarc", "missing"),
        ("mta_sts", "missing"),
        ("mx", "warning"),
        (&ptr[1], "missing"),
        (&ptr[0], "missing"),
        ("return_path", "warning"),
        ("spf", "missing"),
        ("tls_rpt", "missing"),
        ("tracking", "missing"),
    ];
    assert_eq!(statuses(&nothing).into_iter().collect::<Vec<_>>(), expected(&all));
    let failing = world.stack.operator(&["domains", "check", "shop.test"]).await.unwrap();
    assert_eq!(failing.status.code(), Some(1), "{failing:?}");
    let said = String::from_utf8(failing.stdout).unwrap();
    assert!(said.contains("missing  required     spf"), "{said}");

    world.zone.publish(&zone_of(&made).into()).unwrap();
    let published = world.call("check", json!({})).await;
    assert!(statuses(&published).values().all(|status| status == "ok"), "{published}");
    assert!(found(&published, "dmarc")["hint"].as_str().unwrap().contains("p=quarantine"));
    let shown = world.stack.get("/v1/domains/shop.test").await.unwrap().body;
    assert_eq!(shown["checks"], published["checks"]);
    assert_eq!(shown["last_check_time"], published["last_check_time"]);
    assert_eq!(shown["etag"], made["etag"], "a check is no change");
    let passing = world.stack.operator(&["domains", "check", "shop.test"]).await.unwrap();
    assert!(passing.status.success(), "{passing:?}");

    // Nobody answers: what was good stays good, and says since when.
    world.zone.stop().await.unwrap();
    let silent = world.stack.post("/v1/domains/shop.test/check", &json!({})).await.unwrap().body;
    assert_eq!(statuses(&silent), statuses(&published), "{silent}");
    for check in silent["checks"].as_array().unwrap() {
        assert_ne!(check["error"], Value::Null, "{check}");
        assert!(check["check_time"].as_str() < silent["last_check_time"].as_str(), "{check}");
    }
}

#[tokio::test]
async fn what_is_wrong_is_found() {
    let world = world().await;
    let made = json!({"name": "shop.test", "selector": "one"});
    let made = world.stack.post("/v1/domains", &made).await.unwrap().body;
    let right = zone_of(&made);
    // What one name says instead, and which check says so.
    let tree = |count: usize| {
        let include = |n: usize| format!("include:i{n}.shop.test ");
        format!(
            "v=spf1 {}ip4:192.0.2.10 ip6:2001:db8::10 ~all",
            (0..count).map(include).collect::<String>()
        )
    };
    let cases = [
        ("shop.test", json!({"TXT": ["v=spf1 ip4:192.0.2.10 ~all"]}), "spf", "wrong"),
        ("shop.test", json!({"TXT": ["v=spf1 ~all", "v=spf1 -all"]}), "spf", "wrong"),
        ("shop.test", json!({"TXT": ["v=spf1 include:mx.out.test ~all"]}), "spf", "wrong"),
        ("shop.test", json!({"TXT": ["v=spf1 include:broken.test ~all"]}), "spf", "unknown"),
        (
            "shop.test",
            json!({"TXT": ["v=spf1 mx:i0.shop.test a:broken.test ~all"]}),
            "spf",
            "unknown",
        ),
        ("broken.test", json!({}), "spf", "ok"),
        ("shop.test", json!({"TXT": ["v=spf1 include:broken.test ~all"]}), "spf", "ok"),
        ("shop.test", json!({"TXT": ["v=spf1 a:mx.out.test ~all"]}), "spf", "ok"),
        ("shop.test", json!({"TXT": ["v=spf1 include:i0.shop.test ~all"]}), "spf", "ok"),
        ("shop.test", json!({"TXT": ["v=spf1 +all"]}), "spf", "warning"),
        ("shop.test", json!({"TXT": [tree(10)]}), "spf", "ok"),
        ("shop.test", json!({"TXT": [tree(11)]}), "spf", "wrong"),
        ("oner._domainkey.shop.test", json!({"TXT": ["v=DKIM1; p="]}), "dkim oner", "wrong"),
        (
            "_dmarc.shop.test",
            json!({"TXT": ["v=DMARC1; p=none", "v=DMARC1; p=none"]}),
            "dmarc",
            "wrong",
        ),
        ("t.shop.test", json!({"A": ["192.0.2.99"]}), "tracking", "warning"),
        ("shop.test", json!({"MX": [[0, ""]]}), "mx", "warning"),
        ("mail.shop.test", json!({}), "return_path", "warning"),
        (PTR[0], json!({"PTR": ["other.test"]}), &format!("ptr {}", PTR[0]), "wrong"),
        ("_mta-sts.shop.test", json!({"TXT": ["v=STSv1"]}), "mta_sts", "wrong"),
    ];
    for (name, says, check, status) in cases {
        let mut zone = right.clone();
        for n in 0..11 {
            // The first includes match nobody, so that every one of them is looked at.
            let policy = if says["TXT"][0].as_str().is_some_and(|text| text.contains("i1.")) {
                "v=spf1 ip4:198.51.100.1 -all"
            } else {
                "v=spf1 ip4:192.0.2.10/31 ip6:2001:db8::/64 -all"
            };
            zone.insert(format!("i{n}.shop.test"), json!({"TXT": [policy]}));
        }
        zone.insert("broken.test".to_owned(), json!({"SERVFAIL": []}));
        zone.insert(name.to_owned(), says.clone());
        world.zone.publish(&zone.into()).unwrap();
        let checked = world.call("check", json!({})).await;
        assert_eq!(statuses(&checked)[check], status, "{says} {checked}");
    }
}

#[tokio::test]
async fn keys_take_turns_and_the_old_ones_stay_published() {
    let world = world().await;
    let made = json!({"name": "shop.test", "selector": "one"});
    let made = world.stack.post("/v1/domains", &made).await.unwrap().body;
    world.zone.publish(&zone_of(&made).into()).unwrap();
    let (old, new) = (["onee", "oner"], ["twoe", "twor"]);
    assert_eq!(world.signed_by("a@good.test", &made).await, old);

    let dry = world.call("rotate?validate_only=true", json!({"selector": "two"})).await;
    assert_eq!(dry["dkim_keys"].as_array().unwrap().len(), 4, "{dry}");
    let taken = world.refused("rotate", json!({"selector": "one"})).await;
    assert_eq!(taken.0, "dkim_keys_exists");
    let rotated = world.call("rotate", json!({"selector": "two", "overlap": "172800s"})).await;
    let pending =
        [("onee", "active"), ("oner", "active"), ("twoe", "pending"), ("twor", "pending")];
    assert_eq!(states(&rotated), expected(&pending));
    assert_ne!(rotated["etag"], made["etag"]);
    assert_eq!(world.refused("rotate", json!({})).await.0, "dkim_keys_pending");
    let stale = json!({"replace_pending": true, "etag": made["etag"]});
    assert_eq!(world.refused("rotate", stale).await.0, "etag_mismatch");
    assert_eq!(world.refused("activate", json!({"selector": "x"})).await.0, "dkim_keys_not_found");

    // Not published yet: refused with what to publish, and the old keys go on.
    let (code, said) = world.refused("activate", json!({})).await;
    assert_eq!(code, "dkim_not_published", "{said}");
    for record in &dkim_records(&rotated)[2..] {
        let (name, value) = record.split_once('=').unwrap();
        assert!(said.contains(name) && said.contains(value), "{said}");
    }
    assert_eq!(world.signed_by("b@good.test", &rotated).await, old);

    world.zone.publish(&zone_of(&rotated).into()).unwrap();
    let active = world.call("activate", json!({"selector": "two"})).await;
    let retired =
        [("onee", "retired"), ("oner", "retired"), ("twoe", "active"), ("twor", "active")];
    assert_eq!(states(&active), expected(&retired));
    let until: jiff::Timestamp =
        active["dkim_keys"][0]["remove_time"].as_str().unwrap().parse().unwrap();
    let hours = until.duration_since(jiff::Timestamp::now()).as_hours();
    assert!((46..=48).contains(&hours), "{active}");
    assert_eq!(world.signed_by("c@good.test", &active).await, new);
    let again = world.call("activate", json!({"selector": "two"})).await;
    assert_eq!(again["etag"], active["etag"], "it is active already");

    // Back to the retired keys, without asking the DNS.
    let forced = ["domains", "activate", "shop.test", "--selector", "one", "--force"];
    let back = world.stack.operate(&forced).await.unwrap();
    let swapped =
        [("onee", "active"), ("oner", "active"), ("twoe", "retired"), ("twor", "retired")];
    assert_eq!(states(&back), expected(&swapped));
    assert_eq!(world.signed_by("d@good.test", &active).await, old);
}

#[tokio::test]
async fn mail_is_signed_by_one_pair_at_every_moment_of_a_rotation() {
    let world = world().await;
    let made = json!({"name": "shop.test", "selector": "k0"});
    let made = world.stack.post("/v1/domains", &made).await.unwrap();
    assert_eq!(made.status, 201, "{made:?}");
    let sending = async {
        for n in 0..60 {
            let to = format!("ann{n}@good.test");
            let mail = json!({"from": "hi@shop.test", "to": to, "subject": "Hello", "text": "Hi."});
            let id = world.stack.send(&mail).await.unwrap();
            world.stack.wait_state(&id, "delivered").await.unwrap();
        }
    };
    let rotating = async {
        for n in 1..=4 {
            let name = format!("k{n}");
            let rotate = ["domains", "rotate", "shop.test", "--selector", &name];
            let rotated = world.stack.operate(&rotate).await.unwrap();
            assert!(states(&rotated).contains(&(format!("{name}r"), "pending".to_owned())));
            world.call("activate", json!({"selector": name, "force": true})).await;
        }
    };
    tokio::join!(sending, rotating);
    let domain = world.stack.get("/v1/domains/shop.test").await.unwrap().body;
    let records = dkim_records(&domain);
    let mails = world.receiver.mails().unwrap();
    assert_eq!(mails.len(), 60);
    let mut pairs = BTreeMap::<String, usize>::new();
    for mail in &mails {
        let by = selectors(&verify(&records, &mail.raw).await);
        let [one, other] = by.as_slice() else { panic!("signed by {by:?}") };
        assert_eq!(one.trim_end_matches('e'), other.trim_end_matches('r'));
        *pairs.entry(one.clone()).or_default() += 1;
    }
    assert!(pairs.len() > 1, "mail was sent during the rotations: {pairs:?}");
}
