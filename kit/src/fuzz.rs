//! What holds of every input, whatever anybody sends. The corpora are in `fuzz/`. Pure.

use std::net::IpAddr;

use postern_fuzz::{check, choice, text};
use postern_proto::settings::{Definition, Kind};

use crate::env::parse_duration;
use crate::net;
use crate::trace::Trace;

/// A trace that is believed is told on as it came, and survives being stored.
#[test]
fn fuzz_traceparent() {
    check!("traceparent", |input| {
        let value = text(input);
        let Some(trace) = Trace::parse(&value) else { return };
        assert_eq!(Trace::from_bytes(&trace.to_bytes()), Some(trace));
        assert_eq!(Trace::parse(&trace.parent()), Some(trace));
        assert_eq!(trace.parent()[3..52], value[3..52]);
        assert_eq!(trace.child().id(), trace.id());
        assert_eq!(trace.response().is_some(), trace.is_sampled());
    });
}

/// Only a trusted proxy is believed, and only an address that stands there.
#[test]
fn fuzz_forwarded() {
    check!("forwarded", |input| {
        let trusted = ["10.0.0.0/8", "2001:db8::/32"].map(|text| net::network(text).unwrap());
        let (peer, lines) = choice(input);
        let peer: IpAddr = if peer % 2 == 0 { [10, 0, 0, peer].into() } else { [9; 4].into() };
        let lines = text(lines);
        let client = net::client(peer, lines.split('\n'), &trusted);
        assert_eq!(client, client.to_canonical());
        if !net::is_in(&trusted, peer) {
            assert_eq!(client, peer);
        }
        let named = lines.split(['\n', ',']).filter_map(|one| one.trim().parse::<IpAddr>().ok());
        let named: Vec<_> = named.map(|ip| ip.to_canonical()).collect();
        assert!(client == peer || named.contains(&client));
        assert_eq!(net::customer(net::customer(client)), net::customer(client));
    });
}

/// A network is its own normal form, and holds its first address.
#[test]
fn fuzz_network() {
    check!("network", |input| {
        let Some(network) = net::network(text(input).trim()) else { return };
        assert_eq!(net::network(&network.to_string()), Some(network));
        assert!(net::is_in(&[network], network.network()), "{network}");
    });
}

/// The environment and the live settings mean the same by a duration.
#[test]
fn fuzz_duration() {
    check!("duration", |input| {
        let value = text(input);
        let time = Definition {
            name: "time",
            kind: Kind::Time,
            default: 0,
            min: 0,
            max: i64::MAX,
            description: "",
        };
        let ours = parse_duration(&value).and_then(|time| i64::try_from(time.as_millis()).ok());
        assert_eq!(ours, time.parse(&value).ok());
    });
}
