//! What a refusal means, in one word (RFC 3463, RFC 5248, and the habits of large receivers).
//!
//! The enhanced code decides where it is specific; words decide where it is not, matched as whole
//! words so that a queue id or an address cannot be taken for one; the code and the phase decide
//! where both are silent. Pure.

use postern_smtp_wire::reply::Enhanced;

use crate::model::delivery::{Category, Phase, Reply};

/// What a refusal means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Why.
    pub category: Category,
    /// Trying again is of no use.
    pub permanent: bool,
}

/// Judges a reply that is not the hoped-for one. Whether it is permanent is the code's to say, never
/// the text's; a reply that is neither 4xx nor 5xx is a breach of protocol and may pass.
pub fn classify(code: u16, enhanced: Option<Enhanced>, text: &str, phase: Phase) -> Verdict {
    let permanent = code / 100 == 5;
    if !permanent && code / 100 != 4 {
        return Verdict { category: Category::Protocol, permanent: false };
    }
    let words = Words::of(text);
    let category = enhanced
        .and_then(|code| by_enhanced(code, &words))
        .or_else(|| by_words(&words, phase))
        .unwrap_or_else(|| by_code(code, enhanced, phase));
    Verdict { category, permanent }
}

/// The meaning of codes that have one; `None` for codes that only say "address" or "policy".
fn by_enhanced(code: Enhanced, words: &Words) -> Option<Category> {
    let found = match (code.subject, code.detail) {
        (1, 1 | 6) => Category::UnknownUser,
        (1, 2 | 10) => Category::DnsFailure,
        (1, 8) => Category::Policy,
        // "Disabled"; some say it of full mailboxes, and Gmail of mailboxes that get too much mail.
        (2, 1) => [Category::MailboxFull, Category::RateLimited, Category::UnknownUser]
            .into_iter()
            .find(|category| words.mean(*category))
            .unwrap_or(Category::Inactive),
        (2, 2) => Category::MailboxFull,
        (2, 3) | (3, 4) => Category::TooLarge,
        (4, 1 | 2) => Category::Connection,
        (4, 3 | 4) => Category::DnsFailure,
        (4, 5) => Category::RateLimited,
        (4, 7) => Category::Timeout,
        (5, 3) => Category::RateLimited,
        (6, 1..=9) => Category::Protocol,
        (7, 8 | 20..=24 | 26 | 29 | 30) => Category::AuthFailed,
        (7, 10 | 11) => Category::Tls,
        (7, 25) => Category::Reputation,
        (7, 28) => Category::RateLimited,
        // Microsoft's own: no relaying; too many; a blocked address.
        (7, 54 | 64) => Category::RelayDenied,
        (7, 650..=699) => Category::RateLimited,
        (7, 509) => Category::AuthFailed,
        (7, 501..=508 | 510..=511 | 606..=649) => Category::Reputation,
        _ => return None,
    };
    Some(found)
}

/// Said of the sender. A recipient must not be given up for what else stands there.
const SENDER: &str = "sender address rejected|sender rejected|sender verify failed|\
    sender verification failed|invalid sender|sender unknown|unknown sender|sender domain|\
    sender s domain|domain of sender|sending domain";

/// Phrases and their meaning, separated by `|`; the first that occurs decides. What names the recipient stands first,
/// since "rejected" and "blocked" are said of everything.
const PHRASES: [(Category, &str); 13] = [
    (
        Category::UnknownUser,
        "user unknown|unknown user|no such user|no such recipient|no such mailbox|\
         user not found|mailbox not found|recipient not found|address not found|\
         unknown recipient|recipient unknown|unknown mailbox|unknown address|no mailbox here|\
         invalid recipient|invalid mailbox|user doesn t have|\
         not a valid mailbox|unrouteable address|unable to find recipient|\
         recipient address rejected user|not our customer|address unknown|no such address|\
         no such person|undeliverable address",
    ),
    (
        Category::MailboxFull,
        "mailbox full|mailbox is full|over quota|quota exceeded|exceeded quota|\
         exceeded storage allocation|storage quota|out of storage|inbox is full|\
         exceeds quota|overquota|not enough space in mailbox|quotaexceeded",
    ),
    (
        Category::Inactive,
        "mailbox disabled|account disabled|account is disabled|user disabled|\
         mailbox is disabled|account inactive|inactive user|mailbox is inactive|\
         account has been disabled|user is inactive|suspended|deactivated|\
         account is inactive|inactive mailbox",
    ),
    (
        Category::AuthFailed,
        "spf|dkim|dmarc|unauthenticated|sender authentication|authentication failed|\
         authentication required|not authenticated|authentication checks",
    ),
    (
        Category::DnsFailure,
        "domain does not exist|domain doesn t exist|domain not found|host does not exist|\
         record does not exist",
    ),
    // Said of records and domains, too.
    (Category::UnknownUser, "does not exist|doesn t exist"),
    (
        Category::RelayDenied,
        "relay access denied|relaying denied|relay denied|relay not permitted|\
         unable to relay|relaying not allowed|not permitted to relay|no relaying|\
         relay not allowed|cannot relay|we do not relay",
    ),
    (
        Category::RateLimited,
        "greylisted|greylisting|greylist|graylisted|graylisting|rate limit|rate limited|\
         ratelimit|too many connections|too many messages|too many recipients|\
         too many concurrent|receiving mail at a rate|connection rate|throttled|throttling|\
         throttle|too much mail|sending too fast|unusual rate|try again later|try later|\
         too fast|limit exceeded|temporarily deferred",
    ),
    (
        Category::TooLarge,
        "message too large|message too big|message size exceeds|exceeds size limit|\
         size limit|message file too big|too large|maximum message size|message exceeds|\
         exceeds maximum",
    ),
    (
        Category::Reputation,
        "spamhaus|spamcop|barracuda|dnsbl|rbl|blacklist|blacklisted|blocklist|blocklisted|\
         block list|denylist|poor reputation|reputation|bad reputation|sorbs|senderscore|\
         listed in|listed by|reverse dns|ptr record|banned|s3140|s3150",
    ),
    (
        Category::SpamContent,
        "spam|likely spam|suspected spam|unsolicited|message has been blocked|\
         message blocked|message was blocked|content rejected|rejected content|virus|malware|\
         phishing|message content rejected|high spam score|considered spam|junk mail",
    ),
    (Category::Tls, "must issue a starttls|starttls first|tls required|encryption required"),
    (
        Category::Policy,
        "policy|blocked|access denied|not allowed|not authorized|administrative|\
         administratively|prohibited|not accepted|rejected by|not permitted|unauthorized|\
         denied|local policies|restricted",
    ),
];

fn by_words(words: &Words, phase: Phase) -> Option<Category> {
    let is_about_sender = words.are_about_sender();
    // "Mailbox unavailable" is the RFC's text of 550; behind RCPT it speaks of the recipient.
    let names_mailbox = phase == Phase::Rcpt && words.contain("mailbox unavailable");
    if names_mailbox && !is_about_sender && !words.mean(Category::AuthFailed) {
        return Some(Category::UnknownUser);
    }
    let may_be = |category: Category| !is_about_sender || !category.is_dead();
    let mut phrases = PHRASES.iter().filter(|(category, _)| may_be(*category));
    let found = phrases.find(|(_, phrases)| words.contain_one_of(phrases));
    found.map(|(category, _)| *category).or(is_about_sender.then_some(Category::Policy))
}

fn by_code(code: u16, enhanced: Option<Enhanced>, phase: Phase) -> Category {
    match (enhanced.map(|code| code.subject), code) {
        (Some(5), _) | (_, 500..=504 | 555) => Category::Protocol,
        (Some(7), _) => Category::Policy,
        (Some(6), _) => Category::Protocol,
        (_, 521 | 556) => Category::DnsFailure,
        (_, 530 | 534 | 535 | 538) => Category::AuthFailed,
        (_, 552) if phase == Phase::Rcpt => Category::MailboxFull,
        (_, 552) => Category::TooLarge,
        (_, 421) => Category::Connection,
        (_, 454) => Category::Tls,
        (_, 554) => Category::Policy,
        _ => Category::Other,
    }
}

/// Whether the enhanced code of a reply says what it means, so that no words are looked at.
pub(super) fn is_decided_by_code(reply: &Reply) -> bool {
    let code = Enhanced::split_from(&reply.enhanced).map(|(code, _)| code);
    code.is_some_and(|code| by_enhanced(code, &Words::of(&reply.text)).is_some())
}

/// The text as ` word word word `: lower case, everything between words one space.
pub(super) struct Words(String);

impl Words {
    pub(super) fn of(text: &str) -> Self {
        let mut words = String::with_capacity(text.len() + 2);
        words.push(' ');
        for c in text.chars() {
            if c.is_alphanumeric() {
                // A mark that comes of it, as of the Turkish capital with a dot, would part the word
                // when it is read again.
                words.extend(c.to_lowercase().filter(|c| c.is_alphanumeric()));
            } else if !words.ends_with(' ') {
                words.push(' ');
            }
        }
        if !words.ends_with(' ') {
            words.push(' ');
        }
        Self(words)
    }

    /// The words as a phrase that [`Self::contain`] takes.
    pub(super) fn phrase(&self) -> &str {
        self.0.trim()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.phrase().is_empty()
    }

    pub(super) fn contain(&self, phrase: &str) -> bool {
        self.0.match_indices(phrase).any(|(at, _)| {
            self.0[..at].ends_with(' ') && self.0[at + phrase.len()..].starts_with(' ')
        })
    }

    /// Whether something is said of the sender.
    pub(super) fn are_about_sender(&self) -> bool {
        self.contain_one_of(SENDER)
    }

    fn contain_one_of(&self, phrases: &str) -> bool {
        phrases.split('|').any(|phrase| self.contain(phrase))
    }

    fn mean(&self, category: Category) -> bool {
        let mut phrases = PHRASES.iter().filter(|(other, _)| *other == category);
        phrases.any(|(_, phrases)| self.contain_one_of(phrases))
    }
}
