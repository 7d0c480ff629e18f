//! The event feed goes on where a client stopped.

use postern_proto::v1::event_service_client::EventServiceClient;
use postern_proto::v1::{Event, ListEventsRequest, WatchEventsRequest, WatchEventsResponse};
use postern_tests::stack::Stack;
use postern_tests::wait;
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint};

const MESSAGES: usize = 5;
/// Accepted and delivered.
const EVENTS_EACH: usize = 2;

/// A stack whose feed holds the whole life of some messages.
async fn busy() -> Stack {
    let stack = Stack::start(&[]).await.unwrap();
    send(&stack, MESSAGES).await;
    stack
}

async fn send(stack: &Stack, count: usize) {
    for number in 0..count {
        let id = stack.grpc_send_to(&format!("r{number}@good.test")).await;
        let id = id.unwrap();
        stack.wait_state(&id, "delivered").await.unwrap();
    }
}

async fn watch(stack: &Stack, resume_token: &str) -> Streaming<WatchEventsResponse> {
    watch_over(stack.channel.clone(), stack, resume_token).await
}

async fn watch_over(
    channel: Channel,
    stack: &Stack,
    resume_token: &str,
) -> Streaming<WatchEventsResponse> {
    let request = WatchEventsRequest {
        resume_token: resume_token.to_owned(),
        from_beginning: resume_token.is_empty(),
        ..WatchEventsRequest::default()
    };
    let request = stack.request(request).unwrap();
    let stream = EventServiceClient::new(channel).watch_events(request).await.unwrap();
    stream.into_inner()
}

/// The next events and the token behind the last of them.
async fn take(stream: &mut Streaming<WatchEventsResponse>, count: usize) -> (Vec<Event>, String) {
    let (mut events, mut token) = (Vec::new(), String::new());
    while events.len() < count {
        let next = tokio::time::timeout(wait::LIMIT, stream.message()).await;
        let response = next.unwrap().unwrap().unwrap();
        token = response.resume_token;
        events.extend(response.event);
    }
    (events, token)
}

async fn listed(stack: &Stack) -> Vec<Event> {
    let request = ListEventsRequest { page_size: 1000, ..ListEventsRequest::default() };
    let request = stack.request(request).unwrap();
    let page = stack.event_service().list_events(request).await.unwrap();
    page.into_inner().events
}

#[tokio::test]
async fn a_resumed_stream_skips_nothing_and_repeats_nothing() {
    let stack = busy().await;
    let all = listed(&stack).await;
    assert_eq!(all.len(), MESSAGES * EVENTS_EACH);
    assert!(all.is_sorted_by(|a, b| a.sequence < b.sequence));
    let (mut seen, mut token) = (Vec::new(), String::new());
    for count in [1, 3, 2, MESSAGES * EVENTS_EACH - 6] {
        let mut stream = watch(&stack, &token).await;
        let (events, behind) = take(&mut stream, count).await;
        seen.extend(events);
        token = behind;
    }
    assert_eq!(seen, all);
}

#[tokio::test]
async fn a_token_is_good_after_a_crash_and_the_stream_then_follows_new_events() {
    let mut stack = busy().await;
    let mut stream = watch(&stack, "").await;
    let (mut seen, token) = take(&mut stream, 4).await;
    stack.kill_9().await.unwrap();
    drop(stream);
    stack.restart().await.unwrap();
    let mut stream = watch(&stack, &token).await;
    let old = MESSAGES * EVENTS_EACH - 4;
    seen.extend(take(&mut stream, old).await.0);
    send(&stack, 2).await;
    seen.extend(take(&mut stream, 2 * EVENTS_EACH).await.0);
    assert_eq!(seen, listed(&stack).await);
}

fn tomorrow() -> String {
    let day = jiff::SignedDuration::from_hours(24);
    jiff::Timestamp::now().checked_add(day).unwrap().to_string()
}

#[tokio::test]
async fn a_client_that_is_behind_does_not_hold_up_a_stop() {
    let mut stack = Stack::start(&[]).await.unwrap();
    let items: Vec<_> =
        (0..1000).map(|n| serde_json::json!({"to": format!("r{n}@good.test")})).collect();
    let mut mail = postern_tests::stack::mail_to("");
    mail.as_object_mut().unwrap().remove("to");
    mail["send_time"] = tomorrow().into();
    let batch = serde_json::json!({"message": mail, "items": items});
    for _ in 0..3 {
        let answer = stack.post("/v1/messages/batch", &batch).await.unwrap();
        assert_eq!(answer.status, 202, "{answer:?}");
    }
    // A client with room for few events that it has not read yet.
    let address = Endpoint::from_shared(format!("http://{}", stack.grpc)).unwrap();
    let small = address.initial_stream_window_size(1 << 16).initial_connection_window_size(1 << 16);
    let mut stream = watch_over(small.connect_lazy(), &stack, "").await;
    take(&mut stream, 1).await;
    stack.sigterm().await.unwrap();
    // It reads on when the core, which closes after its gateways, has begun to stop.
    let closed = wait::until("the core's door is closed", async || {
        Ok(tokio::net::TcpStream::connect(&stack.grpc).await.is_err().then_some(()))
    });
    closed.await.unwrap();
    let mut told = 1;
    // The end is an error that says why, or just the end when there was no room for it.
    while let Ok(Some(response)) = stream.message().await {
        told += usize::from(response.event.is_some());
    }
    assert!(told < 3000, "it was told everything before the stop");
    let exit = stack.wait_exit(std::time::Duration::from_secs(15)).await.unwrap();
    assert_eq!(exit.code(), Some(0), "{exit}");
}
