//! `filter`, the part of AIP-160 that the lists of messages can serve: conditions joined by `AND`,
//! each of which is one of the plain query fields.
//!
//! `order_by` is taken as well, where it asks for the only order there is.
//!
//! Pure; a crash has nothing to lose.

use postern_proto::reason::Reason;
use postern_proto::status::Failure;

use super::tree::Json;

/// What may stand in a filter: name, operator, field of the request.
const TERMS: [(&str, &str, &str); 13] = [
    ("state", "=", "state"),
    ("to", "=", "recipient"),
    ("to", ":", "recipient"),
    ("recipient", "=", "recipient"),
    ("tags", ":", "tag"),
    ("tag", "=", "tag"),
    ("campaign_id", "=", "campaign_id"),
    ("external_id", "=", "external_id"),
    ("batch_id", "=", "batch_id"),
    ("create_time", ">=", "since"),
    ("create_time", "<", "until"),
    ("since", "=", "since"),
    ("until", "=", "until"),
];

const SUPPORTED: &str = "use state=…, to:…, tags:…, campaign_id=…, external_id=…, batch_id=…, \
    create_time>=… and create_time<…, joined by AND; values may stand in double quotes";

/// The order of every list of messages.
const ORDER: &str = "create_time desc";

/// Replaces `filter` by the fields that it means, and leaves `order_by` out.
pub(crate) fn expand(entries: Vec<(String, Json)>) -> Result<Vec<(String, Json)>, Failure> {
    let mut expanded = Vec::with_capacity(entries.len());
    for (name, value) in entries {
        match value {
            Json::Text(filter) if name == "filter" => {
                for term in terms(&filter) {
                    expanded.push(read(term.trim()).ok_or_else(|| refused(term.trim()))?);
                }
            }
            Json::Text(order) if name == "order_by" => {
                if order.split_whitespace().ne(ORDER.split_whitespace()) {
                    let text = format!("'{order}' is not supported; the only order is {ORDER}");
                    return Err(Failure::field(Reason::BadFilter, "order_by", text));
                }
            }
            value => expanded.push((name, value)),
        }
    }
    Ok(expanded)
}

/// The texts between the `AND`s that stand outside quotes.
fn terms(filter: &str) -> Vec<&str> {
    let mut terms = Vec::new();
    let mut quoted = false;
    let mut start = 0;
    for (at, letter) in filter.char_indices() {
        quoted ^= letter == '"';
        // Of two that overlap, as in `a AND AND b`, the second is part of a condition.
        if !quoted && at >= start && filter[at..].starts_with(" AND ") {
            terms.push(&filter[start..at]);
            start = at + " AND ".len();
        }
    }
    terms.push(&filter[start..]);
    terms
}

fn read(term: &str) -> Option<(String, Json)> {
    let ends = term.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')?;
    let (name, rest) = term.split_at(ends);
    let rest = rest.trim_start();
    let operator =
        [">=", "<=", "!=", "=", ":", "<", ">"].into_iter().find(|o| rest.starts_with(o))?;
    let (_, _, field) = TERMS.iter().find(|(n, o, _)| *n == name && *o == operator)?;
    let value = rest[operator.len()..].trim();
    let value = match value.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"')?,
        None if value.contains(char::is_whitespace) => return None,
        None => value,
    };
    let plain = !value.is_empty() && !value.contains(['"', '*', '\\']);
    plain.then(|| ((*field).to_owned(), Json::text(value)))
}

fn refused(term: &str) -> Failure {
    let term: String = term.chars().take(80).collect();
    Failure::field(Reason::BadFilter, "filter", format!("'{term}' is not supported; {SUPPORTED}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(filter: &str) -> Result<Vec<(String, Json)>, Failure> {
        expand(vec![("filter".to_owned(), Json::text(filter))])
    }

    #[test]
    fn conditions_become_fields() {
        let filter =
            r#"state=bounced AND to:"a AND b@x.io" AND create_time >= "2026-11-01T00:00:00Z""#;
        let fields = expanded(filter).unwrap();
        let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value)).collect();
        assert_eq!(fields[0], ("state", &Json::text("bounced")));
        assert_eq!(fields[1], ("recipient", &Json::text("a AND b@x.io")));
        assert_eq!(fields[2], ("since", &Json::text("2026-11-01T00:00:00Z")));
    }

    #[test]
    fn what_is_not_supported_is_named() {
        for bad in [
            "",
            "state",
            "state!=bounced",
            "colour=red",
            "state=a OR tags:b",
            "to:\"a",
            "to:*x",
            "create_time>2026",
            "state=a AND ",
            "(state=a)",
            "state=a AND AND to:b",
            "NOT state=a",
        ] {
            let failure = expanded(bad).unwrap_err();
            assert_eq!(failure.reason, Reason::BadFilter, "{bad}");
            assert!(failure.message.contains("create_time>="), "{failure}");
        }
    }

    /// What is read is a field there is, with a plain value; what is not is told in short.
    #[test]
    fn fuzz_filter() {
        postern_fuzz::check!("filter", |input| match expanded(&postern_fuzz::text(input)) {
            Ok(fields) => {
                assert!(!fields.is_empty());
                for (name, value) in fields {
                    let Json::Text(value) = value else { panic!("{name}") };
                    assert!(!value.is_empty() && !value.contains(['"', '*', '\\']));
                    let (_, operator, _) = TERMS
                        .iter()
                        .rev()
                        .find(|(n, _, field)| *n == name || *field == name)
                        .unwrap();
                    assert!(!operator.is_empty());
                }
            }
            Err(failure) => assert!(failure.message.chars().count() <= 80 + 300),
        });
    }
}
