//! Calls that met a connection which was just closing are made again on another one.
//!
//! A core that stops takes no further calls on a connection, and a call may be on its way to it at that
//! moment. HTTP/2 says of such a call that it was not processed (RFC 9113, section 6.8), so making it again
//! does nothing twice. Whatever may have reached the core is not repeated here. A crash loses the calls
//! that were under way, of which nobody was told that they succeeded.

use std::error::Error;

use http::Request;
use http_body_util::{BodyExt as _, Full};
use tonic::body::Body;
use tonic::transport::{self, Channel};
use tower::{Service as _, ServiceExt as _};

/// How often a call is made again: each time the channel has connected anew.
const AGAIN_MAX: usize = 2;

/// Makes a call on a channel that is ready.
pub(crate) async fn call(
    mut channel: Channel,
    request: Request<Body>,
) -> Result<http::Response<Body>, transport::Error> {
    let (parts, body) = request.into_parts();
    let body = match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(status) => return Ok(status.into_http()),
    };
    let copy = || {
        let whole = Full::new(body.clone()).map_err(|never| match never {});
        Request::from_parts(parts.clone(), Body::new(whole))
    };
    let mut answer = channel.call(copy()).await;
    for _ in 0..AGAIN_MAX {
        match answer {
            Err(error) if was_not_sent(&error) => {
                tracing::debug!(%error, "the connection to the core closed; asking again");
                answer = channel.ready().await?.call(copy()).await;
            }
            answer => return answer,
        }
    }
    answer
}

/// Whether the core has certainly not seen the call.
fn was_not_sent(error: &transport::Error) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_canceled) {
            return true;
        }
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            let refused = error.reason() == Some(h2::Reason::REFUSED_STREAM);
            let closing = error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
            return error.is_remote() && (refused || closing);
        }
        cause = error.source();
    }
    false
}
