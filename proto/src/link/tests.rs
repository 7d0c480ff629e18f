//! What holds of every token, and what no change of one gets past.

use proptest::prelude::*;

use super::target::{is_safe_target, location};
use super::*;

const FIRST: &str = "1:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const SECOND: &str = "2:ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";

fn keys(text: &str) -> Keys {
    text.parse().unwrap()
}

fn link() -> impl Strategy<Value = Link> {
    let kind = prop_oneof![
        Just(Kind::Open),
        Just(Kind::Unsubscribe),
        (any::<u16>(), "https://[a-z]{1,9}\\.example/.{0,60}")
            .prop_map(|(index, target)| Kind::Click { index, target }),
    ];
    (any::<u128>(), kind)
        .prop_map(|(id, kind)| Link { delivery: RecipientId::from_uuid(Uuid::from_u128(id)), kind })
}

proptest! {
    #[test]
    fn what_is_signed_opens_to_the_same_link(link in link()) {
        let keys = keys(FIRST);
        let token = keys.sign(&link);
        prop_assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)));
        prop_assert_eq!(keys.open(&token), Ok(link));
    }

    #[test]
    fn every_tampered_bit_is_refused(link in link()) {
        let keys = keys(FIRST);
        let token = keys.sign(&link);
        for at in 0..token.len() {
            for bit in 0..8 {
                let mut bytes = token.clone().into_bytes();
                bytes[at] ^= 1 << bit;
                if let Ok(other) = String::from_utf8(bytes) {
                    prop_assert!(keys.open(&other).is_err(), "bit {bit} of character {at}");
                }
            }
        }
    }

    #[test]
    fn every_cut_or_grown_token_is_refused(link in link()) {
        let keys = keys(FIRST);
        let token = keys.sign(&link);
        for end in 0..token.len() {
            prop_assert!(keys.open(&token[..end]).is_err());
        }
        for more in ["A", "=", "==", "AA", ".", " "] {
            let grown = format!("{token}{more}");
            prop_assert!(keys.open(&grown).is_err());
        }
    }

    #[test]
    fn keys_rotate_with_overlap(link in link()) {
        let (old, both) = (keys(FIRST), keys(&format!("{SECOND},{FIRST}")));
        let before = old.sign(&link);
        let after = both.sign(&link);
        prop_assert_eq!(both.open(&before), Ok(link.clone()));
        prop_assert_eq!(both.open(&after), Ok(link));
        prop_assert_eq!(old.open(&after), Err(LinkError::UnknownKey));
        prop_assert_eq!(keys(SECOND).open(&before), Err(LinkError::UnknownKey));
    }

    #[test]
    fn another_secret_under_the_same_id_opens_nothing(link in link()) {
        let other = keys(&FIRST.replace("1f", "2f"));
        prop_assert_eq!(other.open(&keys(FIRST).sign(&link)), Err(LinkError::BadSignature));
    }

    #[test]
    fn no_text_makes_a_reader_panic(text in ".{0,80}") {
        let _ = keys(FIRST).open(&text);
        let _ = legacy::Parameters::parse(&text);
        let _ = legacy::go_token(&text);
        let _ = (is_safe_target(&text), location(&format!("http://{text}")));
        let _ = text.parse::<Keys>();
    }

    #[test]
    fn old_parameters_read_as_they_were_written(text in "[ -~а-я]{0,60}") {
        use base64::engine::general_purpose::URL_SAFE;
        prop_assert_eq!(legacy::decode(&URL_SAFE.encode(&text)), Some(text.clone()));
        prop_assert_eq!(legacy::decode(&URL_SAFE_NO_PAD.encode(&text)), Some(text));
    }
}

#[test]
fn the_form_of_a_token_stays_what_it_is() {
    let delivery =
        RecipientId::from_uuid(Uuid::from_u128(0x0188_bac7_4afa_78aa_bc3b_bd1e_ef28_d881));
    let token = keys(FIRST).sign(&Link { delivery, kind: Kind::Open });
    assert_eq!(token, "AQEBAYi6x0r6eKq8O70e7yjYgUrZIzo0PrjTHbUonHmfbV0");
}

#[test]
fn a_token_reveals_no_address_and_is_short() {
    let link = Link { delivery: RecipientId::generate(), kind: Kind::Unsubscribe };
    assert_eq!(keys(FIRST).sign(&link).len(), 47);
}

#[test]
fn the_longest_target_still_fits_a_token() {
    let target = format!("https://shop.example/{}", "x".repeat(TARGET_OCTETS_MAX - 21));
    assert!(is_safe_target(&target));
    let link = Link { delivery: RecipientId::generate(), kind: Kind::Click { index: 7, target } };
    let token = keys(FIRST).sign(&link);
    assert!(token.len() <= TOKEN_CHARS_MAX);
    assert_eq!(keys(FIRST).open(&token), Ok(link));
}

#[test]
fn bad_rings_are_refused_without_telling_the_secret() {
    for (text, problem) in [
        ("", BadKeys::Count),
        (" , ", BadKeys::Count),
        ("secret", BadKeys::Id(1)),
        ("256:00", BadKeys::Id(1)),
        ("1:CHANGE_ME", BadKeys::Secret(1)),
        ("1:000102", BadKeys::Secret(1)),
        (&format!("{FIRST},{FIRST}"), BadKeys::Repeated(1)),
        (&[FIRST; 9].join(","), BadKeys::Count),
    ] {
        assert_eq!(text.parse::<Keys>().unwrap_err(), problem, "{text}");
    }
    assert_eq!(format!("{:?}", keys(&format!("{SECOND},{FIRST}"))), "[2, 1]");
}

#[test]
fn the_old_systems_vectors_decode() {
    let parsed =
        legacy::Parameters::parse("eid=dXNlckBleGFtcGxlLmNvbQ==&cid=Y2FtcF8xMjM=&mid=MTIzNDU=");
    let expected = legacy::Parameters {
        address: "user@example.com".to_owned(),
        campaign_id: "camp_123".to_owned(),
        message_id: "12345".to_owned(),
        url: String::new(),
    };
    assert_eq!(parsed, Some(expected.clone()));
    let unpadded = "url=&amp;eid=dXNlckBleGFtcGxlLmNvbQ&amp;mid=MTIzNDU%3D&amp;cid=Y2FtcF8xMjM";
    assert_eq!(legacy::Parameters::parse(unpadded), Some(expected));
    // A raw value, the standard alphabet, a blank, half a padding, a repeated parameter.
    for bad in
        ["eid=12345", "eid=+/+/", "eid=dXNl ckBl", "eid=dXNlckBleGFtcGxlLmNvbQ=", "cid=QQ&cid=QQ"]
    {
        assert_eq!(legacy::Parameters::parse(bad), None, "{bad}");
    }
}

#[test]
fn a_go_link_carries_the_last_16_characters() {
    assert_eq!(legacy::go_token("shop-offer-ab-defghij_lmnop"), Some("ab-defghij_lmnop"));
    assert_eq!(legacy::go_token("abcdefghijklmnop"), Some("abcdefghijklmnop"));
    for bad in ["", "shop-short", "shopabcdefghijklmnop", "shop-abcdefghijklmn%p"] {
        assert_eq!(legacy::go_token(bad), None, "{bad}");
    }
}

#[test]
fn public_http_targets_are_safe() {
    for good in [
        "https://shop.example/a?b=c&d=%20#e",
        "HTTP://shop.example",
        "https://shop.example:8443/",
        "https://münchen.example/straße?ü=1",
        "https://8.8.8.8/",
        "https://[2606:4700::1111]/",
        "https://shop.example/?next=user@host",
    ] {
        assert!(is_safe_target(good), "{good}");
    }
    let long = format!("https://shop.example/{}", "x".repeat(TARGET_OCTETS_MAX));
    assert!(!is_safe_target(&long));
}

/// One a line.
const NO_URLS: &str = "shop.example
//shop.example
javascript:alert(1)
data:text/html,x
ftp://shop.example/
mailto:a@b.example
http:shop.example
http:///shop.example
https://user@shop.example/
https://user:pw@shop.example/
https://@shop.example/
https://shop.example\\@evil.example/
https://shop.example/a b
 https://shop.example/
https://shop.example/\u{a0}
https://shop.example/\u{0}";

const PRIVATE_HOSTS: &str = "localhost LOCALHOST. a.localhost intranet printer.local
    metadata.google.internal router.home.arpa
    127.0.0.1 127.1 2130706433 0x7f000001 0177.0.0.1 0x7f.1 127.0.0.1. 0
    10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 169.254.169.254 100.64.0.1 198.18.0.1
    224.0.0.1 255.255.255.255 192.0.2.1 \u{ff11}27.0.0.1
    [::1] [::] [::ffff:127.0.0.1] [::ffff:7f00:1] [::ffff:169.254.169.254] [::127.0.0.1]
    [64:ff9b::7f00:1] [2002:7f00:1::] [fe80::1] [fc00::1] [fd12::1] [ff02::1] [2001:db8::1]";

#[test]
fn everything_else_is_not() {
    let hosts = PRIVATE_HOSTS.split_whitespace().map(|host| format!("http://{host}/latest"));
    let more = ["", "https://shop.example/\r\nSet-Cookie: a"].map(str::to_owned);
    for bad in NO_URLS.split('\n').map(str::to_owned).chain(hosts).chain(more) {
        assert!(!is_safe_target(&bad), "{bad}");
        assert_eq!(location(&bad), None, "{bad}");
    }
}

#[test]
fn a_location_is_ascii_and_otherwise_unchanged() {
    let same = "https://shop.example?a=%2F&b=//c#d";
    assert_eq!(location(same).as_deref(), Some(same));
    let encoded = location("https://münchen.example/ü").unwrap();
    assert_eq!(encoded, "https://xn--mnchen-3ya.example/%C3%BC");
}

/// However a token came to be sealed, it is the only spelling of what it says; without the seal it
/// says nothing.
#[test]
fn fuzz_token() {
    postern_fuzz::check!("token", |input| {
        let keys = keys(FIRST);
        let token = postern_fuzz::text(input);
        if let Ok(link) = keys.open(&token) {
            assert_eq!(keys.sign(&link), token);
        }
        let (_, key) = keys.signing();
        let sealed = [input, &key.tag(input)[..TAG_OCTETS]].concat();
        let token = URL_SAFE_NO_PAD.encode(sealed);
        if let Ok(link) = keys.open(&token) {
            if let Kind::Click { target, .. } = &link.kind {
                assert!(target.len() <= TARGET_OCTETS_MAX);
            }
            assert_eq!(keys.sign(&link), token);
        }
    });
}
