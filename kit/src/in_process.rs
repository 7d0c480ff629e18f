//! A gRPC connection inside one process: the gateways of the all-in-one reach the core through the
//! same client type and the same code path as over TCP, without a socket.

use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint, Uri};

/// How much may be under way in one direction before the writer waits.
const PIPE_BYTES: usize = 256 * 1024;

/// The server's end: a stream of connections.
pub type Incoming = ReceiverStream<std::io::Result<DuplexStream>>;

/// A channel, and the stream of connections it will make. The channel connects on first use and
/// again whenever a connection ends.
pub fn connection() -> (Channel, Incoming) {
    let (dial, incoming) = mpsc::channel(8);
    let connector = tower::service_fn(move |_: Uri| {
        let dial = dial.clone();
        async move {
            let (near, far) = tokio::io::duplex(PIPE_BYTES);
            dial.send(Ok(far)).await.map_err(std::io::Error::other)?;
            std::io::Result::Ok(TokioIo::new(near))
        }
    });
    let endpoint = crate::core_client::tuned(Endpoint::from_static("http://in.process"));
    (endpoint.connect_with_connector_lazy(connector), ReceiverStream::new(incoming))
}
