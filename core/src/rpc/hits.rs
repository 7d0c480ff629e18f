//! Opens and clicks as the edge reports them, and which links a mail had.

use postern_proto::ids::{HitId, RecipientId};
use postern_proto::link::TARGET_OCTETS_MAX;
use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use postern_proto::v1;
use postern_proto::v1::link_reference::Reference;
use prost::Message as _;

use crate::intake::draft::Faults;
use crate::model::content::Content;
use crate::model::event::{Engagement, EventType};
use crate::store::addressees::{self, Addressee};
use crate::store::tracking::{NewHit, Recorded, link_of_url};
use crate::track;
use crate::worker::Prepared;

use super::Context;
use super::tracking::{Referred, claim, referred};

/// Hits of one request.
const HITS_MAX: usize = 1000;
/// Octets of what a client calls itself; the rest is cut.
const USER_AGENT_BYTES_MAX: usize = 512;
/// Octets of an address as text.
const IP_BYTES_MAX: usize = 64;
/// Words that explain a verdict.
const REASONS_MAX: usize = 16;
/// Characters of such a word.
const REASON_CHARS_MAX: usize = 64;

/// Records hits.
pub async fn report(
    context: &Context,
    request: v1::ReportHitsRequest,
) -> Result<v1::ReportHitsResponse, Failure> {
    if request.hits.len() > HITS_MAX {
        let text = format!("has {} hits; at most {HITS_MAX} are allowed", request.hits.len());
        return Err(Failure::field(Reason::BatchTooLarge, "hits", text));
    }
    let now_ms = context.clock.now_ms();
    let mut faults = Faults::default();
    let checked = request.hits.into_iter().enumerate();
    let checked: Vec<_> = checked.map(|(n, hit)| check(n, hit, now_ms, &mut faults)).collect();
    faults.into_result()?;
    let (mut hits, mut nobodys) = (Vec::with_capacity(checked.len()), 0);
    for (hit, who) in checked.into_iter().flatten() {
        let delivery = match who {
            Whose::Signed(id) => Some(id),
            Whose::Claimed(claim) => {
                addressees::newest(&*context.db, &claim).await?.map(|found| found.delivery)
            }
            Whose::Nobody => None,
        };
        match delivery {
            Some(delivery) => hits.push(NewHit { delivery, ..hit }),
            None => nobodys += 1,
        }
    }
    let recorded = match hits.is_empty() {
        true => Recorded::default(),
        false => context.tracking.record(hits).await?,
    };
    if recorded.unknown + nobodys > 0 {
        tracing::info!(count = recorded.unknown + nobodys, "hits of no known recipient dropped");
    }
    Ok(v1::ReportHitsResponse {
        recorded: recorded.new as i32,
        repeated: recorded.repeated as i32,
        unknown: (recorded.unknown + nobodys) as i32,
    })
}

/// Whose mail a hit was in.
enum Whose {
    Signed(RecipientId),
    Claimed(addressees::Claim),
    Nobody,
}

/// A hit that can be recorded once its delivery is known.
fn check(n: usize, hit: v1::Hit, now_ms: i64, faults: &mut Faults) -> Option<(NewHit, Whose)> {
    let mut fault = |name: &str, reason, text: &str| {
        faults.add(reason, format!("hits[{n}].{name}"), text);
    };
    let id = hit.id.parse::<HitId>();
    if id.is_err() {
        fault("id", Reason::InvalidValue, "is not an id of the form hit_…");
    }
    let kind = match hit.kind() {
        v1::HitKind::Open => Some(EventType::Opened),
        v1::HitKind::Click => Some(EventType::Clicked),
        v1::HitKind::Unspecified => {
            fault("kind", Reason::MissingField, "is missing; open or click");
            None
        }
    };
    let create_ms = hit.create_time.as_ref().and_then(postern_proto::time::millis);
    if create_ms.is_none() {
        fault("create_time", Reason::MissingField, "is missing, or no time between 1970 and 9999");
    }
    if hit.url.len() > TARGET_OCTETS_MAX {
        fault("url", Reason::ValueOutOfRange, "has more than 2048 octets");
    }
    let long_reason = hit.reasons.iter().any(|word| word.chars().count() > REASON_CHARS_MAX);
    if hit.reasons.len() > REASONS_MAX || long_reason {
        fault("reasons", Reason::ValueOutOfRange, "needs at most 16 words of 64 characters");
    }
    let who = match hit.recipient.as_ref().and_then(|one| one.reference.clone()) {
        Some(Reference::RecipientId(text)) => match text.parse() {
            Ok(id) => Whose::Signed(id),
            Err(_) => {
                let text = "is not an id of the form rcp_…";
                fault("recipient.recipient_id", Reason::InvalidValue, text);
                Whose::Nobody
            }
        },
        Some(Reference::Legacy(legacy)) => claim(legacy).map_or(Whose::Nobody, Whose::Claimed),
        None => {
            fault("recipient", Reason::MissingField, "is missing; say whose mail it was");
            Whose::Nobody
        }
    };
    let kind = kind?;
    let new = NewHit {
        id: id.ok()?,
        delivery: RecipientId::from_uuid(uuid::Uuid::nil()),
        kind,
        link: if kind == EventType::Clicked { link(&hit) } else { 0 },
        create_ms: create_ms?.min(now_ms),
        engagement: engagement(hit),
    };
    Some((new, who))
}

/// Which clicks count as clicks of the same link: those of one index, or of one url.
fn link(hit: &v1::Hit) -> i64 {
    if hit.link_index >= 0 {
        return i64::from(hit.link_index);
    }
    link_of_url(&hit.url)
}

fn engagement(hit: v1::Hit) -> Engagement {
    let is_click = hit.kind() == v1::HitKind::Click;
    let verdict = match hit.verdict() {
        v1::Verdict::Unspecified => v1::Verdict::Unknown,
        known => known,
    };
    Engagement {
        verdict: verdict.into(),
        reasons: hit.reasons,
        first: false,
        url: if is_click { hit.url } else { String::new() },
        link_index: if is_click { hit.link_index.max(-1) } else { -1 },
        client_ip: printable(hit.client_ip, IP_BYTES_MAX),
        user_agent: printable(hit.user_agent, USER_AGENT_BYTES_MAX),
        source: String::new(),
        scope: String::new(),
    }
}

/// A text without control characters, cut to so many octets.
pub(super) fn printable(text: String, max: usize) -> String {
    let mut text: String = text.chars().filter(|c| !c.is_control()).collect();
    text.truncate(text.floor_char_boundary(max));
    text
}

/// What a client says of itself, as it is stored.
pub(super) fn client(client_ip: String, user_agent: String) -> (String, String) {
    (printable(client_ip, IP_BYTES_MAX), printable(user_agent, USER_AGENT_BYTES_MAX))
}

/// Tells whether a url was a link in a mail.
pub async fn resolve_link(
    context: &Context,
    request: v1::ResolveLinkRequest,
) -> Result<v1::ResolveLinkResponse, Failure> {
    if request.url.is_empty() || request.url.len() > 2 * TARGET_OCTETS_MAX {
        let text = "is missing or has more than 4096 octets";
        return Err(Failure::field(Reason::ValueOutOfRange, "url", text));
    }
    let links = match referred(context, "reference", request.reference).await? {
        Referred::Nobody => Vec::new(),
        Referred::Before(claim) => {
            let links = addressees::links_of(&*context.db, &claim).await?;
            links.into_iter().map(|link| link.url).collect()
        }
        Referred::Recipient(found) => links_in(context, &found).await?,
    };
    // Links are held with entities decoded; the old system did not decode them.
    let decoded = track::decode_entities(&request.url);
    let found = links.into_iter().find(|link| *link == request.url || *link == decoded);
    let safe = found.filter(|url| postern_proto::link::target::is_safe_target(url));
    Ok(v1::ResolveLinkResponse { known: safe.is_some(), url: safe.unwrap_or_default() })
}

/// The links of the mail that a recipient got; none once the content is dropped.
async fn links_in(context: &Context, found: &Addressee) -> Result<Vec<String>, Failure> {
    let Some(encoded) = context.queue.content(found.content_id).await? else {
        return Ok(Vec::new());
    };
    let unreadable = |error: &dyn std::fmt::Display| {
        tracing::error!(message.id = %found.message, %error, "stored content cannot be read");
        Failure::new(Reason::Internal, "something went wrong on our side")
    };
    let content = Content::decode(encoded).map_err(|error| unreadable(&error))?;
    let compiled = Prepared::compile(&context.directory, &content);
    let compiled = compiled.map_err(|error| unreadable(&error))?;
    let prepared = Prepared { content, compiled, required: Vec::new() };
    let variables = found.variables.clone();
    let read = tokio::task::spawn_blocking(move || {
        if !prepared.content.raw.is_empty() {
            return Ok(track::links_in_message(&prepared.content.raw));
        }
        prepared.render(&variables).map(|mail| track::links_in(&mail.html, &mail.text))
    });
    let links = read.await.map_err(|error| unreadable(&error))?;
    links.map_err(|error| unreadable(&error))
}
