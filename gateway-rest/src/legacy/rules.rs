//! The old system's checks and words, exactly as its clients know them.
//!
//! Pure; a crash has nothing to lose.

use postern_proto::status::Failure;
use postern_proto::v1::RecipientState;

/// The old pattern for recipients: word characters, `+`, `-` and `.`, then labels, then letters.
pub(super) fn is_recipient(address: &str) -> bool {
    let Some((local, domain)) = address.split_once('@') else {
        return false;
    };
    let Some((labels, last)) = domain.rsplit_once('.') else {
        return false;
    };
    let local_fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '+' | '-' | '.');
    let label_fits = |c: char| c.is_ascii_alphanumeric() || c == '-';
    !local.is_empty()
        && local.chars().all(local_fits)
        && labels.split('.').all(|label| !label.is_empty() && label.chars().all(label_fits))
        && !last.is_empty()
        && last.chars().all(|c| c.is_ascii_alphabetic())
}

/// The first thing that is wrong with the recipient.
pub(super) fn check_recipient(address: &str) -> Result<(), &'static str> {
    match address {
        "" => Err("Recipient email is required"),
        address if !is_recipient(address) => Err("Recipient email is invalid"),
        _ => Ok(()),
    }
}

/// The first thing that is wrong with the sender. Which domains may send is the core's business.
pub(super) fn check_sender(address: &str, ams_ban: bool) -> Result<(), &'static str> {
    if address.is_empty() {
        return Err("From email is required");
    }
    match address.rsplit_once('@') {
        Some((_, domain)) if !domain.is_empty() => {
            if ams_ban && domain.to_ascii_lowercase().contains("ams") {
                return Err("AMS domain not allowed as sender");
            }
            Ok(())
        }
        _ => Err("From email domain is invalid"),
    }
}

/// The old text for a refusal by the core, where there was one.
pub(super) fn text_of(failure: &Failure) -> Option<&'static str> {
    let field = failure.violations.first()?.field.as_str();
    let field = field.strip_prefix("message.").unwrap_or(field);
    if failure.reason != postern_proto::reason::Reason::InvalidAddress {
        return None;
    }
    if field.starts_with("from") {
        return Some("From email domain is invalid");
    }
    (field.starts_with("to") || field.starts_with("items")).then_some("Recipient email is invalid")
}

/// The old word for a state.
pub(super) fn word(state: RecipientState) -> &'static str {
    match state {
        RecipientState::Unspecified | RecipientState::Scheduled | RecipientState::Queued => {
            "queued"
        }
        RecipientState::Sending | RecipientState::Deferred => "processing",
        RecipientState::Sent => "sent",
        RecipientState::Delivered => "delivered",
        RecipientState::Bounced => "bounced",
        RecipientState::Failed
        | RecipientState::Suppressed
        | RecipientState::Expired
        | RecipientState::Canceled => "failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn recipients_are_checked_as_before() {
        for good in ["a@b.co", "a.b+c-d_e@x-y.z.example", "A@B.COM"] {
            assert!(is_recipient(good), "{good}");
        }
        for bad in ["a", "a@b", "@b.co", "a@b.xn--p1ai", "ä@b.co", "a@b..co", "a@b@c.co", "a b@c.d"]
        {
            assert!(!is_recipient(bad), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_checks_panic(text in ".{0,60}") {
            let _ = (is_recipient(&text), check_sender(&text, true));
        }
    }
}
