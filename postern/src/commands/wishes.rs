//! The options of `keys create` and `smtp-credentials create` that are about tracking. Pure.

use postern_proto::v1::{ClickTracking, TrackingOptions, UnsubscribeMode, UnsubscribeOptions};

use crate::cli::{Clicks, Switch, Unsubscribe, Wishes};

/// What was asked for; none where nothing was.
pub(super) fn tracking(wishes: &Wishes) -> Option<TrackingOptions> {
    let clicks = match wishes.track_clicks {
        None => ClickTracking::Unspecified,
        Some(Clicks::None) => ClickTracking::None,
        Some(Clicks::Html) => ClickTracking::Html,
        Some(Clicks::Text) => ClickTracking::Text,
        Some(Clicks::All) => ClickTracking::All,
    };
    let options = TrackingOptions {
        opens: wishes.track_opens.map(|switch| switch == Switch::On),
        clicks: clicks as i32,
        keep_campaign_links: wishes.keep_campaign_links,
    };
    (options != TrackingOptions::default()).then_some(options)
}

/// What was asked for; none where nothing was.
pub(super) fn unsubscribe(wishes: &Wishes) -> Option<UnsubscribeOptions> {
    let mode = match wishes.unsubscribe {
        None => UnsubscribeMode::Unspecified,
        Some(Unsubscribe::None) => UnsubscribeMode::None,
        Some(Unsubscribe::Header) => UnsubscribeMode::Header,
        Some(Unsubscribe::OneClick) => UnsubscribeMode::OneClick,
    };
    let options = UnsubscribeOptions {
        mode: mode as i32,
        footer: wishes.unsubscribe_footer.map(|switch| switch == Switch::On),
    };
    (options != UnsubscribeOptions::default()).then_some(options)
}
