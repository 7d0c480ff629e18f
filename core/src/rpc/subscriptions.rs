//! Unsubscribing, taking that back, and what a page shows of it.

use postern_proto::ids::{EventId, SuppressionId};
use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use postern_proto::v1;
use postern_proto::v1::link_reference::Reference;
use postern_proto::v1::{SubscriptionScope as Scope, UnsubscribeSource as Source, Verdict};

use crate::model::directory::{Suppression, SuppressionReason};
use crate::model::event::{Engagement, EventType, NewEvent};
use crate::store::addressees::{self, Addressee};
use crate::store::tracking::Wish;

use super::hits::client;
use super::tracking::{Referred, referred};
use super::{Context, convert};

/// Whom it is about, as far as that is needed here.
struct Subscriber {
    /// In lower case, as suppressions are kept.
    email: String,
    campaign_id: String,
    addressee: Option<Addressee>,
}

/// Whether a reference proves that whoever shows it got the mail.
fn is_signed(reference: Option<&v1::LinkReference>) -> bool {
    let reference = reference.and_then(|one| one.reference.as_ref());
    matches!(reference, Some(Reference::RecipientId(_)))
}

/// Whether an unsigned reference names a campaign: an address alone must unsubscribe nobody.
fn names_campaign(reference: Option<&v1::LinkReference>) -> bool {
    match reference.and_then(|one| one.reference.as_ref()) {
        Some(Reference::Legacy(legacy)) => !legacy.campaign_id.is_empty(),
        _ => true,
    }
}

async fn subscriber(
    context: &Context,
    reference: Option<v1::LinkReference>,
) -> Result<Option<Subscriber>, Failure> {
    if !names_campaign(reference.as_ref()) {
        return Ok(None);
    }
    Ok(match referred(context, "reference", reference).await? {
        Referred::Nobody => None,
        Referred::Before(claim) => Some(Subscriber {
            email: claim.email.to_lowercase(),
            campaign_id: claim.campaign_id,
            addressee: None,
        }),
        Referred::Recipient(found) => Some(Subscriber {
            email: found.email.to_lowercase(),
            campaign_id: found.campaign_id.clone(),
            addressee: Some(found),
        }),
    })
}

/// What the page shows.
pub async fn get(
    context: &Context,
    request: v1::GetSubscriptionRequest,
) -> Result<v1::GetSubscriptionResponse, Failure> {
    let Some(who) = subscriber(context, request.reference).await? else {
        return Ok(v1::GetSubscriptionResponse::default());
    };
    let (all, campaign) =
        addressees::unsubscribed(&*context.db, &who.email, &who.campaign_id).await?;
    let unsubscribed = match (all, campaign) {
        (true, _) => Scope::All,
        (false, true) => Scope::Campaign,
        (false, false) => Scope::Unspecified,
    };
    Ok(v1::GetSubscriptionResponse {
        masked_address: masked(&who.email),
        campaign_id: who.campaign_id,
        unsubscribed: unsubscribed.into(),
        known: true,
    })
}

/// Unsubscribes.
pub async fn end(
    context: &Context,
    request: v1::UnsubscribeRequest,
) -> Result<v1::UnsubscribeResponse, Failure> {
    let scope = Scope::try_from(request.scope).map_err(|_| convert::unknown_enum("scope"))?;
    if scope == Scope::Unspecified {
        return Err(Failure::field(Reason::MissingField, "scope", "is missing; campaign or all"));
    }
    let source = match Source::try_from(request.source) {
        Ok(Source::OneClick) => "one_click",
        Ok(Source::Page) => "page",
        Ok(Source::Mailto) => "mailto",
        Ok(Source::Unspecified) => {
            let text = "is missing; one_click, page or mailto";
            return Err(Failure::field(Reason::MissingField, "source", text));
        }
        Err(_) => return Err(convert::unknown_enum("source")),
    };
    let Some(who) = subscriber(context, request.reference).await? else {
        return Ok(v1::UnsubscribeResponse { changed: false });
    };
    let now_ms = context.clock.now_ms();
    let whole = scope == Scope::All || who.campaign_id.is_empty();
    let mut campaigns = vec![who.campaign_id.clone()];
    if whole && !who.campaign_id.is_empty() {
        campaigns.push(String::new());
    }
    let entry = |campaign_id: String| Suppression {
        id: SuppressionId::generate(),
        email: who.email.clone(),
        reason: SuppressionReason::Unsubscribe,
        campaign_id,
        note: format!("unsubscribed by {source}"),
        create_ms: now_ms,
    };
    let add = campaigns.into_iter().map(entry).collect();
    let (client_ip, user_agent) = client(request.client_ip, request.user_agent);
    let engagement = Engagement {
        verdict: Verdict::Human.into(),
        first: true,
        link_index: -1,
        client_ip,
        user_agent,
        source: source.to_owned(),
        scope: if whole { "all" } else { "campaign" }.to_owned(),
        ..Engagement::default()
    };
    let event = event(&who, EventType::Unsubscribed, now_ms).map(|event| (event, engagement));
    let changed = context.tracking.wish(Wish { add, remove: Vec::new(), event }).await?;
    Ok(v1::UnsubscribeResponse { changed })
}

/// Takes an unsubscription back.
pub async fn renew(
    context: &Context,
    request: v1::ResubscribeRequest,
) -> Result<v1::ResubscribeResponse, Failure> {
    let signed = is_signed(request.reference.as_ref());
    let who = subscriber(context, request.reference).await?;
    let Some(who) = who.filter(|_| signed) else {
        return Ok(v1::ResubscribeResponse { changed: false });
    };
    let mut remove = vec![(who.email.clone(), String::new())];
    if !who.campaign_id.is_empty() {
        remove.push((who.email.clone(), who.campaign_id.clone()));
    }
    let (client_ip, user_agent) = client(request.client_ip, request.user_agent);
    let engagement = Engagement {
        verdict: Verdict::Human.into(),
        link_index: -1,
        client_ip,
        user_agent,
        source: "page".to_owned(),
        scope: "all".to_owned(),
        ..Engagement::default()
    };
    let now_ms = context.clock.now_ms();
    let event = event(&who, EventType::Resubscribed, now_ms).map(|event| (event, engagement));
    let changed = context.tracking.wish(Wish { add: Vec::new(), remove, event }).await?;
    Ok(v1::ResubscribeResponse { changed })
}

fn event(who: &Subscriber, kind: EventType, now_ms: i64) -> Option<NewEvent> {
    let addressee = who.addressee.as_ref()?;
    Some(NewEvent {
        id: EventId::generate(),
        kind,
        create_ms: now_ms,
        message_id: addressee.message,
        delivery_id: addressee.delivery,
        campaign_id: addressee.campaign_id.clone(),
        attempt: 0,
        reason: String::new(),
        reply: None,
        possible_duplicate: false,
        next_ms: None,
    })
}

/// An address that its owner recognises and others do not: `a***n@example.com`.
fn masked(email: &str) -> String {
    let (local, domain) = email.rsplit_once('@').unwrap_or((email, ""));
    let mut letters = local.chars();
    let (first, last) = (letters.next(), letters.next_back());
    let shown = |letter: Option<char>| letter.map(String::from).unwrap_or_default();
    let last = if local.chars().count() > 2 { shown(last) } else { String::new() };
    format!("{}***{last}@{domain}", shown(first))
}

#[cfg(test)]
mod tests {
    use super::masked;

    #[test]
    fn an_address_is_masked() {
        assert_eq!(masked("annemarie@example.com"), "a***e@example.com");
        assert_eq!(masked("ab@example.com"), "a***@example.com");
        assert_eq!(masked("анна@пример.example"), "а***а@пример.example");
    }
}
