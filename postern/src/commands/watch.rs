//! `postern watch`: follows the event feed.

use postern_kit::env::Env;
use postern_proto::v1;
use postern_proto::v1::event_service_client::EventServiceClient;
use serde_json::json;

use super::json as shown;
use crate::cli::Watch;
use crate::client::Client;
use crate::output::line;

pub(super) async fn watch(args: Watch, env: &Env) -> anyhow::Result<()> {
    let client = Client::new(&args.connection, env)?;
    let request = v1::WatchEventsRequest {
        resume_token: args.resume,
        from_beginning: args.from_beginning,
        types: args.types,
        message_id: args.message,
        ..v1::WatchEventsRequest::default()
    };
    let mut service = EventServiceClient::new(client.channel.clone());
    let mut stream = service.watch_events(client.request(request)).await?.into_inner();
    let mut left = args.count.unwrap_or(u64::MAX);
    while left > 0 {
        let Some(response) = stream.message().await? else {
            break;
        };
        let Some(event) = response.event else {
            continue;
        };
        left -= 1;
        if args.connection.json {
            let mut value = shown::event(&event);
            value["resume_token"] = json!(response.resume_token);
            line(&value.to_string());
        } else {
            let time = shown::time(event.create_time.as_ref());
            let time = time.as_str().unwrap_or_default().to_owned();
            let (id, to, reason) = (&event.message_id, &event.recipient, &event.reason);
            let detail = event.engagement.as_ref().map(engaged).unwrap_or_default();
            line(&format!("{time}  {:<18} {id}  {to}  {reason}{detail}", event.r#type));
        }
    }
    Ok(())
}

/// Who did it, and to what.
fn engaged(engagement: &v1::Engagement) -> String {
    let what = match engagement.url.as_str() {
        "" => &engagement.scope,
        url => url,
    };
    let again = if engagement.first { "" } else { " again" };
    format!("{}{again}  {what}", shown::verdict(engagement))
}
