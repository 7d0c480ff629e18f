//! The documentation: the API page, which works offline, the document behind it, the page for language
//! models, and one small page per reason.
//!
//! Static content; a crash has nothing to lose.

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::Path;
use axum::response::{Html, IntoResponse as _, Response};
use axum::routing::{MethodRouter, get};
use bytes::Bytes;
use postern_proto::reason::{Meaning, Reason};
use postern_proto::status::Failure;
use utoipa_swagger_ui::SwaggerUi;

use crate::fault::Fault;
use crate::{App, llms, openapi};

/// # Panics
///
/// When a document cannot be written, which the first test that builds a gateway would find.
pub(crate) fn router(app: &Arc<App>) -> Router {
    let document = openapi::document(&app.contract);
    let yaml = yaml_serde::to_string(&document).expect("what JSON can say, YAML can");
    let llms = llms::page(&app.contract).expect("the template writes to memory only");
    let ui: Router =
        SwaggerUi::new("/docs").external_url_unchecked("/openapi.json", document).into();
    ui.route("/openapi.yaml", fixed("application/yaml", yaml))
        .route("/llms.txt", fixed("text/plain; charset=utf-8", llms))
        .route("/docs/errors/{code}", get(reason))
        .route("/postern.v1.binpb", get(contract))
}

/// Answers every request with the same text.
fn fixed(kind: &'static str, text: String) -> MethodRouter {
    let text = Bytes::from(text);
    get(async move || ([("content-type", kind)], text).into_response())
}

/// The `FileDescriptorSet`, for gRPC tools without reflection.
async fn contract() -> Response {
    ([("content-type", "application/x-protobuf")], postern_proto::DESCRIPTORS).into_response()
}

#[derive(Template)]
#[template(path = "reason.html")]
struct ReasonPage {
    meaning: Meaning,
    code: String,
    grpc: String,
}

async fn reason(code: Result<Path<String>, axum::extract::rejection::PathRejection>) -> Response {
    let found = code.ok().and_then(|Path(code)| code.to_ascii_uppercase().parse::<Reason>().ok());
    let Some(reason) = found else {
        return Fault(Failure::new(Reason::RouteNotFound, "there is no such reason"))
            .into_response();
    };
    let meaning = reason.meaning();
    let (code, grpc) = (meaning.name.to_ascii_lowercase(), format!("{:?}", meaning.grpc));
    match (ReasonPage { meaning, code, grpc }).render() {
        Ok(page) => Html(page).into_response(),
        Err(error) => {
            tracing::error!(%error, "cannot render a page");
            Fault(Failure::new(Reason::Internal, "the page cannot be shown")).into_response()
        }
    }
}
