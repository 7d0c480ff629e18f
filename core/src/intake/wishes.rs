//! What a message gets of tracking and unsubscribing, decided once: later changes of settings change
//! no mail that was accepted.

use postern_proto::reason::Reason;
use postern_proto::status::Failure;

use crate::model::content::{Tracking, Wishes};
use crate::model::directory::ApiKey;
use crate::track::wishes::decide;

use super::Intake;
use super::draft::Labels;

/// Whether a header field is the sender's own way to unsubscribe.
pub(super) fn brings_own(name: &str) -> bool {
    name.eq_ignore_ascii_case("List-Unsubscribe")
}

impl Intake {
    /// What the mail gets; none when that is nothing. `brings_own` says whether it has a
    /// List-Unsubscribe field, and is asked only when that decides something.
    pub(super) fn tracking(
        &self,
        key: &ApiKey,
        message: &Wishes,
        labels: &Labels,
        brings_own: impl FnOnce() -> bool,
    ) -> Result<Option<Tracking>, Failure> {
        let tracker = self.policy.tracker.as_ref();
        if !tracker.is_some_and(|tracker| tracker.reaches_recipients(self.is_local())) {
            if !message.needs_links() {
                return Ok(None);
            }
            let text = "needs POSTERN_TRACKING_KEYS and POSTERN_TRACKING_URL, which are not set on the core";
            return Err(Failure::field(Reason::TrackingNotConfigured, "tracking", text));
        }
        let in_campaign = !labels.campaign_id.is_empty();
        let brings_own = in_campaign && brings_own();
        let defaults = self.directory.now().tracking();
        Ok(decide(message, &key.wishes, &defaults, in_campaign, brings_own))
    }
}
