//! The part of `StatsService` that is about what went wrong.

use std::collections::HashMap;

use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use postern_proto::time::timestamp;
use postern_proto::v1;

use crate::model::content::domain_of;
use crate::model::event::{EventRow, EventType};
use crate::store::errors::{self, SEEN_MAX};

use super::stats::DAY_MS;
use super::{Context, convert};

/// Entries of each list.
const LISTED_MAX: usize = 100;
/// Characters of a reply.
const REPLY_MAX: usize = 512;

/// What went wrong.
pub(super) async fn list(
    context: &Context,
    request: v1::ListErrorsRequest,
) -> Result<v1::ListErrorsResponse, Failure> {
    let now_ms = context.clock.now_ms();
    let since_ms = convert::time("since", request.since)?.unwrap_or(now_ms - DAY_MS);
    if since_ms < now_ms - 31 * DAY_MS {
        let text = "lies more than 31 days back";
        return Err(Failure::field(Reason::ValueOutOfRange, "since", text));
    }
    let mut rows = errors::since(&*context.db, since_ms, &request.campaign_id).await?;
    let partial = rows.len() > SEEN_MAX;
    rows.truncate(SEEN_MAX);
    let domain = request.domain.to_lowercase();
    rows.retain(|row| {
        (request.category.is_empty() || category(row) == request.category)
            && (domain.is_empty() || domain_of(&row.recipient) == domain)
    });
    Ok(v1::ListErrorsResponse {
        categories: counted(&rows, |row| category(row).to_owned()),
        destinations: counted(&rows, |row| domain_of(&row.recipient)),
        errors: rows.iter().take(LISTED_MAX).map(shown).collect(),
        partial,
    })
}

fn category(row: &EventRow) -> &str {
    match row.event.reason.as_str() {
        "" if row.event.kind == EventType::Expired => "expired",
        "" => "other",
        reason => reason,
    }
}

fn counted(rows: &[EventRow], name: impl Fn(&EventRow) -> String) -> Vec<v1::ErrorCount> {
    let mut counts: HashMap<String, v1::ErrorCount> = HashMap::new();
    for row in rows {
        let count = counts.entry(name(row)).or_default();
        match row.event.kind {
            EventType::Deferred => count.deferred += 1,
            _ => count.failed += 1,
        }
    }
    let mut counts: Vec<_> =
        counts.into_iter().map(|(name, count)| v1::ErrorCount { name, ..count }).collect();
    counts.sort_by(|a, b| {
        (b.deferred + b.failed).cmp(&(a.deferred + a.failed)).then_with(|| a.name.cmp(&b.name))
    });
    counts.truncate(LISTED_MAX);
    counts
}

fn shown(row: &EventRow) -> v1::DeliveryError {
    let event = &row.event;
    let reply = event.reply.as_ref().map(|reply| match reply.code {
        0 => reply.text.clone(),
        code => format!("{code} {} {}", reply.enhanced, reply.text),
    });
    v1::DeliveryError {
        event_id: event.id.to_string(),
        create_time: Some(timestamp(event.create_ms)),
        message_id: event.message_id.to_string(),
        campaign_id: event.campaign_id.clone(),
        email: row.recipient.clone(),
        r#type: event.kind.name().trim_start_matches("message.").to_owned(),
        category: category(row).to_owned(),
        reply: reply.unwrap_or_default().chars().take(REPLY_MAX).collect(),
    }
}
