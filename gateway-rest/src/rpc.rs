//! Calls any method of the contract by its descriptor: messages travel as bytes, so that one
//! function serves every route.
//!
//! No state; a call that a crash cuts off is repeated by the client under its idempotency key.

use bytes::{Buf as _, BufMut as _, Bytes};
use postern_kit::in_process::CoreChannel;
use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use prost::Message as _;
use prost_reflect::{DynamicMessage, MethodDescriptor};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder, Streaming};
use tonic::{Request, Response, Status};

use crate::App;
use crate::edge::Context;
use crate::fault::Fault;

/// Answers with attachments inside are larger than gRPC's default of 4 MiB.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Calls a method that answers once. What the core says about an idempotency key is in the metadata.
pub(crate) async fn unary(
    app: &App,
    method: &MethodDescriptor,
    request: &DynamicMessage,
    context: &Context,
) -> Result<Response<DynamicMessage>, Fault> {
    let (mut client, request, path) = prepare(app, method, request, context, true).await?;
    let (metadata, bytes, extensions) = client.unary(request, path, Raw).await?.into_parts();
    let message = DynamicMessage::decode(method.output(), bytes)
        .map_err(|_| Failure::new(Reason::Internal, "the core's answer cannot be read"))?;
    Ok(Response::from_parts(metadata, message, extensions))
}

/// Calls a method that answers with a stream.
pub(crate) async fn stream(
    app: &App,
    method: &MethodDescriptor,
    request: &DynamicMessage,
    context: &Context,
) -> Result<Streaming<Bytes>, Fault> {
    let (mut client, request, path) = prepare(app, method, request, context, false).await?;
    Ok(client.server_streaming(request, path, Raw).await?.into_inner())
}

/// A request to the core in the name of the caller, whose key it thereby checks.
pub(crate) fn request<T>(app: &App, message: T, context: &Context) -> Request<T> {
    let mut request = untimed(app, message, context);
    request.set_timeout(context.time_limit);
    request
}

/// The same for a stream, which may last.
fn untimed<T>(app: &App, message: T, context: &Context) -> Request<T> {
    context.asks();
    app.core.request(message, &context.caller)
}

type Prepared = (tonic::client::Grpc<CoreChannel>, Request<Bytes>, http::uri::PathAndQuery);

async fn prepare(
    app: &App,
    method: &MethodDescriptor,
    request: &DynamicMessage,
    context: &Context,
    timed: bool,
) -> Result<Prepared, Fault> {
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
    let path =
        path.parse().map_err(|_| Failure::new(Reason::Internal, "a method name is no path"))?;
    let message = Bytes::from(request.encode_to_vec());
    let request = match timed {
        true => self::request(app, message, context),
        false => untimed(app, message, context),
    };
    let mut client = tonic::client::Grpc::new(app.core.channel.clone())
        .max_decoding_message_size(ANSWER_BYTES_MAX);
    client.ready().await.map_err(|_| {
        Failure::new(Reason::CoreUnavailable, Reason::CoreUnavailable.meaning().title)
    })?;
    Ok((client, request, path))
}

#[derive(Debug, Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Raw;
    type Decoder = Raw;

    fn encoder(&mut self) -> Raw {
        Raw
    }

    fn decoder(&mut self) -> Raw {
        Raw
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}
