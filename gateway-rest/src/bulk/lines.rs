//! The lines of a batch, from octets to items, one at a time and as they arrive.

use std::pin::Pin;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use http_body_util::{BodyExt as _, Limited};
use postern_proto::reason::Reason;
use postern_proto::settings::REST_BULK_TIMEOUT;
use postern_proto::status::Failure;
use prost_reflect::{DynamicMessage, Kind, MessageDescriptor, ReflectMessage as _, Value};
use tokio::time::Instant;
use tokio_util::codec::{AnyDelimiterCodec, AnyDelimiterCodecError, FramedRead};
use tokio_util::io::StreamReader;
use tokio_util::sync::CancellationToken;

use crate::App;
use crate::body;
use crate::json::read::{Place, Reader, Source};
use crate::json::tree::Json;

/// What items share.
pub(super) struct Content {
    /// The request without its items.
    pub(super) request: DynamicMessage,
    /// How the caller spelled it.
    pub(super) reader: Reader,
}

/// An item, ready for the core.
pub(super) struct Item {
    /// Which line it is, from 0.
    pub(super) index: i32,
    /// What it is sent with.
    pub(super) content: Arc<Content>,
    /// The item of the contract.
    pub(super) message: DynamicMessage,
    /// About how large it is.
    pub(super) bytes: usize,
}

/// One line.
pub(super) enum Line {
    /// An item.
    Item(Item),
    /// An item that cannot be read.
    Refused(i32, Failure),
    /// The rest cannot be read, or is not waited for.
    End(Failure),
}

type Texts = Pin<Box<dyn Stream<Item = Result<Bytes, AnyDelimiterCodecError>> + Send>>;

/// Reads lines.
pub(super) struct Lines {
    texts: Texts,
    body_max: usize,
    deadline: Instant,
    drain: CancellationToken,
    common: DynamicMessage,
    item: MessageDescriptor,
    key: Option<String>,
    content: Option<Arc<Content>>,
    next: i32,
}

impl Lines {
    /// Reads lines from a body. `common` is what every request of the batch has.
    pub(super) fn new(app: &App, body: Body, common: DynamicMessage, key: Option<String>) -> Self {
        let body_max = app.body_max();
        let bytes = Limited::new(body, body_max).into_data_stream();
        let bytes = StreamReader::new(bytes.map_err(std::io::Error::other));
        let newline = || b"\n".to_vec();
        let codec = AnyDelimiterCodec::new_with_max_length(newline(), newline(), body_max);
        let items = common.descriptor().get_field_by_name("items").map(|field| field.kind());
        let item = items.as_ref().and_then(Kind::as_message);
        Self {
            texts: FramedRead::new(bytes, codec).boxed(),
            body_max,
            deadline: Instant::now() + app.live.now().time(&REST_BULK_TIMEOUT),
            drain: app.drain.clone(),
            item: item.expect("a batch of the contract has items").clone(),
            common,
            key,
            content: None,
            next: 0,
        }
    }

    /// The lines as a stream, which ends with the body or with [`Line::End`].
    pub(super) fn read(self) -> impl Stream<Item = Line> + Send {
        stream::unfold(Some(self), |lines| async {
            let mut lines = lines?;
            let line = lines.next_line().await?;
            let rest = (!matches!(line, Line::End(_))).then_some(lines);
            Some((line, rest))
        })
    }

    async fn next_line(&mut self) -> Option<Line> {
        loop {
            let text = tokio::select! {
                biased;
                () = self.drain.cancelled() => {
                    let text = "the gateway is stopping; send the rest again";
                    return Some(Line::End(Failure::new(Reason::Draining, text)));
                }
                () = tokio::time::sleep_until(self.deadline) => {
                    let text = "the batch took too long; send the rest again";
                    return Some(Line::End(Failure::new(Reason::DeadlineExceeded, text)));
                }
                text = self.texts.next() => text?,
            };
            match text {
                Ok(text) if text.trim_ascii().is_empty() => {}
                Ok(text) => return Some(self.line(&text)),
                Err(error) => return Some(Line::End(broken(&error, self.body_max))),
            }
        }
    }

    fn line(&mut self, text: &[u8]) -> Line {
        let index = self.next;
        self.next += 1;
        match self.item(index, text) {
            Ok(item) => Line::Item(item),
            Err(failure) => Line::Refused(index, failure),
        }
    }

    fn item(&mut self, index: i32, text: &[u8]) -> Result<Item, Failure> {
        let mut entries = body::entries(text).map_err(|mut failure| {
            failure.message = failure.message.replacen("the body", "the line", 1);
            failure
        })?;
        if let Some(at) = entries.iter().position(|(key, _)| key == "message") {
            let content = entries.remove(at);
            // What stood before no longer holds, even when this cannot be read.
            self.content = None;
            self.content = Some(Arc::new(self.read_content(content)?));
        }
        let mut reader = Reader::new(Source::Body);
        let mut message = DynamicMessage::new(self.item.clone());
        reader.object(&mut message, entries, &Place::default());
        if !reader.violations.is_empty() {
            return Err(Failure::violations(reader.violations));
        }
        let content = self.content.clone().ok_or_else(|| {
            let text = "is missing; the first line brings it, and every line behind one that was \
                        refused with it";
            Failure::field(Reason::MissingField, "message", text)
        })?;
        let own = message.get_field_by_name("request_id").map(|value| value.into_owned());
        let own = own.is_some_and(|own| own.as_str().is_some_and(|own| !own.is_empty()));
        if let Some(key) = self.key.as_ref().filter(|_| !own) {
            message.set_field_by_name("request_id", Value::String(format!("{key}#{index}")));
        }
        Ok(Item { index, content, message, bytes: text.len() })
    }

    fn read_content(&self, content: (String, Json)) -> Result<Content, Failure> {
        let mut reader = Reader::new(Source::Body);
        let mut request = self.common.clone();
        reader.object(&mut request, vec![content], &Place::default());
        if reader.violations.is_empty() && request.has_field_by_name("message") {
            return Ok(Content { request, reader });
        }
        let violations = std::mem::take(&mut reader.violations);
        if violations.is_empty() {
            let text = "is null; give the content";
            return Err(Failure::field(Reason::MissingField, "message", text));
        }
        Err(Failure::violations(violations))
    }
}

fn broken(error: &AnyDelimiterCodecError, max: usize) -> Failure {
    match error {
        AnyDelimiterCodecError::MaxChunkLengthExceeded => body::too_large(max),
        // An I/O error does not name what it wraps as its source.
        AnyDelimiterCodecError::Io(error) => match error.get_ref() {
            Some(inner) => body::broken(inner, max),
            None => body::broken(error, max),
        },
    }
}
