//! Where a link may lead: public http and https addresses only.
//!
//! Asked when mail is rewritten (other links stay as they are) and again before the edge redirects.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

use super::TARGET_OCTETS_MAX;

/// Whether the edge may redirect to this: http or https, a host, no user name or password, no blank
/// or control character, no address or name of a private network, at most [`TARGET_OCTETS_MAX`]
/// octets. Numbers in any notation that browsers take for an IPv4 address are seen as one.
pub fn is_safe_target(text: &str) -> bool {
    checked(text).is_some()
}

/// The target as a `Location` header field can carry it: as it is when it is ASCII, percent-encoded
/// and with the host as A-labels otherwise; none when it is not safe.
pub fn location(text: &str) -> Option<String> {
    let url = checked(text)?;
    let fits = text.bytes().all(|b| b.is_ascii_graphic());
    let location = if fits { text.to_owned() } else { String::from(url) };
    location.bytes().all(|b| b.is_ascii_graphic()).then_some(location)
}

fn checked(text: &str) -> Option<Url> {
    if text.len() > TARGET_OCTETS_MAX || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return None;
    }
    // The parser would take `http:example.com` and `http:/example.com` for the same.
    let (scheme, rest) = text.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return None;
    }
    // Browsers read a backslash as a slash and other readers do not: nobody may be deceived by one.
    let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    if authority_end == 0 || rest[..authority_end].contains(['@', '\\']) {
        return None;
    }
    let url = Url::parse(text).ok()?;
    if !url.username().is_empty() || url.password().is_some() {
        return None;
    }
    let public = match url.host()? {
        Host::Domain(name) => is_public_name(name),
        Host::Ipv4(ip) => is_public(IpAddr::V4(ip)),
        Host::Ipv6(ip) => is_public(IpAddr::V6(ip)),
    };
    public.then_some(url)
}

/// A name with a dot in it that is not reserved for local use (RFC 6761, RFC 6762, RFC 8375).
fn is_public_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let local = ["localhost", "localdomain", "local", "internal", "intranet", "lan", "home.arpa"];
    let reserved = local
        .iter()
        .any(|suffix| name.strip_suffix(suffix).is_some_and(|rest| rest.ends_with('.')));
    name.contains('.') && !name.ends_with('.') && !reserved
}

/// Whether an address is one of the public internet.
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let special = ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_documentation()
        || a == 0
        || a >= 224
        // Shared address space (RFC 6598), protocol assignments (RFC 6890), benchmarks (RFC 2544).
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (b == 18 || b == 19));
    !special
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let parts = ip.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match parts {
        // Mapped and translated IPv4 addresses (RFC 4291, RFC 6052) and 6to4 (RFC 3056).
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            is_public_v4(v4(high, low))
        }
        [0x2002, high, low, ..] => is_public_v4(v4(high, low)),
        // Documentation and Teredo.
        [0x2001, 0xdb8 | 0, ..] => false,
        // Only 2000::/3 is given out to the public.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}
