//! BUILD and SIGN: the bytes that one recipient gets. Pure; a crash has nothing to lose.

use crate::dkim;
use crate::mime;
use crate::model::message::Claimed;
use crate::track::{self, Tracker};

use super::Prepared;

/// Builds the mail of one recipient and signs it with each of the keys. The same delivery makes the
/// same bytes at every attempt. The error is what to tell the sender.
pub fn build(
    prepared: &Prepared,
    job: &Claimed,
    tracker: Option<&Tracker>,
    date_ms: i64,
    signers: Option<&[dkim::Signer]>,
) -> Result<Vec<u8>, String> {
    let content = &prepared.content;
    let message_id = job.rfc_message_id.as_str();
    let tracked = tracker.zip(content.tracking.as_ref());
    let mut tracking =
        tracked.map(|(tracker, wanted)| track::Job::new(tracker, &job.sender, wanted, job.id));
    let bytes = if content.raw.is_empty() {
        let mut rendered = prepared.render(&job.variables).map_err(|error| error.to_string())?;
        let mut unsubscribe = None;
        if let Some(tracking) = &mut tracking {
            rendered.html = tracking.html(&rendered.html, true).unwrap_or(rendered.html);
            rendered.text = tracking.text(&rendered.text).unwrap_or(rendered.text);
            unsubscribe = tracking.unsubscribe();
        }
        mime::compose(&mime::Letter {
            content,
            to: &job.mailbox,
            subject: &rendered.subject,
            html: &rendered.html,
            text: &rendered.text,
            message_id,
            unsubscribe: unsubscribe.as_ref(),
            date_ms,
            boundary_seed: job.id.uuid().as_u128(),
        })
    } else {
        let missing = mime::Missing { message_id, date_ms };
        let bytes = mime::prepare(&content.raw, missing).map_err(|error| error.to_string())?;
        match tracking {
            Some(tracking) => track::message(tracking, &bytes),
            None => bytes,
        }
    };
    let Some(signers) = signers else {
        return Ok(bytes);
    };
    let seconds = u64::try_from(date_ms / 1000).unwrap_or_default();
    let mut signed = dkim::sign(signers, &bytes, seconds).map_err(|error| error.to_string())?;
    signed.extend_from_slice(&bytes);
    Ok(signed)
}
