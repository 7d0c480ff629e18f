//! Addresses of clients. Pure.

use std::net::IpAddr;

use ipnet::IpNet;

/// Whom an address stands for when limits are counted: itself, or its /64 in IPv6, all of which one
/// customer has.
pub fn customer(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() & !u128::from(u64::MAX)).into()),
        v4 => v4,
    }
}

/// The client behind proxies. Each trusted proxy vouches for the address left of its own in
/// `X-Forwarded-For`, of which `lines` are the values in the order they stand; what anybody else
/// wrote there is not believed.
pub fn client<'a>(
    peer: IpAddr,
    lines: impl DoubleEndedIterator<Item = &'a str>,
    trusted: &[IpNet],
) -> IpAddr {
    let mut client = peer.to_canonical();
    for entry in lines.rev().flat_map(|line| line.rsplit(',')) {
        if !is_in(trusted, client) {
            break;
        }
        let Ok(before) = entry.trim().parse::<IpAddr>() else { break };
        client = before.to_canonical();
    }
    client
}

/// The network of a text such as `10.0.0.0/8`, or of a single address, without the bits of a host. One
/// of IPv4 may be written in its IPv6 form.
pub fn network(text: &str) -> Option<IpNet> {
    let alone = || text.parse::<IpAddr>().ok().map(IpNet::from);
    let network = text.parse::<IpNet>().ok().or_else(alone)?.trunc();
    let mapped = match network {
        IpNet::V6(v6) => v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96)),
        IpNet::V4(_) => None,
    };
    match mapped {
        Some((address, prefix)) => IpNet::new(address.into(), prefix).ok(),
        None => Some(network),
    }
}

/// Whether an address is in one of the networks. An IPv4 address may come in its IPv6 form.
pub fn is_in(networks: &[IpNet], ip: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&ip.to_canonical()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forwarded_address_is_believed_only_from_a_trusted_proxy() {
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let of = |peer: &str, lines: &[&str]| {
            client(peer.parse().unwrap(), lines.iter().copied(), &trusted).to_string()
        };
        assert_eq!(of("10.0.0.1", &["6.6.6.6, 1.2.3.4"]), "1.2.3.4");
        assert_eq!(of("10.0.0.1", &["6.6.6.6", "1.2.3.4, 10.0.0.2"]), "1.2.3.4");
        assert_eq!(of("9.9.9.9", &["1.2.3.4"]), "9.9.9.9");
        assert_eq!(of("::ffff:10.0.0.1", &["2001:db8::1"]), "2001:db8::1");
        assert_eq!(of("10.0.0.1", &["nonsense"]), "10.0.0.1");
        assert_eq!(of("10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn one_customer_has_one_address() {
        let of = |text: &str| customer(text.parse().unwrap()).to_string();
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(of("::ffff:192.0.2.1"), "192.0.2.1");
        assert_eq!(of("192.0.2.1"), "192.0.2.1");
    }

    #[test]
    fn networks_are_read_in_every_notation() {
        let read = |text: &str| network(text).map(|network| network.to_string());
        for (text, expected) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("192.0.2.7", "192.0.2.7/32"),
            ("2001:db8::7", "2001:db8::7/128"),
            ("2001:db8::7/32", "2001:db8::/32"),
            ("::ffff:192.0.2.7", "192.0.2.7/32"),
            ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(read(text).as_deref(), Some(expected), "{text}");
        }
        for bad in ["", "10.0.0.0/33", "10.0.0", "example.com", "10.0.0.0/8 "] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn networks_hold_their_addresses() {
        let inside = |net: &str, ip: &str| is_in(&[net.parse().unwrap()], ip.parse().unwrap());
        assert!(inside("10.0.0.0/8", "10.9.8.7") && !inside("10.0.0.0/8", "11.0.0.1"));
        assert!(inside("0.0.0.0/0", "8.8.8.8") && inside("::1/128", "::1"));
        assert!(inside("fd00::/8", "fd12::1") && inside("10.0.0.0/8", "::ffff:10.0.0.1"));
    }
}
