//! Single html and text bodies.

use postern_proto::link::{HONEYPOT_INDEX, Kind};
use proptest::prelude::*;
use scraper::{Html, Node};

use super::*;

#[test]
fn links_of_every_spelling_are_rewritten_and_nothing_else() {
    let source = "<p>Hi <A HREF='https://a.example/?x=1&amp;y=2'>a</A> <a href = https://b.example/>b</a>\
        <area href=\"http://c.example/ü\"><a href=\" https://d.example/ \">d</a>\
        <img src=\"https://e.example/e.png\"><link href=\"https://f.example/\"></p>";
    let out = html(&clicks(), source);
    let expected = [
        "https://a.example/?x=1&y=2",
        "https://b.example/",
        "http://c.example/ü",
        "https://d.example/",
    ];
    assert_eq!(targets(&out), expected);
    for (untouched, times) in
        [("<A HREF='https://t.", 1), ("<a href = https://t.", 1), ("e.png", 1)]
    {
        assert_eq!(out.matches(untouched).count(), times, "{untouched} in {out}");
    }
    assert!(out.contains("<link href=\"https://f.example/\">"));
}

#[test]
fn some_links_are_left_alone() {
    for href in [
        "mailto:a@b.example",
        "tel:+491",
        "#top",
        "/relative",
        "javascript:x()",
        "ftp://a.example/",
        "https://user:pw@a.example/",
        "http://127.0.0.1/",
        "http://10.1/",
        "https://localhost/x",
        "https://a.example/unsubscribe",
        "https://a.example/x?do=Unsubscribe&amp;a=1",
        "https://t.example.org/c/AQ",
        "https://t.example.org/u/AQ",
        "https://a.example/a b",
        "",
    ] {
        let source = format!("<a href=\"{href}\">x</a>");
        assert_eq!(html(&clicks(), &source), source);
    }
    // A host that merely begins like ours, and a host that is called so.
    for href in ["https://t.example.org.evil.example/", "https://unsubscribe.example/"] {
        assert_eq!(targets(&html(&clicks(), &format!("<a href=\"{href}\">x</a>"))), [href]);
    }
}

#[test]
fn a_link_opts_out_and_its_mark_goes() {
    for mark in [
        "data-postern-track=\"off\"",
        "data-postern-track=off",
        "data-postern-notrack",
        "data-postern-notrack=''",
        "data-track=\"false\"",
        "clicktracking=OFF",
        "data-msys-clicktrack=\"0\"",
        "ses:no-track",
    ] {
        let source = format!("<a {mark} href=\"https://a.example/\">x</a>");
        assert_eq!(html(&clicks(), &source), "<a href=\"https://a.example/\">x</a>", "{mark}");
        let source = format!("<a href=\"https://a.example/\" {mark}>x</a>");
        assert_eq!(html(&clicks(), &source), "<a href=\"https://a.example/\">x</a>", "{mark}");
    }
    let tracked = html(&clicks(), "<a data-track=\"true\" href=\"https://a.example/\">x</a>");
    assert_eq!(targets(&tracked), ["https://a.example/"]);
}

#[test]
fn campaign_links_stay_where_that_is_asked() {
    let source = "<a href=\"https://ams.example/amsweb.php?id=1\">x</a>";
    let wanted = Tracking { keep_campaign_links: true, ..clicks() };
    assert_eq!(html(&wanted, source), source);
    assert_eq!(targets(&html(&clicks(), source)).len(), 1);
}

#[test]
fn the_pixel_stands_before_the_last_real_end_of_the_body() {
    let wanted = Tracking { opens: true, ..Tracking::default() };
    for (source, before) in [
        ("<html><body>x</body></html>", "</body></html>"),
        ("<html><BODY>x</BODY ></html>\n", "</BODY ></html>\n"),
        ("<body>a</body><body>b</body><!-- </body> -->", "</body><!-- </body> -->"),
        ("x</body>", "</body>"),
        ("<html>x</html>", "</html>"),
        ("x", ""),
        ("x<script>'</body>'</script>", ""),
        ("<body><p title=\"</body>\">x</p></body>", "</body>"),
        ("<body>x</bodyguard>", ""),
    ] {
        let out = html(&wanted, source);
        let at = out.find("<img src=\"https://t.example.org/o/").expect(source);
        let end = at + out[at..].find('>').unwrap() + 1;
        assert_eq!(&out[end..], before, "{source}");
        assert_eq!(format!("{}{}", &out[..at], &out[end..]), source);
        assert_eq!(opened(&out)[0].kind, Kind::Open);
    }
    // What would show the pixel as text gets none.
    for source in ["<textarea>x", "<body><PLAINTEXT>", "<xmp>a</body>", "<title>x"] {
        assert_eq!(html(&wanted, source), source);
    }
}

#[test]
fn footer_and_honeypot_come_where_they_are_asked_for() {
    let wanted = Tracking { footer: true, honeypot: true, ..Tracking::default() };
    let out = html(&wanted, "<body>Привет</body>");
    assert!(out.contains(">Отписаться от рассылки</a></div>") && out.ends_with("</body>"));
    let kinds: Vec<_> = opened(&out).into_iter().map(|link| link.kind).collect();
    let honeypot = Kind::Click { index: HONEYPOT_INDEX, target: String::new() };
    assert_eq!(kinds, [Kind::Unsubscribe, honeypot]);
    assert!(html(&wanted, "<body>Hi</body>").contains(">Unsubscribe</a>"));
}

#[test]
fn no_more_links_than_allowed_are_rewritten() {
    let source = "<a href='https://a.example/'>x</a>".repeat(5);
    let wanted = Tracking { links_max: 3, ..clicks() };
    assert_eq!(targets(&html(&wanted, &source)).len(), 3);
    let long = format!("https://a.example/{}", "x".repeat(2048));
    assert_eq!(html(&clicks(), &format!("<a href='{long}'>x</a>")).matches(BASE).count(), 0);
}

#[test]
fn urls_in_text_are_rewritten_without_the_sentence_around_them() {
    let tracker = tracker();
    let wanted = everything();
    let text = |source: &str| Job::new(&tracker, SENDER, &wanted, delivery()).text(source);
    let out = text(
        "See https://a.example/x?y=1. Or <HTTP://b.example>, (https://c.example/d_(e)) and\r\n\
         xhttps://no.example mailto:a@b.example https://u.example/unsubscribe «https://ф.example/ю»!",
    );
    let out = out.unwrap();
    let expected = [
        "https://a.example/x?y=1",
        "HTTP://b.example",
        "https://c.example/d_(e)",
        "https://ф.example/ю",
    ];
    assert_eq!(targets(&out), expected);
    assert!(out.contains(">, (https://t.") && out.contains(") and\r\n") && out.ends_with("»!"));
    assert_eq!(text("nothing here"), None);
    assert_eq!(text("-----BEGIN PGP SIGNED MESSAGE-----\nhttps://a.example/"), None);
}

#[test]
fn links_of_a_sender_domain_lead_to_its_own_name() {
    let (tracker, wanted) = (tracker(), everything());
    let source = format!(
        "<a href='https://a.example/'>a</a><a href='{BASE}/c/x'>b</a><a href='{OWN_BASE}/c/x'>c</a>"
    );
    for (sender, base, other) in [(SENDER, BASE, OWN_BASE), ("Hi@Own.Example", OWN_BASE, BASE)] {
        let mut job = Job::new(&tracker, sender, &wanted, delivery());
        let out = job.html(&source, true).unwrap();
        // Click and pixel; links of ours are left alone under every name.
        assert_eq!(out.matches(base).count(), 3, "{out}");
        assert_eq!(out.matches(other).count(), 1, "{out}");
    }
}

#[test]
fn the_same_mail_is_made_again() {
    let source = "<body><a href='https://a.example/'>x</a></body>";
    assert_eq!(html(&everything(), source), html(&everything(), source));
}

#[test]
fn links_are_found_with_their_entities_decoded() {
    let found = links_in(
        "<a href='https://a.example/?a=1&amp;b=2' clicktracking=off>x</a>",
        "http://b.example/",
    );
    assert_eq!(found, ["https://a.example/?a=1&b=2", "http://b.example/"]);
    assert_eq!(
        decode_entities("https://a.example/?a=1&copy=2&#38;c"),
        "https://a.example/?a=1&copy=2&c"
    );
}

/// What a browser shows of a document, as far as tracking has no part in it: each piece of text and
/// each image and line break, with the elements around it and their attributes.
fn seen(source: &str) -> Vec<(String, bool, String)> {
    let document = Html::parse_document(source);
    let mut pieces: Vec<(String, bool, String)> = Vec::new();
    for node in document.tree.nodes() {
        let around = node.ancestors().filter_map(|node| node.value().as_element().map(described));
        let around: String = around.collect();
        match node.value() {
            Node::Element(element) if ["img", "area", "br"].contains(&element.name()) => {
                let ours = element.attr("src").is_some_and(|src| src.starts_with(BASE));
                if !ours {
                    pieces.push((around, false, described(element)));
                }
            }
            Node::Text(text) => match pieces.last_mut() {
                Some((place, true, before)) if *place == around => {
                    before.push_str(text);
                }
                _ => pieces.push((around, true, text.to_string())),
            },
            _ => {}
        }
    }
    pieces
}

fn described(element: &scraper::node::Element) -> String {
    let ours = |name: &str| ["href", "clicktracking", "data-postern-notrack"].contains(&name);
    let mut attributes: Vec<_> = element.attrs().filter(|(name, _)| !ours(name)).collect();
    attributes.sort_unstable();
    format!("<{} {attributes:?}>", element.name())
}

fn document() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[ a-zA-Zа-я&;\"'=/0-9]{0,12}",
        "<a (class=[a-z]{1,3} )?href=(\"https://[a-z]{1,5}\\.example/[a-z?=&;]{0,9}\"|'http://[a-z]{1,4}\\.example'|https://x\\.example/[a-z]{0,3})( clicktracking=off)?>",
        Just("</a>".to_owned()),
        Just("<area href='https://area.example/' data-postern-notrack />".to_owned()),
        Just("<html>".to_owned()),
        Just("<body>".to_owned()),
        Just("</body>".to_owned()),
        Just("</html>".to_owned()),
        Just("<p>".to_owned()),
        Just("</p>".to_owned()),
        Just("<table><tr><td>".to_owned()),
        Just("</td></tr></table>".to_owned()),
        Just("<!-- <a href='https://no.example/'> </body> -->".to_owned()),
        Just("<script>let a = \"<a href='https://no.example/'></body>\";</script>".to_owned()),
        Just("<style>a { color: red }</style>".to_owned()),
        Just("<textarea><a href='https://no.example/'></textarea>".to_owned()),
        Just("<img alt='a > b' src=x.png>".to_owned()),
        Just("<br/>".to_owned()),
        Just("< a".to_owned()),
        Just("<a".to_owned()),
        Just("&amp;".to_owned()),
        Just("\r\n".to_owned()),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn what_a_reader_sees_stays_the_same(source in document()) {
        prop_assert_eq!(seen(&html(&everything(), &source)), seen(&source));
    }

    #[test]
    fn what_is_not_a_link_stays_as_it_is(source in document()) {
        let out = html(&clicks(), &source);
        let scan = html::scan(&source).unwrap();
        let mut back = out;
        for link in scan.links.iter().filter(|link| !link.opted_out && is_public(&link.url)) {
            let at = back.find(BASE).expect("every link that can be tracked is");
            let length = back[at..].find(|c: char| "\"' >".contains(c)).unwrap();
            back.replace_range(at..at + length, &source[link.value.clone()]);
        }
        let mut expected = source.clone();
        for range in scan.opt_outs.iter().rev() {
            expected.replace_range(range.clone(), "");
        }
        prop_assert_eq!(back, expected);
    }

    #[test]
    fn every_target_is_the_decoded_link(source in document()) {
        let scan = html::scan(&source).unwrap();
        let links = scan.links.into_iter().filter(|link| !link.opted_out && is_public(&link.url));
        let links: Vec<_> = links.map(|link| link.url).collect();
        prop_assert_eq!(targets(&html(&clicks(), &source)), links);
    }
}

/// Whatever the body is: only links change, each leads where it led, and what is read in them is what
/// was found before.
#[test]
fn fuzz_body() {
    postern_fuzz::check!("body", |input| {
        let source = postern_fuzz::text(input);
        // What looks like a link of ours is not ours to check.
        let Some(scan) = html::scan(&source).filter(|_| !source.contains(BASE)) else { return };
        let links = scan.links.into_iter().filter(|link| !link.opted_out && is_public(&link.url));
        let links: Vec<_> = links.map(|link| link.url).collect();
        assert_eq!(targets(&html(&clicks(), &source)), links);
        let tracker = tracker();
        let wanted = Tracking { text_clicks: true, ..clicks() };
        let mut job = Job::new(&tracker, SENDER, &wanted, delivery());
        let changed = job.text(&source).unwrap_or_else(|| source.to_string());
        let found = links_in("", &source);
        for target in targets(&changed) {
            assert!(found.contains(&target), "{target}");
        }
    });
}

fn is_public(url: &str) -> bool {
    is_safe_target(url) && !unsubscribes(url)
}
