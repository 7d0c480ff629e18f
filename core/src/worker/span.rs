//! What is told of an attempt to who follows traces: under which trace it is logged, and its span.
//!
//! Nothing here is kept; a crash loses spans, not results.

use std::time::Duration;

use postern_kit::spans::{Ended, KeyValue, Kind, Spans};
use tracing::Span;

use crate::model::event::EventType;
use crate::model::message::Claimed;
use crate::store::queue::Finish;

/// Under what the attempt of a delivery is logged that was accepted in another life, or elsewhere.
pub(super) fn logged(claimed: &Claimed) -> Span {
    match &claimed.trace {
        Some(trace) => tracing::info_span!("delivery", trace.id = trace.id()),
        None => Span::none(),
    }
}

/// Keeps the span of an attempt, a part of the call that the message was accepted in.
pub(super) fn ended(spans: &Spans, claimed: &Claimed, finish: &Finish, took: Duration) {
    if let Some(accepted) = &claimed.trace {
        spans.ended(&accepted.child(), took, || describe(claimed, finish));
    }
}

/// The address of the recipient is not told, and so not the text of a reply, which often repeats it.
fn describe(claimed: &Claimed, finish: &Finish) -> Ended {
    let event = &finish.event;
    let mut attributes = vec![
        KeyValue::new("messaging.operation.name", "deliver"),
        KeyValue::new("postern.message.id", claimed.message_id.to_string()),
        KeyValue::new("postern.recipient.id", claimed.id.to_string()),
        KeyValue::new("postern.attempt", i64::from(finish.attempt)),
        KeyValue::new("postern.event", event.kind.name()),
    ];
    let mut told = |name: &'static str, value: &str| {
        if !value.is_empty() {
            attributes.push(KeyValue::new(name, value.to_owned()));
        }
    };
    told("postern.reason", &event.reason);
    told("postern.campaign.id", &claimed.campaign_id);
    if let Some(reply) = &event.reply {
        told("server.address", &reply.host);
        told("postern.smtp.phase", &reply.phase);
        told("postern.smtp.enhanced_code", &reply.enhanced);
        told("tls.protocol.version", &reply.tls);
        if reply.code > 0 {
            attributes.push(KeyValue::new("postern.smtp.reply_code", i64::from(reply.code)));
        }
    }
    let went_on = matches!(event.kind, EventType::Delivered | EventType::Sent);
    let error = (!went_on).then(|| match event.reason.as_str() {
        "" => event.kind.name().to_owned(),
        reason => reason.to_owned(),
    });
    Ended { name: "deliver".into(), kind: Kind::Client, attributes, error }
}
