//! The part of `CredentialService` that tells a caller its limits.
//!
//! No state of its own; see [`crate::intake::quota`].

use postern_proto::settings::{IDEMPOTENCY_TTL, MESSAGE_BYTES};
use postern_proto::status::Failure;
use postern_proto::v1;
use prost_types::Duration;

use crate::intake::limits::{ATTACHMENTS_MAX, INDIVIDUAL_RECIPIENTS_MAX, SHARED_RECIPIENTS_MAX};
use crate::intake::quota::{DAY_MS, policy_of};
use crate::model::directory::ApiKey;

use super::Context;

/// The limits of a key.
pub async fn of(context: &Context, key: &ApiKey) -> Result<v1::GetLimitsResponse, Failure> {
    let intake = &context.intake;
    let now_ms = context.clock.now_ms();
    let mut rate_limits = Vec::new();
    for (scope, quota) in intake.daily_limits(key).into_iter().filter(|(_, quota)| *quota > 0) {
        let remaining = intake.quota.left(&*context.db, &scope, quota, now_ms).await?;
        rate_limits.push(v1::RateLimit {
            policy: policy_of(&scope).to_owned(),
            unit: "recipients".to_owned(),
            quota,
            window: Some(seconds(DAY_MS / 1000)),
            remaining,
            reset: Some(seconds((DAY_MS - now_ms.rem_euclid(DAY_MS) + 999) / 1000)),
        });
    }
    let known = context.directory.now();
    let settings = known.settings();
    Ok(v1::GetLimitsResponse {
        rate_limits,
        message_bytes_max: settings.get(&MESSAGE_BYTES),
        recipients_max: INDIVIDUAL_RECIPIENTS_MAX as i32,
        shared_recipients_max: SHARED_RECIPIENTS_MAX as i32,
        attachments_max: ATTACHMENTS_MAX as i32,
        idempotency_ttl: Some(seconds(settings.get(&IDEMPOTENCY_TTL) / 1000)),
    })
}

fn seconds(seconds: i64) -> Duration {
    Duration { seconds, nanos: 0 }
}
