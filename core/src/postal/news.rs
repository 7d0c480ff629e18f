//! What Postal's words about a mail mean for the delivery. The same for webhooks and for answers to our
//! questions. Pure.

use postern_smtp_wire::reply::Enhanced;

use crate::model::delivery::{Category, Phase, Reply, State};
use crate::model::directory::SuppressionReason;
use crate::model::event::EventType;
use crate::store::reports::News;
use crate::transport::classify::classify;
use crate::transport::patterns::Patterns;

/// What Postal says about an attempt.
#[derive(Debug, Clone, Copy, Default)]
pub struct Said<'a> {
    /// What the recipient's server answered; empty when there was none.
    pub output: &'a str,
    /// What Postal says itself.
    pub details: &'a str,
}

/// The recipient's server took it.
pub fn delivered(said: Said<'_>) -> News {
    let (reply, _) = reply(said);
    News {
        event: EventType::Delivered,
        state: Some(State::Delivered),
        reason: "",
        reply: Some(reply),
        suppress: None,
    }
}

/// An attempt failed; Postal goes on trying.
pub fn delayed(said: Said<'_>) -> News {
    let (reply, enhanced) = reply(said);
    let reason = category(said, reply.code, enhanced).name();
    let (event, state) = (EventType::Deferred, Some(State::Sent));
    News { event, state, reason, reply: Some(reply), suppress: None }
}

/// Postal has given up. The recipient's server has refused it only if it said so: Postal also gives
/// up when its retries are used up.
pub fn gave_up(said: Said<'_>) -> News {
    let (reply, enhanced) = reply(said);
    let category = category(said, reply.code, enhanced);
    let refused = reply.code / 100 == 5;
    let (event, state) = match refused {
        true => (EventType::Bounced, State::Bounced),
        false => (EventType::Failed, State::Failed),
    };
    let dead = refused && category.is_dead();
    News {
        event,
        state: Some(state),
        reason: category.name(),
        reply: Some(reply),
        suppress: dead.then_some(SuppressionReason::HardBounce),
    }
}

/// The same with the reason that the operator's own patterns give, where one fits.
pub fn refined(mut news: News, patterns: &Patterns) -> News {
    let old = Category::from_name(news.reason);
    if let (Some(reply), Some(old)) = (&news.reply, old) {
        let category = patterns.refine(reply, old);
        news.reason = category.name();
        if news.event == EventType::Bounced {
            let dead = reply.code / 100 == 5 && Category::is_dead_address(news.reason);
            news.suppress = dead.then_some(SuppressionReason::HardBounce);
        }
    }
    news
}

/// Postal does not send it until somebody releases it, and forgets it after a week.
pub fn held(said: Said<'_>) -> News {
    let details = if said.details.is_empty() { "without a reason" } else { said.details };
    failed(Category::Policy, &format!("Postal holds the message: {details}"))
}

/// It has failed for a reason of ours.
pub fn failed(category: Category, text: &str) -> News {
    News {
        event: EventType::Failed,
        state: Some(State::Failed),
        reason: category.name(),
        reply: Some(Reply { text: cut(text), ..Reply::local("") }),
        suppress: None,
    }
}

/// A bounce message came back. Postal does not say why, and takes every answer that quotes the header
/// for one, so the address stays in use.
pub fn bounced() -> News {
    let text = "a bounce message came back; Postal does not say what is in it".to_owned();
    let phase = Phase::OutOfBand.name().to_owned();
    News {
        event: EventType::Bounced,
        state: Some(State::Bounced),
        reason: Category::Other.name(),
        reply: Some(Reply { text, phase, ..Reply::default() }),
        suppress: None,
    }
}

/// The recipient complained.
pub fn complained() -> News {
    News {
        event: EventType::Complained,
        state: None,
        reason: "",
        reply: None,
        suppress: Some(SuppressionReason::Complaint),
    }
}

/// The reply of the recipient's server, which stands in the output as it came.
fn reply(said: Said<'_>) -> (Reply, Option<Enhanced>) {
    let output = said.output.trim();
    let code = output.get(..3).and_then(|digits| digits.parse::<u16>().ok());
    let code = code.filter(|code| (200..600).contains(code));
    let behind = match code {
        Some(_) => output.get(4..).unwrap_or_default(),
        None => output,
    };
    let (enhanced, behind) = match code.and_then(|_| Enhanced::split_from(behind)) {
        Some((enhanced, rest)) => (Some(enhanced), rest),
        None => (None, behind),
    };
    let text = if behind.trim().is_empty() { said.details } else { behind.trim() };
    let reply = Reply {
        code: code.unwrap_or_default().into(),
        enhanced: enhanced.map(|code| code.to_string()).unwrap_or_default(),
        text: cut(text),
        phase: Phase::Data.name().to_owned(),
        ..Reply::default()
    };
    (reply, enhanced)
}

fn category(said: Said<'_>, code: u32, enhanced: Option<Enhanced>) -> Category {
    // Without a code of the server's, only the words tell.
    let code = if code == 0 { 450 } else { code as u16 };
    let text = format!("{} {}", said.output, said.details);
    classify(code, enhanced, &text, Phase::Data).category
}

fn cut(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    text[..text.floor_char_boundary(Reply::TEXT_BYTES_MAX)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(output: &str) -> News {
        gave_up(Said { output, details: "Permanent SMTP delivery error when sending" })
    }

    #[test]
    fn a_dead_address_is_told_from_what_says_nothing_about_the_address() {
        for (output, reason, suppressed) in [
            (
                "550 5.1.1 <a@b.example>: Recipient address rejected: User unknown",
                "unknown_user",
                true,
            ),
            ("550-5.1.1 The email account that you tried to reach", "unknown_user", true),
            ("550 5.2.1 The account is disabled", "inactive", true),
            ("550 5.7.1 rejected: listed at spamhaus", "reputation", false),
            ("550 5.7.23 SPF validation failed", "auth_failed", false),
            ("552 5.2.2 mailbox full", "mailbox_full", false),
            ("550 no such user here", "unknown_user", true),
            ("550 queue id 14294, refused", "other", false),
        ] {
            let news = said(output);
            assert_eq!((news.event, news.reason), (EventType::Bounced, reason), "{output}");
            assert_eq!(news.suppress.is_some(), suppressed, "{output}");
        }
    }

    #[test]
    fn giving_up_is_no_bounce() {
        for output in ["", "451 4.3.0 try later: user unknown", "Connection refused"] {
            let news = said(output);
            assert_eq!((news.state, news.suppress), (Some(State::Failed), None), "{output}");
        }
    }

    #[test]
    fn the_operators_own_patterns_are_heard() {
        let patterns = Patterns::new(vec![(Category::UnknownUser, "unbekannt".to_owned())]);
        let news = refined(said("550 Empfaenger unbekannt"), &patterns);
        assert_eq!((news.reason, news.suppress.is_some()), ("unknown_user", true));
        let news = refined(said("550 5.7.1 unbekannt: spamhaus"), &Patterns::default());
        assert_eq!(news, said("550 5.7.1 unbekannt: spamhaus"));
        assert_eq!(refined(bounced(), &patterns), bounced());
    }

    #[test]
    fn the_reply_is_taken_apart() {
        let news = delivered(Said { output: "250 2.0.0 OK 17 x\n", details: "accepted" });
        let reply = news.reply.unwrap();
        assert_eq!(
            (reply.code, reply.enhanced.as_str(), reply.text.as_str()),
            (250, "2.0.0", "OK 17 x")
        );
        let silent = delivered(Said { output: "", details: "accepted" }).reply.unwrap();
        assert_eq!((silent.code, silent.text.as_str()), (0, "accepted"));
        let odd = delayed(Said { output: "é50", details: "" }).reply.unwrap();
        assert_eq!((odd.code, odd.text.as_str()), (0, "é50"));
    }
}
