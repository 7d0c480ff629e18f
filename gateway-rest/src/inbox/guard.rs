//! Who may talk to the inbox: pages of its own host. A foreign page that makes the browser resolve
//! its name to this machine (DNS rebinding) is refused by the host name, one that posts a form by
//! its origin.
//!
//! Pure decisions; a crash has nothing to lose.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, Method, Uri};
use postern_proto::reason::Reason;
use postern_proto::status::Failure;

use crate::App;
use crate::fault::Fault;

pub(super) async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let host = host(request.uri(), request.headers());
    let allowed = host.as_deref().is_some_and(|host| is_ours(host, &app.config.inbox_hosts));
    if !allowed {
        let text = "open the inbox under localhost, or name this host in POSTERN_INBOX_HOSTS";
        return Fault(Failure::new(Reason::HostNotAllowed, text)).into_response();
    }
    if request.method() == Method::POST && !same_origin(request.headers()) {
        let text = "this form can only be sent from the inbox page";
        return Fault(Failure::new(Reason::HostNotAllowed, text)).into_response();
    }
    next.run(request).await
}

/// The host name that the client asked for, with its port.
fn host(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    let given = headers.get("host").and_then(|host| host.to_str().ok());
    given.or_else(|| uri.authority().map(|authority| authority.as_str())).map(str::to_owned)
}

fn is_ours(host: &str, configured: &[String]) -> bool {
    host_name(host).is_some_and(|name| {
        is_this_machine(&name) || configured.iter().any(|ours| ours.eq_ignore_ascii_case(&name))
    })
}

/// The name in the value of a Host field, without port and brackets.
pub(crate) fn host_name(host: &str) -> Option<String> {
    let authority = host.parse::<http::uri::Authority>().ok()?;
    Some(authority.host().trim_matches(['[', ']']).to_owned())
}

/// Whether a host name is always this machine (RFC 6761 section 6.3).
pub(crate) fn is_this_machine(name: &str) -> bool {
    name.eq_ignore_ascii_case("localhost")
        || name.to_ascii_lowercase().ends_with(".localhost")
        || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Whether a browser says that a form came from a page of this host.
pub(crate) fn same_origin(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    match text("sec-fetch-site") {
        Some(site) => site == "same-origin",
        None => {
            let origin = text("origin").and_then(|origin| origin.parse::<Uri>().ok());
            let origin = origin.and_then(|origin| origin.authority().cloned());
            origin.is_some_and(|origin| text("host") == Some(origin.as_str()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_names_are_answered() {
        let named = ["mail.test".to_owned()];
        for ours in ["localhost:8080", "127.0.0.1", "[::1]:80", "Mail.Test:8080"] {
            assert!(is_ours(ours, &named), "{ours}");
        }
        for other in ["evil.example", "127.0.0.1.evil.example", "10.0.0.1", "", "a b"] {
            assert!(!is_ours(other, &named), "{other}");
        }
    }

    #[test]
    fn a_form_of_another_site_is_refused() {
        let headers = |pairs: &[(&'static str, &'static str)]| -> HeaderMap {
            pairs.iter().map(|(k, v)| (k.parse().unwrap(), v.parse().unwrap())).collect()
        };
        assert!(same_origin(&headers(&[("sec-fetch-site", "same-origin")])));
        assert!(!same_origin(&headers(&[("sec-fetch-site", "cross-site")])));
        let both = [("origin", "http://localhost:1"), ("host", "localhost:1")];
        assert!(same_origin(&headers(&both)));
        assert!(!same_origin(&headers(&[
            ("origin", "http://evil.example"),
            ("host", "localhost")
        ])));
        assert!(!same_origin(&HeaderMap::new()));
    }
}
