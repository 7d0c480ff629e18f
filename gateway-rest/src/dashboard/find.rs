//! The search field on every page: goes to what a text most likely means.
//!
//! No state; a crash has nothing to lose.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::{IntoResponse as _, Redirect};
use postern_proto::v1;
use serde::Deserialize;

use super::client::{messages, suppressions};
use super::figures::encoded;
use super::list::with;
use super::visit::Visit;
use super::{Answer, asked};
use crate::App;

const MESSAGES: &str = "/dashboard/messages";

#[derive(Debug, Default, Deserialize)]
pub(super) struct Search {
    #[serde(default)]
    q: String,
}

/// What a text means.
#[derive(Debug, PartialEq, Eq)]
enum Meaning {
    /// It stands at this address.
    Page(String),
    /// It belongs to a message.
    OfMessage,
    /// It is the id of a suppression.
    Suppression,
}

pub(super) async fn find(
    State(app): State<Arc<App>>,
    visit: Visit,
    Query(search): Query<Search>,
) -> Answer {
    let text = search.q.trim();
    let path = match meant(text) {
        Meaning::Page(path) => path,
        Meaning::OfMessage => of_message(&app, &visit, text).await?,
        Meaning::Suppression => {
            let request = v1::GetSuppressionRequest { id: text.to_owned() };
            let request = asked(&app, &visit, request);
            let found = suppressions(&app).get_suppression(request).await?.into_inner();
            let email = found.suppression.unwrap_or_default().email;
            with("/dashboard/suppressions", &[("email", &email)])
        }
    };
    Ok(Redirect::to(&path).into_response())
}

/// The page of the one message, or the list of all.
async fn of_message(app: &App, visit: &Visit, text: &str) -> Result<String, crate::fault::Fault> {
    let request = v1::ListMessagesRequest {
        page_size: 2,
        any_id: text.to_owned(),
        ..v1::ListMessagesRequest::default()
    };
    let found = messages(app).list_messages(asked(app, visit, request)).await?.into_inner();
    Ok(match found.messages.as_slice() {
        [one] => format!("{MESSAGES}/{}", encoded(&one.id)),
        _ => with(MESSAGES, &[("any", text)]),
    })
}

fn meant(text: &str) -> Meaning {
    let list = |name: &'static str| Meaning::Page(with(MESSAGES, &[(name, text)]));
    let page = |of: &str| Meaning::Page(format!("/dashboard/{of}/{}", encoded(text)));
    let audit = |name: &'static str| Meaning::Page(with("/dashboard/audit", &[(name, text)]));
    let bracketed = text.starts_with('<') && text.ends_with('>');
    let prefix = text.trim_start_matches('<').split_once('_').map_or("", |(prefix, _)| prefix);
    match prefix {
        // Also a Message-ID of ours, which begins with the id of the message.
        "msg" | "rcp" | "evt" | "snk" => Meaning::OfMessage,
        "bat" => list("batch"),
        "key" => page("keys"),
        "opr" => audit("actor"),
        "smc" => page("smtp"),
        "aud" => audit("id"),
        "req" => audit("request"),
        "sup" => Meaning::Suppression,
        "whk" => page("webhooks"),
        "tpl" => page("templates"),
        "dom" => page("domains"),
        _ if bracketed => Meaning::OfMessage,
        _ if text.contains('@') => list("recipient"),
        _ => list("external"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(path: &str) -> Meaning {
        Meaning::Page(path.to_owned())
    }

    #[test]
    fn a_text_leads_where_its_reader_meant() {
        for id in ["msg_01a", "<msg_01a@x.io>", "rcp_1", "evt_1", "snk_1", "<a.b@x.io>"] {
            assert_eq!(meant(id), Meaning::OfMessage, "{id}");
        }
        assert_eq!(meant("ann+1@x.io"), page("/dashboard/messages?recipient=ann%2B1%40x.io"));
        assert_eq!(meant("bat_1"), page("/dashboard/messages?batch=bat_1"));
        assert_eq!(meant("order 7"), page("/dashboard/messages?external=order%207"));
        assert_eq!(meant("whk_1/../x"), page("/dashboard/webhooks/whk_1%2F..%2Fx"));
        assert_eq!(meant("dom_1"), page("/dashboard/domains/dom_1"));
        assert_eq!(meant("req_1"), page("/dashboard/audit?request=req_1"));
        assert_eq!(meant("sup_1"), Meaning::Suppression);
    }
}
