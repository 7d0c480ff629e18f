//! What holds of every input, whatever anybody sends. The corpora are in `fuzz/`. Pure.

use postern_fuzz::{check, text};
use url::Url;

use crate::ids::{EventId, MessageId, RecipientId};
use crate::link::legacy::{self, Parameters, VALUE_OCTETS_MAX, go_token, is_token};
use crate::link::target::{is_public, is_safe_target, location};
use crate::link::{Keys, Kind, Link, TARGET_OCTETS_MAX};
use crate::settings;

/// An id has one spelling, and is of one kind.
#[test]
fn fuzz_id() {
    check!("id", |input| {
        let id = text(input);
        let Ok(message) = id.parse::<MessageId>() else { return };
        assert_eq!(message.to_string(), id);
        assert!(id.parse::<RecipientId>().is_err() && id.parse::<EventId>().is_err());
    });
}

/// What an old link says is bounded and clean, and is the same when it is written again.
#[test]
fn fuzz_old_link() {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    check!("old_link", |input| {
        let query = text(input);
        let go = go_token(&query);
        assert!(go.is_none_or(|token| is_token(token) && query.ends_with(token)));
        let Some(read) = Parameters::parse(&query) else { return };
        let Parameters { address, campaign_id, message_id, url } = &read;
        for value in [address, campaign_id, message_id] {
            assert!(value.len() <= VALUE_OCTETS_MAX);
        }
        assert!(url.len() <= TARGET_OCTETS_MAX);
        let fields = [("eid", address), ("cid", campaign_id), ("mid", message_id), ("url", url)];
        let written = fields.map(|(name, value)| {
            assert!(!value.chars().any(char::is_control));
            let value = URL_SAFE_NO_PAD.encode(value);
            assert!(legacy::decode(&value).is_some());
            format!("{name}={value}")
        });
        assert_eq!(Parameters::parse(&written.join("&amp;")), Some(read));
    });
}

/// Whatever leads somewhere leads to the public internet, also as browsers read it, and fits a
/// header field.
#[test]
fn fuzz_target() {
    check!("target", |input| {
        let target = text(input);
        let place = location(&target);
        assert!(place.is_none() || is_safe_target(&target));
        let Some(place) = place else { return };
        assert!(place.bytes().all(|b| b.is_ascii_graphic()));
        let (asked, url) = (Url::parse(&target).unwrap(), Url::parse(&place).unwrap());
        assert_eq!(asked, url);
        assert!(matches!(url.scheme(), "http" | "https") && url.username().is_empty());
        let host = url.host_str().unwrap().trim_matches(['[', ']']);
        assert!(host.parse().is_ok_and(is_public) || host.contains('.'), "{host}");
        assert!(!host.ends_with(".local") && host != "localhost");
        // One that was made longer by its encoding may be too long to be looked at again.
        if place.len() <= TARGET_OCTETS_MAX {
            assert_eq!(location(&place), Some(place));
        }
    });
}

/// A ring that is taken signs, opens what it signed, and shows nothing of its secrets.
#[test]
fn fuzz_link_keys() {
    check!("link_keys", |input| {
        let ring = text(input);
        match ring.parse::<Keys>() {
            Ok(keys) => {
                let delivery = RecipientId::from_uuid(uuid::Uuid::from_u128(7));
                let link = Link { delivery, kind: Kind::Unsubscribe };
                assert_eq!(keys.open(&keys.sign(&link)), Ok(link));
                assert!(format!("{keys:?}").len() < 60);
            }
            Err(problem) => assert!(problem.to_string().len() < 100),
        }
    });
}

/// A value that is taken is in its range, and is read again as it is shown.
#[test]
fn fuzz_setting() {
    check!("setting", |input| {
        let value = text(input);
        for definition in settings::ALL {
            let Ok(number) = definition.parse(&value) else { continue };
            assert!((definition.min..=definition.max).contains(&number), "{}", definition.name);
            assert_eq!(definition.parse(&definition.show(number)), Ok(number));
        }
    });
}
