//! What is to be published, and the verdicts on what is.

use std::collections::BTreeMap;
use std::sync::Arc;

use mail_auth::SpfResult::{Fail, Neutral, None as NoRecord, Pass, PermError, SoftFail, TempError};
use postern_proto::ids::DomainId;
use proptest::prelude::*;
use uuid::Uuid;

use super::judge::{self, Asked, Evaluation, Verdict};
use super::records::{self, Setup};
use super::*;
use crate::model::domain::{DkimAlgorithm, DkimKey};
use crate::track::Tracker;
use crate::transport::dns::MxRecord;

const KEY: &str = "v=DKIM1; k=rsa; p=TUlJQklqQU5CZ2txaGtpRzl3MEI=";

fn key(selector: &str, algorithm: DkimAlgorithm, state: KeyState) -> DkimKey {
    DkimKey {
        selector: selector.to_owned(),
        algorithm,
        private_der: Vec::new(),
        record: KEY.to_owned(),
        create_ms: 7,
        state,
        overlap_ms: 0,
        remove_ms: None,
    }
}

fn domain() -> Domain {
    Domain {
        id: DomainId::generate(),
        name: "shop.example".to_owned(),
        keys: vec![
            key("ar", DkimAlgorithm::Rsa, KeyState::Active),
            key("be", DkimAlgorithm::Ed25519, KeyState::Pending),
            key("cr", DkimAlgorithm::Rsa, KeyState::Retired),
        ],
        create_ms: 7,
        change_id: Uuid::nil(),
        checks: Vec::new(),
        check_ms: None,
    }
}

fn setup(addresses: &[&str], edges: &[(&str, &str)]) -> Setup {
    let by_sender = |(sender, url): &(&str, &str)| ((*sender).to_owned(), (*url).to_owned());
    let secret = "1:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    Setup {
        sending_addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
        helo_name: "mx.out.example".to_owned(),
        tracker: Some(Arc::new(Tracker {
            keys: secret.parse().unwrap(),
            base: "https://edge.out.example".to_owned(),
            is_here_only: false,
            by_sender: edges.iter().map(by_sender).collect::<BTreeMap<_, _>>(),
        })),
    }
}

fn published(setup: &Setup) -> Vec<(&'static str, String, String, &'static str, Need)> {
    let records = records::all(&domain(), setup).into_iter();
    records.map(|r| (r.kind, r.name, r.value, r.purpose.name(), r.need)).collect()
}

fn texts(records: &[&str]) -> Vec<String> {
    records.iter().map(|record| (*record).to_owned()).collect()
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn the_owner_is_told_that_bounces_need_a_mail_server() {
    let all = records::to_publish(&domain(), &Setup::default());
    assert!(matches!(&all[..], [.., mx, a] if (mx.kind, a.kind) == ("MX", "A")));
}

#[test]
fn everything_to_publish_is_shown() {
    let setup = setup(
        &["198.51.100.7", "2001:db8::7"],
        &[
            ("shop.example", "https://t.shop.example/x"),
            ("other.example", "https://t.other.example"),
        ],
    );
    let nibbles = "7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa";
    let row = |kind, name: &str, value: &str, purpose, need| {
        (kind, name.to_owned(), value.to_owned(), purpose, need)
    };
    let spf = "v=spf1 ip4:198.51.100.7 ip6:2001:db8::7 ~all";
    let dmarc = "v=DMARC1; p=none; rua=mailto:dmarc@shop.example";
    let reports = "v=TLSRPTv1; rua=mailto:tls-reports@shop.example";
    use Need::{Optional, Recommended, Required};
    let expected = [
        row("TXT", "ar._domainkey.shop.example", KEY, "dkim", Required),
        row("TXT", "be._domainkey.shop.example", KEY, "dkim", Recommended),
        row("TXT", "cr._domainkey.shop.example", KEY, "dkim", Recommended),
        row("TXT", "shop.example", spf, "spf", Required),
        row("TXT", "_dmarc.shop.example", dmarc, "dmarc", Required),
        row("CNAME", "t.shop.example", "edge.out.example", "tracking", Required),
        row("PTR", "7.100.51.198.in-addr.arpa", "mx.out.example", "ptr", Required),
        row("PTR", nibbles, "mx.out.example", "ptr", Required),
        row("TXT", "_mta-sts.shop.example", "v=STSv1; id=7", "mta_sts", Optional),
        row("TXT", "_smtp._tls.shop.example", reports, "tls_rpt", Optional),
    ];
    assert_eq!(published(&setup), expected);
}

#[test]
fn what_is_not_known_is_said_or_left_out() {
    let mut bare = setup(&[], &[("shop.example", "https://t.elsewhere.example")]);
    let of = |setup: &Setup, purpose| {
        published(setup).into_iter().filter(|row| row.3 == purpose).collect::<Vec<_>>()
    };
    assert_eq!(of(&bare, "spf")[0].2, "v=spf1 ip4:<sending address> ~all");
    assert!(of(&bare, "tracking").is_empty(), "a name that is not under the domain");
    assert!(of(&bare, "ptr").is_empty());
    bare.tracker = None;
    assert!(of(&bare, "tracking").is_empty());
    let mut nameless = setup(&["198.51.100.7"], &[]);
    nameless.helo_name = "localhost".to_owned();
    assert_eq!(of(&nameless, "ptr")[0].2, "<name of the server>");
}

/// The status, and that whoever has something to do is told what.
fn status(verdict: Verdict) -> CheckStatus {
    let told = !verdict.hint.is_empty() || verdict.status == CheckStatus::Ok;
    assert!(told, "{verdict:?}");
    assert_eq!(verdict.status == CheckStatus::Unknown, !verdict.error.is_empty(), "{verdict:?}");
    verdict.status
}

use CheckStatus::{Missing, Ok as Good, Unknown, Warning, Wrong};

#[test]
fn spf_is_one_record_that_authorises_our_addresses_and_not_everybody() {
    let judge = |records: &[&str], stranger, ours: &[mail_auth::SpfResult]| {
        let ours = ours.iter().map(|result| (address("198.51.100.7"), *result)).collect();
        let evaluation = Evaluation { stranger: Some(stranger), ours };
        status(judge::spf(&texts(records), &evaluation, "v=spf1 x ~all"))
    };
    let one = ["other", "v=spf1 ip4:198.51.100.7 ~all"];
    assert_eq!(judge(&one, SoftFail, &[Pass, Pass]), Good);
    assert_eq!(judge(&["V=SPF1 ~all"], SoftFail, &[Pass]), Good);
    assert_eq!(judge(&[], SoftFail, &[]), Missing);
    assert_eq!(judge(&["v=spf10 -all", "x v=spf1"], SoftFail, &[Pass]), Missing);
    assert_eq!(judge(&["v=spf1 -all", "v=spf1"], SoftFail, &[Pass]), Wrong);
    for refused in [Fail, SoftFail, Neutral] {
        assert_eq!(judge(&one, SoftFail, &[Pass, refused]), Wrong, "{refused:?}");
    }
    assert_eq!(judge(&one, SoftFail, &[PermError]), Wrong);
    assert_eq!(judge(&one, PermError, &[Pass]), Wrong, "for others it is broken");
    assert_eq!(judge(&one, SoftFail, &[TempError]), Unknown);
    assert_eq!(judge(&one, NoRecord, &[Pass]), Unknown);
    assert_eq!(judge(&one, Pass, &[Pass]), Warning);
    assert_eq!(judge(&one, SoftFail, &[]), Warning, "nobody told our addresses");
}

#[test]
fn what_an_spf_record_refers_to() {
    use super::references::Reference::{Addresses, Mail, Policy};
    let record = "v=spf1 +a -MX ?a:Other.example/24//64 mx:mx.example. ip4:192.0.2.1/24 a/24 \
                  include:in.example include: exists:%{i}.example a:%{d} redirect=to.example all";
    let name = |text: &str| text.to_owned();
    let expected = [
        Addresses(name("shop.example")),
        Mail(name("shop.example")),
        Addresses(name("other.example")),
        Mail(name("mx.example")),
        Addresses(name("shop.example")),
        Policy(name("in.example")),
        Policy(name("to.example")),
    ];
    assert_eq!(super::references::references(record, "shop.example"), expected);
}

#[test]
fn a_dkim_record_must_hold_the_key() {
    let judge = |records: &[&str]| status(judge::dkim(&texts(records), KEY));
    let p = "TUlJQklqQU5CZ2txaGtpRzl3MEI=";
    assert_eq!(judge(&[KEY]), Good);
    assert_eq!(judge(&[&format!("p={p}")]), Good, "everything else has defaults");
    assert_eq!(
        judge(&["v=DKIM1;k=rsa; s=email; h=sha1:sha256;\tp=TUlJQklq QU5CZ2\t txaGtpRzl3MEI = ;"]),
        Good
    );
    assert_eq!(judge(&[]), Missing);
    assert_eq!(judge(&["v=DKIM1; p="]), Wrong, "revoked");
    assert_eq!(judge(&["hello"]), Wrong);
    assert_eq!(judge(&["v=DKIM1; k=rsa; p=TUlJ"]), Wrong, "cut short");
    assert_eq!(judge(&[KEY, "other"]), Wrong);
    for wrong in ["k=ed25519", "v=DKIM2", "h=sha1", "s=tlsrpt"] {
        assert_eq!(judge(&[&format!("{wrong}; p={p}")]), Wrong, "{wrong}");
    }
    assert_eq!(judge(&[&format!("{KEY}; t=y:s")]), Warning);
}

#[test]
fn dmarc_may_stand_above_the_domain() {
    let names = dmarc_names("news.shop.example");
    assert_eq!(names, ["_dmarc.news.shop.example", "_dmarc.shop.example"]);
    assert_eq!(dmarc_names("example"), ["_dmarc.example"]);
    assert_eq!(dmarc_names(&"a.".repeat(100)).len(), DMARC_NAMES_MAX);
    let judge = |answers: &[Result<&[&str], &str>]| {
        let asked = |answer: &Result<&[&str], &str>| {
            let answer: Asked<String> = answer.map(texts).map_err(str::to_owned);
            ("_dmarc.x".to_owned(), answer)
        };
        judge::dmarc(&answers.iter().map(asked).collect::<Vec<_>>())
    };
    let reject = "v=DMARC1; p=reject; rua=mailto:a@shop.example";
    assert_eq!(judge(&[Ok(&[reject])]), Verdict::ok(format!("_dmarc.x: {reject}")));
    let none = judge(&[Ok(&["x"]), Ok(&["v=DMARC1; p=none"])]);
    assert_eq!(none.status, Good);
    assert!(none.hint.contains("quarantine"), "{none:?}");
    let below = judge(&[Ok(&[]), Ok(&["v=DMARC1; p=none; sp=reject"])]);
    assert_eq!((below.status, below.hint.as_str()), (Good, ""));
    assert_eq!(status(judge(&[Ok(&[]), Ok(&[])])), Missing);
    assert_eq!(status(judge(&[Ok(&[reject, "v=DMARC1; p=none"])])), Wrong);
    assert_eq!(status(judge(&[Ok(&["v=DMARC1; p=maybe"])])), Wrong);
    assert_eq!(status(judge(&[Ok(&["v=DMARC1"])])), Wrong);
    assert_eq!(status(judge(&[Err("timed out"), Ok(&[reject])])), Unknown);
    assert_eq!(status(judge(&[Ok(&[reject]), Err("timed out")])), Good, "never asked for");
}

#[test]
fn mail_comes_back() {
    let mx = |preference, host: &str| MxRecord { preference, host: host.to_owned() };
    assert_eq!(status(judge::mx(&[mx(10, "mx.shop.example")])), Good);
    assert_eq!(status(judge::mx(&[])), Warning);
    assert_eq!(status(judge::mx(&[mx(0, "")])), Warning);
    let judge = |hosts: &[Asked<IpAddr>]| {
        let named = |answer: &Asked<IpAddr>| ("mx.example".to_owned(), answer.clone());
        status(judge::return_path(&hosts.iter().map(named).collect::<Vec<_>>()))
    };
    let (there, nowhere) = (Ok(vec![address("192.0.2.5")]), Ok(vec![]));
    let silent = || Err("timed out".to_owned());
    assert_eq!(judge(&[silent(), there]), Good);
    assert_eq!(judge(std::slice::from_ref(&nowhere)), Warning);
    assert_eq!(judge(&[nowhere, silent()]), Unknown);
    assert_eq!(judge(&[]), Warning);
}

#[test]
fn a_tracking_name_leads_to_the_edge() {
    let (edge, elsewhere) = ([address("192.0.2.5")], [address("192.0.2.6")]);
    let judge = |alias: &[&str], own: &[IpAddr]| {
        status(judge::tracking("edge.example", &texts(alias), own, &edge))
    };
    assert_eq!(judge(&["edge.example"], &edge), Good);
    assert_eq!(judge(&[], &edge), Good);
    assert_eq!(judge(&[], &[]), Missing);
    assert_eq!(judge(&["edge.example"], &[]), Wrong);
    assert_eq!(judge(&["cdn.example"], &elsewhere), Warning);
}

#[test]
fn a_sending_address_has_a_name_that_leads_back() {
    let ours = address("192.0.2.5");
    let judge = |names: &[(&str, Asked<IpAddr>)]| {
        let names = names.iter().map(|(name, answer)| ((*name).to_owned(), answer.clone()));
        status(judge::ptr(ours, "MX.out.example", &names.collect::<Vec<_>>()))
    };
    let (back, away) = (Ok(vec![ours]), Ok(vec![address("192.0.2.6")]));
    assert_eq!(judge(&[("mx.out.example", back.clone())]), Good);
    assert_eq!(judge(&[]), Missing);
    assert_eq!(judge(&[("mx.out.example", away)]), Wrong);
    assert_eq!(judge(&[("other.example", back.clone())]), Warning);
    let silent = Err("timed out".to_owned());
    assert_eq!(judge(&[("mx.out.example", silent.clone())]), Unknown);
    assert_eq!(judge(&[("a.example", silent), ("mx.out.example", back)]), Good);
}

#[test]
fn what_is_optional_is_not_demanded() {
    assert_eq!(status(judge::mta_sts(&texts(&["v=STSv1; id=20260101"]))), Good);
    assert_eq!(status(judge::mta_sts(&[])), Missing);
    assert_eq!(status(judge::mta_sts(&texts(&["v=STSv1"]))), Wrong);
    assert_eq!(status(judge::mta_sts(&texts(&["v=STSv1; id=1", "v=STSv1; id=2"]))), Wrong);
    assert_eq!(status(judge::tls_rpt(&texts(&["v=TLSRPTv1; rua=mailto:a@b.example"]))), Good);
    assert_eq!(status(judge::tls_rpt(&texts(&["v=TLSRPTv1"]))), Wrong);
}

fn result(status: CheckStatus, expected: &str, check_ms: i64) -> Check {
    Check {
        purpose: Purpose::Spf,
        selector: String::new(),
        name: "shop.example".to_owned(),
        need: Need::Required,
        status,
        expected: expected.to_owned(),
        found: format!("found at {check_ms}"),
        hint: String::new(),
        check_ms,
        error: if status == Unknown { "timed out".to_owned() } else { String::new() },
    }
}

#[test]
fn a_good_result_stays_while_the_dns_is_silent() {
    let now = |old, new| judge::remember(&[old], vec![new]).remove(0);
    for good in [Good, Warning] {
        let kept = now(result(good, "x", 1), result(Unknown, "x", 2));
        let error = "timed out".to_owned();
        assert_eq!(kept, Check { error, ..result(good, "x", 1) });
        let again = now(kept, result(Unknown, "x", 3));
        assert_eq!((again.status, again.check_ms), (good, 1), "also the second time");
    }
    for bad in [Missing, Wrong, Unknown] {
        let new = now(result(bad, "x", 1), result(Unknown, "x", 2));
        assert_eq!(new, result(Unknown, "x", 2));
    }
    let other = now(result(Good, "y", 1), result(Unknown, "x", 2));
    assert_eq!(other.status, Unknown, "it was good for something else");
    for known in [Good, Missing, Wrong, Warning] {
        assert_eq!(now(result(Good, "x", 1), result(known, "x", 2)), result(known, "x", 2));
    }
}

#[test]
fn selectors_of_the_same_month_are_told_apart() {
    let now_ms = 1_795_651_200_000;
    assert_eq!(keys::free_selector(now_ms, None), "p202611");
    let mut domain = domain();
    assert_eq!(keys::free_selector(now_ms, Some(&domain)), "p202611");
    domain.keys.push(key("p202611r", DkimAlgorithm::Rsa, KeyState::Active));
    assert_eq!(keys::free_selector(now_ms, Some(&domain)), "p202611b");
    domain.keys.push(key("p202611be", DkimAlgorithm::Ed25519, KeyState::Pending));
    assert_eq!(keys::free_selector(now_ms, Some(&domain)), "p202611c");
}

#[tokio::test(start_paused = true)]
async fn silence_is_an_answer_in_time() {
    let silent = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let config = TransportConfig {
        dns_servers: vec![silent.local_addr().unwrap()],
        ..TransportConfig::default()
    };
    let edges = [("shop.example", "https://t.shop.example")];
    let checker = Checker::new(&config, setup(&["198.51.100.7"], &edges)).unwrap();
    let begun = tokio::time::Instant::now();
    let checks = checker.check(&domain(), 9).await;
    assert!(begun.elapsed() <= std::time::Duration::from_secs(6), "{:?}", begun.elapsed());
    assert_eq!(checks.len(), 11);
    for check in checks {
        assert_eq!((check.status, check.check_ms), (Unknown, 9), "{check:?}");
        assert!(!check.error.is_empty() && !check.hint.is_empty(), "{check:?}");
    }
}

proptest! {
    /// However a zone file or a form breaks and spaces the key, it is the same key; any other is not.
    #[test]
    fn white_space_makes_no_other_key(
        octets in prop::collection::vec(any::<u8>(), 1..300),
        spaces in prop::collection::vec((0usize..400, "[ \t]{1,3}"), 0..8),
    ) {
        use base64::Engine as _;
        let p = base64::engine::general_purpose::STANDARD.encode(&octets);
        let expected = format!("v=DKIM1; k=rsa; p={p}");
        let mut spaced = p.clone();
        for (at, space) in spaces {
            spaced.insert_str(at % (spaced.len() + 1), &space);
        }
        let record = format!("v=DKIM1 ;k = rsa;\tp={spaced};");
        prop_assert_eq!(judge::dkim(&[record], &expected).status, Good);
        let cut = format!("v=DKIM1; k=rsa; p={}", &p[..p.len() - 1]);
        prop_assert_ne!(judge::dkim(&[cut], &expected).status, Good);
    }
}

/// Whatever strangers publish: a verdict of bounded size with a hint.
#[test]
fn fuzz_dns_records() {
    postern_fuzz::check!("dns_records", |input| {
        let text = postern_fuzz::text(input);
        let records: Vec<String> = text.split('\n').map(str::to_owned).collect();
        let evaluation = Evaluation { stranger: Some(SoftFail), ours: vec![] };
        records.iter().for_each(|one| drop(super::references::references(one, "x")));
        let asked = [("_dmarc.x".to_owned(), Ok(records.clone()))];
        for verdict in [
            judge::spf(&records, &evaluation, "v=spf1 ~all"),
            judge::dkim(&records, KEY),
            judge::dmarc(&asked),
            judge::mta_sts(&records),
            judge::tls_rpt(&records),
        ] {
            assert!(verdict.found.chars().count() <= 1024);
            assert!(!verdict.found.chars().any(char::is_control));
            assert!(verdict.status == Good || !verdict.hint.is_empty());
        }
    });
}
