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

/// Whether an address is in one of the networks. An IPv4 address may come in its IPv6 form.
pub fn is_in(networks: &[IpNet], ip: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&ip.to_canonical()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_customer_has_one_address() {
        let of = |text: &str| customer(text.parse().unwrap()).to_string();
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(of("::ffff:192.0.2.1"), "192.0.2.1");
        assert_eq!(of("192.0.2.1"), "192.0.2.1");
    }

    #[test]
    fn networks_hold_their_addresses() {
        let inside = |net: &str, ip: &str| is_in(&[net.parse().unwrap()], ip.parse().unwrap());
        assert!(inside("10.0.0.0/8", "10.9.8.7") && !inside("10.0.0.0/8", "11.0.0.1"));
        assert!(inside("0.0.0.0/0", "8.8.8.8") && inside("::1/128", "::1"));
        assert!(inside("fd00::/8", "fd12::1") && inside("10.0.0.0/8", "::ffff:10.0.0.1"));
    }
}
