//! `postern trace`: the journey of a message, from its acceptance to what remote servers, recipients and
//! webhook receivers said, in the order of time.

use postern_kit::env::Env;
use postern_proto::v1;
use postern_proto::v1::event_service_client::EventServiceClient;
use postern_proto::v1::webhook_service_client::WebhookServiceClient;
use serde_json::Value;
use tonic::Code;

use super::{json as shown, status};
use crate::cli::Trace;
use crate::client::Client;
use crate::output::line;

/// So many events are shown, and so many webhook endpoints asked for them.
const EVENTS_MAX: usize = 1000;
const WEBHOOKS_MAX: i32 = 20;

/// A step of the journey.
struct Step {
    at_ms: i64,
    text: String,
    /// What was said, line by line.
    more: Vec<String>,
    json: Value,
}

pub(super) async fn trace(args: &Trace, env: &Env) -> anyhow::Result<()> {
    let client = Client::new(&args.connection, env)?;
    let message = status::find(&client, &args.id).await?;
    let (events, is_more) = events(&client, &message.id).await?;
    let mut steps: Vec<Step> = events.iter().map(of_event).collect();
    let mut missing = Vec::new();
    if is_more {
        missing.push(format!("only the first {EVENTS_MAX} events are shown"));
    }
    match webhooks(&client, &events).await {
        Ok((tries, is_more)) => {
            steps.extend(tries.iter().flat_map(of_delivery));
            if is_more {
                missing.push(format!("only the first {WEBHOOKS_MAX} webhooks were asked"));
            }
        }
        Err(status) => missing.push(format!("webhooks are not shown: {}", status.message())),
    }
    // Stable: what happened in the same millisecond stays in the order of the feed.
    steps.sort_by_key(|step| step.at_ms);
    if args.connection.json {
        let steps: Vec<_> = steps.into_iter().map(|step| step.json).collect();
        let mut all = shown::message(&message);
        all["steps"] = steps.into();
        all["missing"] = missing.into();
        line(&all.to_string());
        return Ok(());
    }
    print(&message, &steps, args.quiet);
    missing.iter().for_each(|what| line(&format!("  … {}", tidy(what))));
    Ok(())
}

fn print(message: &v1::Message, steps: &[Step], quiet: bool) {
    line(&format!("{}  {}", message.id, tidy(&message.subject)));
    let from = message.from.as_ref().map_or("", |from| from.email.as_str());
    line(&format!("  from     {from}"));
    let create = shown::time(message.create_time.as_ref());
    line(&format!("  accepted {}", create.as_str().unwrap_or_default()));
    if !message.trace_id.is_empty() {
        line(&format!("  trace    {}", message.trace_id));
    }
    let start_ms = message.create_time.as_ref().and_then(postern_proto::time::millis);
    let start_ms = start_ms.or(steps.first().map(|step| step.at_ms)).unwrap_or_default();
    for step in steps {
        line(&format!("{:>10}  {}", after(step.at_ms - start_ms), step.text));
        for said in step.more.iter().filter(|_| !quiet) {
            line(&format!("{:>10}    {}", "", tidy(said)));
        }
    }
}

/// A time after the beginning, short enough for a column.
fn after(ms: i64) -> String {
    match ms {
        ..10_000 => format!("+{ms} ms"),
        10_000..600_000 => format!("+{}.{} s", ms / 1000, ms % 1000 / 100),
        600_000..36_000_000 => format!("+{} min", ms / 60_000),
        _ => format!("+{} h", ms / 3_600_000),
    }
}

/// The events of a message, oldest first, and whether there are more.
async fn events(client: &Client, message_id: &str) -> anyhow::Result<(Vec<v1::Event>, bool)> {
    // What remote servers said may be long.
    let mut service =
        EventServiceClient::new(client.channel.clone()).max_decoding_message_size(usize::MAX);
    let request = v1::ListEventsRequest {
        page_size: EVENTS_MAX as i32,
        message_id: message_id.to_owned(),
        ..v1::ListEventsRequest::default()
    };
    let mut answer = service.list_events(client.request(request)).await?.into_inner();
    answer.events.sort_by_key(|event| event.sequence);
    Ok((answer.events, !answer.next_page_token.is_empty()))
}

/// What became of the events at the endpoints of webhooks, with their tries, and whether there are more
/// endpoints.
async fn webhooks(
    client: &Client,
    events: &[v1::Event],
) -> Result<(Vec<v1::WebhookDelivery>, bool), tonic::Status> {
    let mut service = WebhookServiceClient::new(client.channel.clone());
    let request = v1::ListWebhooksRequest { page_size: WEBHOOKS_MAX, page_token: String::new() };
    let list = service.list_webhooks(client.request(request)).await?.into_inner();
    let endpoints = list.webhooks;
    let mut found = Vec::new();
    for (endpoint, event) in endpoints.iter().flat_map(|one| events.iter().map(move |e| (one, e))) {
        let request =
            v1::GetWebhookDeliveryRequest { id: endpoint.id.clone(), event_id: event.id.clone() };
        match service.get_webhook_delivery(client.request(request)).await {
            Ok(answer) => found.extend(answer.into_inner().delivery),
            // The endpoint does not want this event, or has not collected it yet.
            Err(status) if status.code() == Code::NotFound => {}
            Err(status) => return Err(status),
        }
    }
    Ok((found, !list.next_page_token.is_empty()))
}

fn of_event(event: &v1::Event) -> Step {
    let kind = event.r#type.trim_start_matches("message.");
    let mut text = format!("{kind:<12} {}", event.recipient);
    if event.attempt > 0 {
        text += &format!("  attempt {}", event.attempt);
    }
    if !event.reason.is_empty() {
        text += &format!("  {}", event.reason);
    }
    if event.possible_duplicate {
        text += "  may have been delivered before";
    }
    let mut more = Vec::new();
    if let Some(reply) = &event.reply {
        let code = if reply.code > 0 { format!("{} ", reply.code) } else { String::new() };
        let said = format!("{code}{} {}", reply.enhanced_code, reply.text);
        text += &format!("  {}  {}", reply.host, said.trim());
        more.clone_from(&reply.transcript);
    }
    if let Some(engagement) = &event.engagement {
        text += &format!("  {} {}", shown::verdict(engagement), engagement.url);
    }
    let mut json = shown::event(event);
    json["transcript"] = more.clone().into();
    Step { at_ms: millis(event.create_time.as_ref()), text: tidy(&text), more, json }
}

fn of_delivery(delivery: &v1::WebhookDelivery) -> Vec<Step> {
    let step = |one: &v1::WebhookAttempt| {
        let (id, event) = (&delivery.webhook_id, &delivery.event_id);
        let outcome = match (one.status, one.error.as_str()) {
            (0, "") => "under way".to_owned(),
            (0, error) => error.to_owned(),
            (status, _) => status.to_string(),
        };
        let took = shown::took_ms(one).map(|ms| format!("  in {ms} ms")).unwrap_or_default();
        let text =
            format!("{:<12} {id}  attempt {}  {outcome}{took}  {event}", "webhook", one.number);
        let mut json = shown::webhook_attempt(one);
        json["type"] = "webhook".into();
        json["webhook_id"] = id.as_str().into();
        json["event_id"] = event.as_str().into();
        Step { at_ms: millis(one.create_time.as_ref()), text, more: Vec::new(), json }
    };
    delivery.tries.iter().map(step).collect()
}

fn millis(time: Option<&prost_types::Timestamp>) -> i64 {
    time.and_then(postern_proto::time::millis).unwrap_or_default()
}

/// What remote servers said comes without control characters, which could redraw the terminal.
fn tidy(text: &str) -> String {
    text.trim_end().replace(|c: char| c.is_control(), " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_fit_the_column() {
        let shown =
            [(0, "+0 ms"), (9_999, "+9999 ms"), (12_345, "+12.3 s"), (3_600_000, "+60 min")];
        for (ms, text) in shown {
            assert_eq!(after(ms), text);
        }
        assert_eq!(after(100 * 3_600_000), "+100 h");
        assert_eq!(after(-5), "+-5 ms", "a clock that was set back is seen");
    }

    #[test]
    fn what_others_said_cannot_redraw_the_terminal() {
        assert_eq!(tidy("550 \u{1b}[2Jgone\r\n"), "550  [2Jgone");
    }
}
