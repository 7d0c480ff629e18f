//! Who was behind an open or a click: a person, a program, or who can tell. Pure.
//!
//! Nothing is left out because of a verdict: what a bot did is recorded and flagged. A wrong "bot"
//! hides a person and a wrong "human" flatters a statistic, so in doubt the answer is "unknown".

use std::time::Duration;

use postern_proto::v1::{HitKind, Verdict};

use crate::visitor::Visitor;

/// A verdict, and the words that say why.
pub(crate) type Judgement = (Verdict, Vec<&'static str>);

/// Words that programs have in their names: crawlers, link checkers, libraries.
const PROGRAMS: [&str; 26] = [
    "bot",
    "crawler",
    "crawl",
    "spider",
    "slurp",
    "scanner",
    "scan",
    "mediapartners",
    "facebookexternalhit",
    "facebookcatalog",
    "whatsapp",
    "telegrambot",
    "skypeuripreview",
    "linkpreview",
    "curl",
    "wget",
    "python",
    "aiohttp",
    "httpx",
    "java",
    "ruby",
    "perl",
    "headlesschrome",
    "phantomjs",
    "node",
    "axios",
];

/// Names of products that look into mail for somebody else.
const SECURITY: [&str; 12] = [
    "barracuda",
    "proofpoint",
    "mimecast",
    "forcepoint",
    "fireeye",
    "trendmicro",
    "sophos",
    "symantec",
    "messagelabs",
    "safelinks",
    "urldefense",
    "checkpoint",
];

/// Servers that fetch images in the name of readers, when these look or before.
const IMAGE_PROXIES: [&str; 4] =
    ["googleimageproxy", "yahoomailproxy", "duckduckgo-favicons", "yahoocachesystem"];

/// Judges a hit. `age` is how long ago the mail was accepted, where that is known; sooner than
/// `scanner_window` after it nobody has read anything.
pub(crate) fn judge(
    visitor: &Visitor,
    kind: HitKind,
    age: Option<Duration>,
    scanner_window: Duration,
) -> Judgement {
    let agent = visitor.user_agent.to_ascii_lowercase();
    let mut bot = Vec::new();
    if visitor.is_head {
        bot.push("head_request");
    }
    if visitor.is_prefetch {
        bot.push("prefetch");
    }
    if SECURITY.iter().any(|name| agent.contains(name)) {
        bot.push("security_scanner");
    } else if age.is_some_and(|age| age < scanner_window) {
        bot.push("too_soon");
    }
    if words(&agent).any(is_program) {
        bot.push("program");
    }
    let proxied = IMAGE_PROXIES.iter().any(|name| agent.contains(name));
    if proxied && kind == HitKind::Click {
        // Nobody clicks through a server that fetches images.
        bot.push("image_proxy");
    }
    if !bot.is_empty() {
        return (Verdict::Bot, bot);
    }
    if agent.is_empty() {
        return (Verdict::Unknown, vec!["no_user_agent"]);
    }
    if proxied {
        return (Verdict::Unknown, vec!["image_proxy"]);
    }
    if agent == "mozilla/5.0" {
        // Apple's Mail Privacy Protection loads every image, read or not.
        return (Verdict::Unknown, vec!["mail_privacy_protection"]);
    }
    (Verdict::Human, Vec::new())
}

/// Whether somebody who calls itself this may change a subscription.
pub(crate) fn is_bot(visitor: &Visitor) -> bool {
    judge(visitor, HitKind::Click, None, Duration::ZERO).0 == Verdict::Bot
}

fn words(agent: &str) -> impl Iterator<Item = &str> {
    agent.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty())
}

fn is_program(word: &str) -> bool {
    // Cubot makes telephones.
    PROGRAMS.contains(&word)
        || (word.ends_with("bot") && word != "cubot")
        || word.starts_with("crawl")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::visitor::Language;

    const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

    fn visitor(user_agent: &str) -> Visitor {
        Visitor {
            ip: None,
            user_agent: user_agent.to_owned(),
            is_head: false,
            is_prefetch: false,
            language: Language::English,
        }
    }

    fn of(user_agent: &str, kind: HitKind) -> Verdict {
        judge(&visitor(user_agent), kind, None, Duration::from_secs(5)).0
    }

    #[test]
    fn people_are_people() {
        for agent in [
            FIREFOX,
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148",
            "Mozilla/5.0 (Linux; Android 10; CUBOT X30) AppleWebKit/537.36 Chrome/120.0 Mobile",
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Microsoft Outlook 16.0",
            "Mozilla/5.0 (Macintosh) Thunderbird/140.0 Abbott",
        ] {
            assert_eq!(of(agent, HitKind::Open), Verdict::Human, "{agent}");
            assert_eq!(of(agent, HitKind::Click), Verdict::Human, "{agent}");
        }
    }

    #[test]
    fn programs_are_bots() {
        for agent in [
            "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
            "AhrefsBot/7.0",
            "Applebot/0.1",
            "Slackbot-LinkExpanding 1.0",
            "webcrawler (crawler@example.org)",
            "facebookexternalhit/1.1",
            "WhatsApp/2.23",
            "curl/8.5.0",
            "python-requests/2.31",
            "Mozilla/5.0 HeadlessChrome/120.0 Safari/537.36",
            "Barracuda Sentinel (EE)",
        ] {
            assert_eq!(of(agent, HitKind::Open), Verdict::Bot, "{agent}");
        }
    }

    #[test]
    fn proxies_tell_nothing_about_opens_and_click_nothing() {
        let google = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)";
        assert_eq!(of(google, HitKind::Open), Verdict::Unknown);
        assert_eq!(of(google, HitKind::Click), Verdict::Bot);
        assert_eq!(of("Mozilla/5.0", HitKind::Open), Verdict::Unknown);
        assert_eq!(of("", HitKind::Open), Verdict::Unknown);
    }

    #[test]
    fn looking_ahead_head_and_haste_give_bots_away() {
        let window = Duration::from_secs(5);
        let judged = |visitor: &Visitor, age| judge(visitor, HitKind::Click, age, window);
        let prefetch = Visitor { is_prefetch: true, ..visitor(FIREFOX) };
        assert_eq!(judged(&prefetch, None), (Verdict::Bot, vec!["prefetch"]));
        let head = Visitor { is_head: true, ..visitor(FIREFOX) };
        assert_eq!(judged(&head, None), (Verdict::Bot, vec!["head_request"]));
        let soon = Some(Duration::from_secs(4));
        assert_eq!(judged(&visitor(FIREFOX), soon), (Verdict::Bot, vec!["too_soon"]));
        assert_eq!(judged(&visitor(FIREFOX), Some(window)).0, Verdict::Human);
        assert!(is_bot(&head) && !is_bot(&visitor(FIREFOX)) && !is_bot(&visitor("")));
    }
}
