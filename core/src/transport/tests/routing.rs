//! From a domain to its servers.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;

use super::super::dns::{Dns, DnsError, MxAnswer, MxRecord};
use super::server::{CLOSE, GREETING, SILENCE, Script};
use super::*;
use crate::transport::Mx;
use postern_proto::link::target::is_public;

type Answer<T> = Result<Vec<T>, DnsError>;

/// DNS from a table. Names that are not in it do not exist.
#[derive(Default)]
struct Table {
    mx: HashMap<&'static str, Answer<(u16, &'static str)>>,
    hosts: HashMap<&'static str, Answer<IpAddr>>,
}

impl Table {
    fn mx(mut self, domain: &'static str, records: &[(u16, &'static str)]) -> Self {
        self.mx.insert(domain, Ok(records.to_vec()));
        self
    }

    fn no_mx(mut self, domain: &'static str, error: DnsError) -> Self {
        self.mx.insert(domain, Err(error));
        self
    }

    fn host(mut self, name: &'static str, last: u8) -> Self {
        self.hosts.insert(name, Ok(vec![Ipv4Addr::new(127, 0, 0, last).into()]));
        self
    }

    fn mx_transport(self, port: u16, vars: &[(&str, &str)]) -> Mx {
        let port = port.to_string();
        let mut all = vec![("POSTERN_MX_PORT", port.as_str()), ("POSTERN_MX_ALLOW_PRIVATE", "on")];
        all.extend_from_slice(vars);
        Mx::with_dns(&config(&all), in_force(&all), Arc::new(self), 1)
    }
}

#[async_trait]
impl Dns for Table {
    async fn mx(&self, domain: &str) -> Result<MxAnswer, DnsError> {
        let records = self.mx.get(domain).cloned().unwrap_or(Err(DnsError::NoDomain))?;
        let record = |(preference, host): (u16, &str)| MxRecord { preference, host: host.into() };
        let records = records.into_iter().map(record).collect();
        Ok(MxAnswer { records, valid_until: Instant::now() + Duration::from_secs(60) })
    }

    async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, DnsError> {
        self.hosts.get(host).cloned().unwrap_or(Err(DnsError::NoDomain))
    }
}

async fn to(transport: &Mx, domain: &str) -> String {
    brief(&transport.deliver(mail_to(&format!("b@{domain}"))).await)
}

#[tokio::test]
async fn the_most_preferred_server_that_talks_gets_the_mail() {
    let second = Script::default().start_at(Ipv4Addr::new(127, 0, 0, 2), 0).await;
    let port = second.port();
    let table = Table::default()
        .mx("x.example", &[(20, "two.example"), (10, "gone.example"), (5, "one.example")])
        .host("one.example", 1)
        .host("two.example", 2);
    // One refuses to talk, one has no address, and the third takes it.
    let first = Script::default().on(GREETING, "554 5.7.1 blocked\r\n");
    let first = first.start_at(Ipv4Addr::LOCALHOST, port).await;
    let transport = table.mx_transport(port, &[]);
    assert_eq!(to(&transport, "x.example").await, "delivered data");
    assert_eq!(to(&transport, "X.Example").await, "delivered data");
    assert_eq!((first.connections(), second.connections(), second.mails().len()), (2, 1, 2));
}

#[tokio::test]
async fn a_dead_server_is_passed_over_and_the_next_one_gets_the_mail() {
    let second = Script::default().start_at(Ipv4Addr::new(127, 0, 0, 2), 0).await;
    let port = second.port();
    let table = Table::default()
        .mx("x.example", &[(5, "one.example"), (10, "two.example")])
        .host("one.example", 1)
        .host("two.example", 2);
    let transport = table.mx_transport(port, &[("POSTERN_DESTINATION_DEAD", "1h")]);
    assert_eq!(to(&transport, "x.example").await, "delivered data");
    let first = Script::default().start_at(Ipv4Addr::LOCALHOST, port).await;
    assert_eq!(to(&transport, "x.example").await, "delivered data");
    assert_eq!((first.connections(), second.mails().len()), (0, 2));
}

#[tokio::test]
async fn an_answer_about_the_mail_is_final() {
    for (verb, reply) in [("RCPT", "450 4.2.1 later\r\n"), ("DATA", CLOSE)] {
        let first = Script::default().on(verb, reply).start().await;
        let port = first.port();
        let second = Script::default().start_at(Ipv4Addr::new(127, 0, 0, 2), port).await;
        let table = Table::default()
            .mx("x.example", &[(5, "one.example"), (10, "two.example")])
            .host("one.example", 1)
            .host("two.example", 2);
        let transport = table.mx_transport(port, &[]);
        assert!(to(&transport, "x.example").await.starts_with("deferred"));
        assert_eq!(second.connections(), 0);
    }
}

#[tokio::test]
async fn domains_that_lead_nowhere() {
    let busy = || DnsError::Temporary("SERVFAIL".to_owned());
    let mut table = Table::default()
        .mx("null.example", &[(0, "")])
        .mx("loop.example", &[(10, "us.example.org"), (20, "worse.example")])
        .mx("dangling.example", &[(10, "gone.example")])
        .mx("wavering.example", &[(10, "gone.example"), (20, "busy.example")])
        .mx("private.example", &[(10, "localhost.example")])
        .no_mx("busy.example", busy())
        .no_mx("bare.example", DnsError::NoRecords)
        .host("localhost.example", 1);
    table.hosts.insert("busy.example", Err(busy()));
    table.hosts.insert("bare.example", Err(DnsError::NoRecords));
    let transport = table.mx_transport(1, &[("POSTERN_MX_ALLOW_PRIVATE", "off")]);
    for (domain, expected) in [
        ("null.example", "refused dns_failure dns"),
        ("loop.example", "refused dns_failure dns"),
        ("dangling.example", "refused dns_failure dns"),
        ("wavering.example", "deferred dns_failure dns"),
        ("private.example", "refused dns_failure dns"),
        ("missing.example", "refused dns_failure dns"),
        ("busy.example", "deferred dns_failure dns"),
        ("bare.example", "refused dns_failure dns"),
        ("[127.0.0.1]", "refused dns_failure dns"),
    ] {
        assert_eq!(to(&transport, domain).await, expected, "{domain}");
    }
    let outcome = transport.deliver(mail_to("b@null.example")).await;
    assert_eq!(reply_of(&outcome).enhanced, "5.1.10");
}

#[tokio::test(start_paused = true)]
async fn the_search_for_a_server_that_talks_ends() {
    let first = Script::default().on(GREETING, SILENCE).start().await;
    let port = first.port();
    let second = Script::default().on(GREETING, SILENCE);
    let second = second.start_at(Ipv4Addr::new(127, 0, 0, 2), port).await;
    let table = Table::default()
        .mx("x.example", &[(5, "one.example"), (10, "two.example")])
        .host("one.example", 1)
        .host("two.example", 2);
    let transport = table.mx_transport(port, &[("POSTERN_SMTP_TIMEOUT_REACH", "1m")]);
    assert_eq!(to(&transport, "x.example").await, "deferred timeout connect");
    assert_eq!((first.connections(), second.connections()), (1, 0));
}

#[tokio::test]
async fn a_domain_without_mx_is_its_own_server() {
    let server = Script::default().start().await;
    let table = Table::default().no_mx("x.example", DnsError::NoRecords).host("x.example", 1);
    let transport = table.mx_transport(server.port(), &[]);
    assert_eq!(to(&transport, "x.example").await, "delivered data");
}

#[tokio::test]
async fn domains_of_one_provider_share_lane_and_connections() {
    let server = Script::default().start().await;
    let records = [(10, "b.provider.example"), (10, "a.provider.example"), (20, "c.example")];
    let table = Table::default()
        .mx("x.example", &records)
        .mx("y.example", &records)
        .host("a.provider.example", 1)
        .host("b.provider.example", 1);
    let transport = table.mx_transport(server.port(), &[]);
    assert_eq!(transport.lane("X.example"), "x.example", "not known yet");
    for domain in ["x.example", "y.example", "x.example", "y.example"] {
        assert_eq!(to(&transport, domain).await, "delivered data");
    }
    assert_eq!(transport.lane("X.example"), "a.provider.example+b.provider.example");
    assert_eq!(transport.lane("y.example"), transport.lane("x.example"));
    assert!(server.connections() <= 2, "one for each host");
}

#[test]
fn equal_servers_share_the_load() {
    use crate::transport::route::{Route, mix};
    let record = |preference, host: &str| MxRecord { preference, host: host.to_owned() };
    let records = vec![record(1, "a"), record(1, "b"), record(2, "c")];
    let route = Route { records, lane: String::new() };
    let first = (0..1000).filter(|seed| route.hosts(mix(*seed))[0] == "a").count();
    assert!((400..600).contains(&first), "{first}");
    assert!((0..100).all(|seed| route.hosts(seed)[2] == "c"));
}

#[test]
fn only_public_addresses_are_public() {
    for public in ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"] {
        assert!(is_public(public.parse().unwrap()), "{public}");
    }
    for private in [
        "127.0.0.1",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "255.255.255.255",
        "224.0.0.1",
        "198.18.0.1",
        "192.0.2.1",
        "::",
        "::1",
        "fe80::1",
        "fc00::1",
        "fd00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "2001:db8::1",
    ] {
        assert!(!is_public(private.parse().unwrap()), "{private}");
    }
}
