//! Option headers: how a client that only speaks SMTP says what the API says in fields. Ours begin
//! with `X-Postern-`; an unknown one is refused, never passed over. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use postern_proto::v1;

use crate::header::Header;
use crate::reply::Reply;
use crate::vendor;

/// What the headers of a message ask for.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Options {
    pub(crate) tags: Vec<String>,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) external_id: String,
    pub(crate) campaign_id: String,
    pub(crate) request_id: String,
    pub(crate) priority: v1::Priority,
    pub(crate) send_time: Option<Timestamp>,
    pub(crate) expire_time: Option<Timestamp>,
    pub(crate) test: bool,
    pub(crate) tracking: v1::TrackingOptions,
    pub(crate) unsubscribe: v1::UnsubscribeOptions,
}

const PREFIX: &str = "x-postern-";
/// Where the campaign stands, the first one that is there counts.
const CAMPAIGN: [&str; 3] = ["x-id-mail", "x-campaign-id", "x-mailing-id"];

/// An option that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadOption {
    pub(crate) name: String,
    pub(crate) problem: String,
}

impl BadOption {
    pub(crate) fn new(name: &str, problem: impl Into<String>) -> Self {
        Self { name: name.to_owned(), problem: problem.into() }
    }

    pub(crate) fn reply(&self) -> Reply {
        Reply::new(554, "5.6.0", format!("the header {} {}", self.name, self.problem))
    }
}

/// Reads the options of a message. `aliases` names the vendors whose headers count too.
pub(crate) fn read(header: &Header<'_>, aliases: &[i32]) -> Result<Options, BadOption> {
    let mut options = Options::default();
    for field in &header.fields {
        let name = field.name.to_ascii_lowercase();
        if let Some(option) = name.strip_prefix(PREFIX) {
            options
                .own(option, &field.value())
                .map_err(|problem| BadOption::new(field.name, problem))?;
        } else {
            let read = vendor::read(&mut options, aliases, &name, || field.value());
            read.map_err(|problem| BadOption::new(field.name, problem))?;
        }
    }
    if options.campaign_id.is_empty() {
        options.campaign_id = campaign(header);
    }
    Ok(options)
}

impl Options {
    /// One of our own options.
    fn own(&mut self, option: &str, value: &str) -> Result<(), String> {
        if let Some(key) = option.strip_prefix("metadata-") {
            self.metadata.insert(key.to_owned(), value.to_owned());
            return Ok(());
        }
        match option {
            "idempotency-key" => once(&mut self.request_id, value),
            "tag" => {
                self.tag_list(value);
                Ok(())
            }
            "metadata" => self.metadata_json(value),
            "external-id" => once(&mut self.external_id, value),
            "campaign-id" => once(&mut self.campaign_id, value),
            "priority" => {
                self.priority = match value.to_ascii_lowercase().as_str() {
                    "high" => v1::Priority::High,
                    "normal" => v1::Priority::Normal,
                    "low" => v1::Priority::Low,
                    _ => return Err("is none of high, normal, low".to_owned()),
                };
                Ok(())
            }
            "send-time" => time(value).map(|time| self.send_time = Some(time)),
            "expire-time" => time(value).map(|time| self.expire_time = Some(time)),
            "track" => self.track(value),
            "unsubscribe" => self.unsubscribe(value),
            "test" if value.eq_ignore_ascii_case("sink") => {
                self.test = true;
                Ok(())
            }
            "test" => Err("has a value other than sink".to_owned()),
            _ => Err("is not an option that Postern knows".to_owned()),
        }
    }

    /// `opens`, `clicks` (in html), `clicks=html`, `clicks=text`, `clicks=all`, or `none`; what is
    /// not named is off. `keep-campaign-links` besides leaves those of the campaign manager alone.
    fn track(&mut self, value: &str) -> Result<(), String> {
        let (mut opens, mut clicks) = (false, v1::ClickTracking::None);
        for word in words(value) {
            match word.as_str() {
                "opens" => opens = true,
                "clicks" | "clicks=html" => clicks = v1::ClickTracking::Html,
                "clicks=text" => clicks = v1::ClickTracking::Text,
                "clicks=all" => clicks = v1::ClickTracking::All,
                "none" | "clicks=none" => {}
                "keep-campaign-links" => self.tracking.keep_campaign_links = true,
                _ => {
                    return Err(
                        "has a word other than opens, clicks=html, clicks=text, clicks=all, \
                                 keep-campaign-links, none"
                            .to_owned(),
                    );
                }
            }
        }
        self.tracking.opens = Some(opens);
        self.tracking.set_clicks(clicks);
        Ok(())
    }

    /// `one-click`, `header` or `none`, and `footer` besides.
    fn unsubscribe(&mut self, value: &str) -> Result<(), String> {
        for word in words(value) {
            match word.as_str() {
                "one-click" => self.unsubscribe.set_mode(v1::UnsubscribeMode::OneClick),
                "header" => self.unsubscribe.set_mode(v1::UnsubscribeMode::Header),
                "none" => self.unsubscribe.set_mode(v1::UnsubscribeMode::None),
                "footer" => self.unsubscribe.footer = Some(true),
                _ => return Err("has a word other than one-click, header, none, footer".to_owned()),
            }
        }
        Ok(())
    }

    /// Tags separated by commas.
    pub(crate) fn tag_list(&mut self, value: &str) {
        let tags = value.split(',').map(str::trim).filter(|tag| !tag.is_empty());
        self.tags.extend(tags.map(str::to_owned));
    }

    /// Metadata as a JSON object of plain values.
    pub(crate) fn metadata_json(&mut self, value: &str) -> Result<(), String> {
        let object: BTreeMap<String, serde_json::Value> =
            serde_json::from_str(value).map_err(|error| format!("is no JSON object: {error}"))?;
        for (key, value) in object {
            let text = match value {
                serde_json::Value::String(text) => text,
                plain if !plain.is_object() && !plain.is_array() => plain.to_string(),
                _ => return Err(format!("has a nested value under {key}; give text")),
            };
            self.metadata.insert(key, text);
        }
        Ok(())
    }
}

/// Words separated by commas, in lower case.
fn words(value: &str) -> impl Iterator<Item = String> {
    value.split(',').map(|word| word.trim().to_ascii_lowercase()).filter(|word| !word.is_empty())
}

/// A time as RFC 3339 or RFC 5322 writes it.
pub(crate) fn time(value: &str) -> Result<Timestamp, String> {
    let mail_date = || jiff::fmt::rfc2822::parse(value).map(|zoned| zoned.timestamp());
    let parsed = value.parse::<Timestamp>().or_else(|_| mail_date());
    parsed.map_err(|_| "is no time; write 2026-12-01T09:00:00Z".to_owned())
}

fn once(place: &mut String, value: &str) -> Result<(), String> {
    if !place.is_empty() {
        return Err("stands twice".to_owned());
    }
    if value.is_empty() {
        return Err("is empty".to_owned());
    }
    value.clone_into(place);
    Ok(())
}

/// The campaign manager's campaign, `[12345]` read as `12345`.
fn campaign(header: &Header<'_>) -> String {
    let named = |wanted: &&str| {
        let found = header.fields.iter().find(|field| field.name.eq_ignore_ascii_case(wanted));
        found.map(|field| field.value())
    };
    let value = CAMPAIGN.iter().find_map(named).unwrap_or_default();
    let inner = value.trim();
    let inner = inner.strip_prefix('[').unwrap_or(inner);
    inner.strip_suffix(']').unwrap_or(inner).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(text: &str, aliases: &[v1::HeaderAlias]) -> Result<Options, BadOption> {
        let message = format!("{}\r\n\r\nbody\r\n", text.replace('\n', "\r\n"));
        let aliases: Vec<i32> = aliases.iter().map(|alias| *alias as i32).collect();
        read(&Header::split(message.as_bytes()).unwrap(), &aliases)
    }

    #[test]
    fn our_options_are_read() {
        let text = "Subject: x\nX-Postern-Tag: a, b\nx-postern-tag: c\nX-Postern-Metadata: {\"n\":1,\n \"t\":\"x\"}\n\
                    X-Postern-Metadata-uid: 9\nX-Postern-Idempotency-Key: k1\nX-Postern-Priority: High\n\
                    X-Postern-Send-Time: Tue, 01 Dec 2026 09:00:00 +0100\nX-Postern-External-Id: o1\n\
                    X-Postern-Test: sink";
        let read = options(text, &[]).unwrap();
        assert_eq!(read.tags, ["a", "b", "c"]);
        let metadata: Vec<_> = read.metadata.iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(metadata, ["n=1", "t=x", "uid=9"]);
        assert_eq!((read.request_id.as_str(), read.external_id.as_str()), ("k1", "o1"));
        assert_eq!(read.priority, v1::Priority::High);
        assert_eq!(read.send_time.unwrap().to_string(), "2026-12-01T08:00:00Z");
        assert!(read.test);
    }

    #[test]
    fn tracking_is_said_in_words() {
        use v1::{ClickTracking, UnsubscribeMode};
        for (value, opens, clicks) in [
            ("opens,clicks=html", true, ClickTracking::Html),
            ("Opens, Clicks", true, ClickTracking::Html),
            ("clicks=all", false, ClickTracking::All),
            ("clicks=text, keep-campaign-links", false, ClickTracking::Text),
            ("none", false, ClickTracking::None),
        ] {
            let read = options(&format!("X-Postern-Track: {value}"), &[]).unwrap().tracking;
            assert_eq!((read.opens, read.clicks()), (Some(opens), clicks), "{value}");
            assert_eq!(read.keep_campaign_links, value.contains("keep"));
        }
        assert_eq!(options("Subject: x", &[]).unwrap().tracking, v1::TrackingOptions::default());
        let read = options("X-Postern-Unsubscribe: one-click, footer", &[]).unwrap().unsubscribe;
        assert_eq!((read.mode(), read.footer), (UnsubscribeMode::OneClick, Some(true)));
    }

    #[test]
    fn vendors_say_it_in_their_own() {
        use v1::{ClickTracking, HeaderAlias::*};
        for (alias, text, opens, clicks) in [
            (
                Postmark,
                "X-PM-TrackOpens: true\nX-PM-TrackLinks: HtmlAndText",
                Some(true),
                ClickTracking::All,
            ),
            (Postmark, "X-PM-TrackLinks: None", None, ClickTracking::None),
            (Mailgun, "X-Mailgun-Track: no", Some(false), ClickTracking::None),
            (Mailgun, "X-Mailgun-Track-Opens: yes", Some(true), ClickTracking::Unspecified),
            (Mailgun, "X-Mailgun-Track-Clicks: htmlonly", None, ClickTracking::Html),
            (Mandrill, "X-MC-Track: opens, clicks_htmlonly", Some(true), ClickTracking::Html),
            (Mandrill, "X-MC-Track: clicks_all", Some(false), ClickTracking::All),
            (
                Sendgrid,
                "X-SMTPAPI: {\"filters\":{\"opentrack\":{\"settings\":{\"enable\":1}},\"clicktrack\":{\"settings\":{\"enable\":0}}}}",
                Some(true),
                ClickTracking::None,
            ),
            (
                Sparkpost,
                "X-MSYS-API: {\"options\":{\"open_tracking\":false,\"click_tracking\":true}}",
                Some(false),
                ClickTracking::All,
            ),
        ] {
            let read = options(text, &[alias]).unwrap().tracking;
            assert_eq!((read.opens, read.clicks()), (opens, clicks), "{text}");
            let unread = options(text, &[]).unwrap().tracking;
            assert_eq!(unread, v1::TrackingOptions::default());
        }
        let list = "X-SES-LIST-MANAGEMENT-OPTIONS: news; topic=a";
        let read = options(list, &[Ses]).unwrap().unsubscribe;
        assert_eq!(read.mode(), v1::UnsubscribeMode::OneClick);
        assert!(options("X-PM-TrackLinks: some", &[Postmark]).is_err());
    }

    #[test]
    fn the_campaign_is_where_the_old_system_looked() {
        for (text, campaign) in [
            ("X-ID-mail: [12345]", "12345"),
            ("X-Mailing-ID: 3\nX-Campaign-ID: 2\nx-id-MAIL: 1", "1"),
            ("X-Mailing-ID: 3\nX-Campaign-ID: 2", "2"),
            ("X-Mailing-ID: [%%ID%%]", "%%ID%%"),
            ("X-ID-mail: 7\nX-ID-mail: 8", "7"),
            ("Subject: none", ""),
        ] {
            assert_eq!(options(text, &[]).unwrap().campaign_id, campaign, "{text}");
        }
        let own = options("X-ID-mail: 1\nX-Postern-Campaign-Id: 2", &[]).unwrap();
        assert_eq!(own.campaign_id, "2");
    }

    #[test]
    fn what_is_unknown_or_malformed_is_refused_by_name() {
        for text in [
            "X-Postern-Nothing: 1",
            "X-Postern-Metadata: {",
            "X-Postern-Metadata: {\"a\":{}}",
            "X-Postern-Priority: urgent",
            "X-Postern-Send-Time: tomorrow",
            "X-Postern-Idempotency-Key: a\nX-Postern-Idempotency-Key: b",
            "X-Postern-Test: maybe",
            "X-Postern-Track: everything",
            "X-Postern-Unsubscribe: never",
            "X-Postern-: x",
        ] {
            let refused = options(text, &[]).unwrap_err();
            assert!(refused.name.starts_with("X-Postern-"), "{text}");
        }
    }

    #[test]
    fn vendors_count_only_when_the_credential_says_so() {
        use v1::HeaderAlias::*;
        let text = "X-PM-Tag: a\nX-SMTPAPI: {\"category\":[\"b\",\"c\"],\"unique_args\":{\"u\":1}}\n\
                    X-Mailgun-Variables: {\"m\":\"2\"}\nX-MSYS-API: {\"campaign_id\":\"d\",\"metadata\":{\"s\":\"3\"}}\n\
                    Resend-Idempotency-Key: k\nX-SES-MESSAGE-TAGS: env=prod, team=x\nX-Sib-Sandbox: drop";
        assert_eq!(options(text, &[]).unwrap(), Options::default());
        let all = [Postmark, Sendgrid, Mailgun, Sparkpost, Resend, Ses, Brevo];
        let read = options(text, &all).unwrap();
        assert_eq!(read.tags, ["a", "b", "c", "d", "env=prod", "team=x"]);
        let metadata: Vec<_> = read.metadata.iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(metadata, ["m=2", "s=3", "u=1"]);
        assert_eq!(read.request_id, "k");
        assert!(read.test);
        assert!(options("X-SMTPAPI: {", &[Sendgrid]).is_err());
    }

    /// Options are read the same way twice, ids are on one line, and so is a refusal.
    #[test]
    fn fuzz_options() {
        postern_fuzz::check!("options", |input| {
            let Some(header) = Header::split(input) else { return };
            let aliases: Vec<i32> = (0..16).collect();
            let read = super::read(&header, &aliases);
            assert_eq!(read, super::read(&header, &aliases));
            match read {
                Ok(options) => {
                    for id in [options.request_id, options.external_id, options.campaign_id] {
                        assert!(!id.contains(['\r', '\n']));
                    }
                }
                Err(problem) => {
                    let mut out = Vec::new();
                    problem.reply().write(&mut out);
                    assert!(out.ends_with(b"\r\n") && out.len() <= 512);
                    assert!(out[..out.len() - 2].iter().all(|b| matches!(b, b' '..=b'~')));
                }
            }
        });
    }
}
