//! What an SPF record refers to (RFC 7208 §5, §6.1). Pure.

/// A question that evaluating an SPF record asks the DNS.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reference {
    /// The SPF record of another domain: `include`, `redirect`.
    Policy(String),
    /// Addresses: `a`.
    Addresses(String),
    /// Mail servers: `mx`.
    Mail(String),
}

/// The references of a domain's record. Names with macros are left out: what they stand for is known
/// only with a mail at hand.
pub(super) fn references(record: &str, domain: &str) -> Vec<Reference> {
    let terms = record.split_ascii_whitespace().skip(1);
    terms.filter_map(|term| reference(term, domain)).collect()
}

fn reference(term: &str, domain: &str) -> Option<Reference> {
    let term = term.trim_start_matches(['+', '-', '~', '?']).to_ascii_lowercase();
    let (kind, rest) = term.split_at(term.find([':', '=', '/']).unwrap_or(term.len()));
    let named = rest.starts_with([':', '=']).then(|| &rest[1..]);
    let name = match named {
        // What follows is the length of a network.
        Some(name) => name.split('/').next().unwrap_or_default(),
        None => domain,
    };
    let name = name.trim_end_matches('.');
    if name.is_empty() || name.len() > 253 || name.contains('%') {
        return None;
    }
    let name = name.to_owned();
    match kind {
        "include" | "redirect" if named.is_some() => Some(Reference::Policy(name)),
        "a" => Some(Reference::Addresses(name)),
        "mx" => Some(Reference::Mail(name)),
        _ => None,
    }
}
