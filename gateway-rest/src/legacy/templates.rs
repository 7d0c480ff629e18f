//! POST /api/v1/templates: create only, as before.
//!
//! No state; 201 means that the core has stored the template.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use postern_proto::reason::Reason;
use postern_proto::v1::template_service_client::TemplateServiceClient;
use postern_proto::v1::{CreateTemplateRequest, Template, TemplateVariable};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::Refusal;
use super::send::{read, text};
use crate::edge::Context;
use crate::fault::{Fault, json as answer};
use crate::{App, rpc};

#[derive(Serialize)]
struct Created {
    id: String,
    external_id: String,
    name: String,
    created_at: String,
}

pub(super) async fn create(
    State(app): State<Arc<App>>,
    Extension(context): Extension<Context>,
    request: Request,
) -> Response {
    let (_, body) = match read(&app, request).await {
        Ok(read) => read,
        Err(response) => return response,
    };
    let mut problems = Vec::new();
    let limits = [("external_id", "External", 64), ("name", "Name", 255)];
    for (field, label, max) in limits {
        if text(&body, field).is_empty() {
            problems.push(format!("{label} can't be blank"));
        } else if text(&body, field).chars().count() > max {
            problems.push(format!("{label} is too long (maximum is {max} characters)"));
        }
    }
    if text(&body, "html_content").is_empty() {
        problems.push("Html content can't be blank".to_owned());
    }
    if !problems.is_empty() {
        return refused(&problems);
    }
    let request = CreateTemplateRequest { template: Some(template(&body)), validate_only: false };
    let request = rpc::request(&app, request, &context);
    match TemplateServiceClient::new(app.core.channel.clone()).create_template(request).await {
        Ok(stored) => {
            let stored = stored.into_inner().template.unwrap_or_default();
            let created =
                stored.create_time.and_then(|t| jiff::Timestamp::from_second(t.seconds).ok());
            let created_at = super::seconds(created.unwrap_or_else(jiff::Timestamp::now));
            let body = Created {
                id: stored.id,
                external_id: stored.alias,
                name: stored.display_name,
                created_at,
            };
            answer(StatusCode::CREATED, &body)
        }
        Err(status) => {
            let failure = Fault::from(status).0;
            match failure.reason {
                Reason::TemplateExists => refused(&["External has already been taken".to_owned()]),
                reason if reason.meaning().http == 422 => refused(&[failure.message]),
                _ => Refusal::Core(failure, "Internal error").into(),
            }
        }
    }
}

fn template(body: &Map<String, Value>) -> Template {
    let names = body.get("variables").and_then(Value::as_array);
    let names = names.into_iter().flatten().filter_map(Value::as_str);
    let variables =
        names.map(|name| TemplateVariable { name: name.to_owned(), ..TemplateVariable::default() });
    Template {
        alias: text(body, "external_id"),
        display_name: text(body, "name"),
        html: text(body, "html_content"),
        text: text(body, "plain_content"),
        variables: variables.collect(),
        ..Template::default()
    }
}

/// This one error of the old system had no request id.
fn refused(details: &[String]) -> Response {
    let body = json!({"error": {
        "code": "validation_error", "message": "Template creation failed", "details": details,
    }});
    answer(StatusCode::UNPROCESSABLE_ENTITY, &body)
}
