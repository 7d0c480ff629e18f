//! `EventService`: the feed, in pages and as a stream.
//!
//! A stream is a cursor over the store, so it survives nothing and needs to: the client's resume
//! token takes it up anywhere.

use std::pin::Pin;
use std::time::Duration;

use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use postern_proto::time::duration_millis;
use postern_proto::v1;
use postern_proto::v1::event_service_server::EventService;
use prost::Message as _;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::model::event::{EventFilter, EventType};
use crate::store::ledger;

use super::messages::parse_id;
use super::{Context, convert};

/// The store is asked for news at least this often, whatever the signal says.
const POLL: Duration = Duration::from_millis(500);
/// How many events are read at a time.
const BATCH: usize = 200;
/// How many events may wait for a slow client before the reading waits for it.
const AHEAD: usize = 64;
/// Tokens of the feed are good for every filter.
const BINDING: &[u8] = b"event feed";

/// The service.
pub struct Events(pub Context);

type Stream =
    Pin<Box<dyn tokio_stream::Stream<Item = Result<v1::WatchEventsResponse, Status>> + Send>>;

#[tonic::async_trait]
impl EventService for Events {
    async fn list_events(
        &self,
        request: Request<v1::ListEventsRequest>,
    ) -> Result<Response<v1::ListEventsResponse>, Status> {
        self.0.gate.authorise(request.metadata(), "events:read")?;
        Ok(Response::new(list(&self.0, request.into_inner()).await?))
    }

    type WatchEventsStream = Stream;

    async fn watch_events(
        &self,
        request: Request<v1::WatchEventsRequest>,
    ) -> Result<Response<Stream>, Status> {
        self.0.gate.authorise(request.metadata(), "events:read")?;
        let follower = Follower::new(self.0.clone(), request.into_inner()).await?;
        let (sender, receiver) = mpsc::channel(AHEAD);
        tokio::spawn(follower.run(sender));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

async fn list(
    context: &Context,
    request: v1::ListEventsRequest,
) -> Result<v1::ListEventsResponse, Failure> {
    let size = context.pages.size(request.page_size)?;
    let unpaged =
        v1::ListEventsRequest { page_size: 0, page_token: String::new(), ..request.clone() };
    let binding = unpaged.encode_to_vec();
    let cursor = context.pages.cursor("page_token", &binding, &request.page_token)?;
    let after = cursor.and_then(|cursor| cursor.parse().ok()).unwrap_or(0);
    let mut filter = filter(&request.message_id, &request.types, request.campaign_id)?;
    filter.since_ms = convert::time("since", request.since)?;
    filter.until_ms = convert::time("until", request.until)?;
    let mut rows = ledger::events(&*context.db, &filter, after, size + 1).await?;
    let next_page_token =
        context.pages.cut(&mut rows, size, &binding, |row| row.sequence.to_string());
    let events = rows.into_iter().map(convert::event).collect();
    Ok(v1::ListEventsResponse { events, next_page_token })
}

fn filter(message: &str, types: &[String], campaign_id: String) -> Result<EventFilter, Failure> {
    let kind = |(n, name): (usize, &String)| {
        EventType::from_name(name).ok_or_else(|| {
            let names: Vec<_> = EventType::ALL.iter().map(|kind| kind.name()).collect();
            let text = format!("is no event type; there are {}", names.join(", "));
            Failure::field(Reason::BadFilter, format!("types[{n}]"), text)
        })
    };
    let message_id = match message {
        "" => None,
        text => Some(parse_id(text)?),
    };
    let kinds = types.iter().enumerate().map(kind).collect::<Result<_, _>>()?;
    Ok(EventFilter { message_id, kinds, campaign_id, since_ms: None, until_ms: None })
}

type Sender = mpsc::Sender<Result<v1::WatchEventsResponse, Status>>;

/// Follows the feed for one client.
struct Follower {
    context: Context,
    filter: EventFilter,
    after: i64,
    heartbeat: Duration,
    signal: watch::Receiver<u64>,
}

impl Follower {
    async fn new(context: Context, request: v1::WatchEventsRequest) -> Result<Self, Failure> {
        let filter = filter(&request.message_id, &request.types, request.campaign_id)?;
        let heartbeat = match &request.heartbeat {
            None => Duration::from_secs(15),
            Some(asked) => {
                let ms = duration_millis(asked).filter(|ms| (1000..=300_000).contains(ms));
                let text = "is not between 1 second and 5 minutes";
                let bad = || Failure::field(Reason::ValueOutOfRange, "heartbeat", text);
                Duration::from_millis(ms.ok_or_else(bad)?)
            }
        };
        // Subscribed before the first look, so that nothing falls between the two.
        let signal = context.db.events_signal();
        let cursor = context.pages.cursor("resume_token", BINDING, &request.resume_token)?;
        let after = match cursor.and_then(|cursor| cursor.parse().ok()) {
            Some(after) => after,
            None if request.from_beginning => 0,
            None => ledger::tail(&*context.db).await?,
        };
        Ok(Self { context, filter, after, heartbeat, signal })
    }

    /// Follows until the client goes away or the process stops, however much is still to be told.
    async fn run(self, sender: Sender) {
        let draining = self.context.draining.clone();
        tokio::select! {
            () = self.follow(&sender) => {}
            () = sender.closed() => {}
            () = draining.cancelled() => {
                let text = "the server is shutting down; reconnect with your last token";
                let failure = Failure::new(Reason::Draining, text);
                // A client that is behind only finds that the stream ends.
                let _full_or_gone = sender.try_send(Err(failure.into()));
            }
        }
    }

    async fn follow(mut self, sender: &Sender) {
        let mut quiet_since = Instant::now();
        // The first answer tells a client from where it watches, before anything happens.
        if sender.send(Ok(self.response(None))).await.is_err() {
            return;
        }
        loop {
            self.signal.mark_unchanged();
            // Read first: up to here nothing can appear any more, so a rare filter need not look
            // at it again.
            let seen = ledger::tail(&*self.context.db).await;
            let rows = ledger::events(&*self.context.db, &self.filter, self.after, BATCH).await;
            let rows = match rows {
                Ok(rows) => rows,
                Err(error) => {
                    // Gone clients need no reason.
                    let _gone = sender.send(Err(Failure::from(error).into())).await;
                    return;
                }
            };
            let full = rows.len() == BATCH;
            for row in rows {
                self.after = row.sequence;
                let response = self.response(Some(convert::event(row)));
                if sender.send(Ok(response)).await.is_err() {
                    return;
                }
                quiet_since = Instant::now();
            }
            if full {
                continue;
            }
            self.after = self.after.max(seen.unwrap_or(0));
            if quiet_since.elapsed() >= self.heartbeat {
                quiet_since = Instant::now();
                if sender.send(Ok(self.response(None))).await.is_err() {
                    return;
                }
            }
            tokio::select! {
                // Closed or not, the poll goes on.
                _ = self.signal.changed() => {}
                () = tokio::time::sleep(POLL.min(self.heartbeat)) => {}
            }
        }
    }

    fn response(&self, event: Option<v1::Event>) -> v1::WatchEventsResponse {
        let resume_token = self.context.pages.token(BINDING, &self.after.to_string());
        v1::WatchEventsResponse { event, resume_token }
    }
}
