//! What a mail gets: what the message asks for, or else its credential, or else the settings.

use postern_proto::settings::{self, Settings};
use postern_proto::v1::{ClickTracking, TrackingOptions, UnsubscribeMode, UnsubscribeOptions};

use crate::model::content::{Tracking, Wishes};

/// What the settings say, looked up once per change of theirs.
#[derive(Debug, Clone, Copy, Default)]
pub struct Defaults {
    opens: bool,
    html_clicks: bool,
    text_clicks: bool,
    footer: bool,
    honeypot: bool,
    unsubscribe_headers: bool,
    links_max: u32,
}

impl Defaults {
    /// Reads the settings.
    pub fn of(values: &Settings) -> Self {
        Self {
            opens: values.is_on(&settings::TRACKING_OPENS),
            html_clicks: values.is_on(&settings::TRACKING_CLICKS),
            text_clicks: values.is_on(&settings::TRACKING_TEXT_CLICKS),
            footer: values.is_on(&settings::TRACKING_FOOTER),
            honeypot: values.is_on(&settings::TRACKING_HONEYPOT),
            unsubscribe_headers: values.is_on(&settings::TRACKING_UNSUBSCRIBE_HEADERS),
            links_max: u32::try_from(values.get(&settings::TRACKING_LINKS_MAX)).unwrap_or(0),
        }
    }
}

impl Wishes {
    /// Whether anything is asked for that needs links of ours.
    pub fn needs_links(&self) -> bool {
        let tracking = self.tracking.unwrap_or_default();
        let unsubscribe = self.unsubscribe.unwrap_or_default();
        let clicks = !matches!(tracking.clicks(), ClickTracking::Unspecified | ClickTracking::None);
        let fields =
            matches!(unsubscribe.mode(), UnsubscribeMode::Header | UnsubscribeMode::OneClick);
        tracking.opens() || clicks || unsubscribe.footer() || fields
    }

    fn tracking(&self) -> TrackingOptions {
        self.tracking.unwrap_or_default()
    }

    fn unsubscribe(&self) -> UnsubscribeOptions {
        self.unsubscribe.unwrap_or_default()
    }
}

/// Decides what a mail gets; none when that is nothing. `in_campaign` says that the message has a
/// campaign, and `brings_own` that it has a List-Unsubscribe field of its own.
pub fn decide(
    message: &Wishes,
    credential: &Wishes,
    defaults: &Defaults,
    in_campaign: bool,
    brings_own: bool,
) -> Option<Tracking> {
    let asked = [message.tracking(), credential.tracking()];
    let clicks = asked.iter().map(TrackingOptions::clicks);
    let clicks = clicks.into_iter().find(|clicks| *clicks != ClickTracking::Unspecified);
    let (html_clicks, text_clicks) = match clicks {
        None => (defaults.html_clicks, defaults.text_clicks),
        Some(clicks) => (
            matches!(clicks, ClickTracking::Html | ClickTracking::All),
            matches!(clicks, ClickTracking::Text | ClickTracking::All),
        ),
    };
    let leaving = [message.unsubscribe(), credential.unsubscribe()];
    let mode = leaving.iter().map(UnsubscribeOptions::mode);
    let mode = mode.into_iter().find(|mode| *mode != UnsubscribeMode::Unspecified);
    let by_default = defaults.unsubscribe_headers && in_campaign && !brings_own;
    let one_click = match mode {
        None => by_default,
        Some(mode) => mode == UnsubscribeMode::OneClick,
    };
    let tracking = Tracking {
        opens: asked.iter().find_map(|one| one.opens).unwrap_or(defaults.opens),
        html_clicks,
        text_clicks,
        footer: leaving.iter().find_map(|one| one.footer).unwrap_or(defaults.footer),
        unsubscribe_header: mode == Some(UnsubscribeMode::Header),
        one_click,
        keep_campaign_links: asked.iter().any(|one| one.keep_campaign_links),
        honeypot: defaults.honeypot && html_clicks,
        links_max: defaults.links_max,
    };
    let wanted = tracking.opens
        || tracking.html_clicks
        || tracking.text_clicks
        || tracking.footer
        || tracking.unsubscribe_header
        || tracking.one_click;
    wanted.then_some(tracking)
}
