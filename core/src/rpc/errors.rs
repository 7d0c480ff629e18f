//! The part of `StatsService` that is about what went wrong.

use std::collections::HashMap;
use std::sync::Arc;

use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use postern_proto::time::timestamp;
use postern_proto::v1;
use prost::Message as _;

use crate::model::event::{EventRow, EventType};
use crate::store::errors::{self, SEEN_MAX, Seen, Window};
use crate::store::{Database, Error};

use super::stats::DAY_MS;
use super::{Context, convert};

/// Entries of each count.
const COUNTED_MAX: usize = 100;
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
    let size = context.pages.size(request.page_size)?;
    let binding = binding(&request);
    let cursor = context.pages.cursor("page_token", &binding, &request.page_token)?;
    let before = cursor.and_then(|cursor| cursor.parse().ok());
    let asked = &request;
    let look = |db: Arc<dyn Database>| async move {
        let window = Window { since_ms, before, campaign_id: &asked.campaign_id };
        look(&*db, window, asked, size).await
    };
    let Look { seen, rows, end, partial } = context.reads.with(look).await?;
    Ok(v1::ListErrorsResponse {
        categories: counted(&seen, |one| category(one.kind, &one.reason)),
        destinations: counted(&seen, |one| &one.domain),
        errors: rows.iter().map(self::shown).collect(),
        partial,
        next_page_token: end
            .map(|end| context.pages.token(&binding, &end.to_string()))
            .unwrap_or_default(),
    })
}

/// What one look finds.
struct Look {
    seen: Vec<Seen>,
    rows: Vec<EventRow>,
    /// Behind the last one shown; or behind all that was looked at, when there may be more there.
    end: Option<i64>,
    partial: bool,
}

async fn look(
    db: &dyn Database,
    window: Window<'_>,
    request: &v1::ListErrorsRequest,
    size: usize,
) -> Result<Look, Error> {
    let mut seen = errors::seen(db, window).await?;
    let partial = seen.len() > SEEN_MAX;
    seen.truncate(SEEN_MAX);
    let oldest = seen.last().map(|one| one.sequence);
    let domain = request.domain.to_lowercase();
    seen.retain(|one| {
        (request.category.is_empty() || category(one.kind, &one.reason) == request.category)
            && (domain.is_empty() || one.domain == domain)
    });
    let shown: Vec<_> = seen.iter().take(size).map(|one| one.sequence).collect();
    let end = match shown.last() {
        Some(last) if seen.len() > size => Some(*last),
        _ => oldest.filter(|_| partial),
    };
    let rows = errors::events(db, &shown).await?;
    Ok(Look { seen, rows, end, partial })
}

/// What a token is good for. A page that says "since an hour ago" says another time at each look.
fn binding(request: &v1::ListErrorsRequest) -> Vec<u8> {
    let page_token = String::new();
    v1::ListErrorsRequest { page_size: 0, page_token, since: None, ..request.clone() }
        .encode_to_vec()
}

fn category(kind: EventType, reason: &str) -> &str {
    match reason {
        "" if kind == EventType::Expired => "expired",
        "" => "other",
        reason => reason,
    }
}

fn counted<'s>(seen: &'s [Seen], name: impl Fn(&'s Seen) -> &'s str) -> Vec<v1::ErrorCount> {
    let mut counts: HashMap<&str, v1::ErrorCount> = HashMap::new();
    for one in seen {
        let count = counts.entry(name(one)).or_default();
        match one.kind {
            EventType::Deferred => count.deferred += 1,
            _ => count.failed += 1,
        }
    }
    let named = |(name, count): (&str, _)| v1::ErrorCount { name: name.to_owned(), ..count };
    let mut counts: Vec<_> = counts.into_iter().map(named).collect();
    counts.sort_by(|a, b| {
        (b.deferred + b.failed).cmp(&(a.deferred + a.failed)).then_with(|| a.name.cmp(&b.name))
    });
    counts.truncate(COUNTED_MAX);
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
        category: category(event.kind, &event.reason).to_owned(),
        reply: reply.unwrap_or_default().chars().take(REPLY_MAX).collect(),
    }
}
