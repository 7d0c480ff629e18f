//! Templates, with a preview and a test mail.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use postern_proto::v1;
use prost_types::value::Kind as Value;
use serde::Deserialize;

use super::client::{messages, templates};
use super::figures::escaped;
use super::list::{Asked, List, Rows, with};
use super::message::framed;
use super::view::{Action, Block, Cell, Field, Form, Kind};
use super::visit::{Fields, Posted, Visit};
use super::words::Words;
use super::{Answer, asked, done, show};
use crate::App;
use crate::fault::Fault;

const PATH: &str = "/dashboard/templates";

pub(super) async fn list(
    State(app): State<Arc<App>>,
    visit: Visit,
    Query(asked): Query<Asked>,
) -> Answer {
    let w = visit.words();
    let list = List {
        title: w.templates,
        file: "templates",
        columns: &[w.alias, w.name, w.subject, w.variables, w.changed],
        empty: w.no_templates,
        path: PATH,
        ..List::default()
    };
    let add = visit.is_admin().then(|| {
        Block::Form(Form {
            title: w.template_add.to_owned(),
            folded: true,
            ..form(w, PATH, &v1::Template::default())
        })
    });
    let before = add.into_iter().collect();
    let fetch = async |app: Arc<App>, visit: Visit, token| rows(&app, &visit, token).await;
    list.answer(app, visit, &asked, before, fetch).await
}

async fn rows(app: &App, visit: &Visit, page_token: String) -> Rows {
    let request = v1::ListTemplatesRequest { page_size: 0, page_token };
    let answer = templates(app).list_templates(asked(app, visit, request)).await?.into_inner();
    let row = |one: v1::Template| {
        let variables: Vec<_> = one.variables.iter().map(|v| v.name.clone()).collect();
        vec![
            Cell::link(one.alias, format!("{PATH}/{}", one.id)),
            Cell::text(one.display_name),
            Cell::text(one.subject),
            Cell::text(variables.join(", ")),
            Cell::time(one.update_time),
        ]
    };
    Ok((answer.templates.into_iter().map(row).collect(), answer.next_page_token))
}

fn form(w: &Words, path: &str, template: &v1::Template) -> Form {
    let declared = template.variables.iter().map(|one| {
        let mark = if one.required { "!" } else { "" };
        let default = match one.default_value.as_str() {
            "" => String::new(),
            value => format!(" = {value}"),
        };
        format!("{}{mark}{default}", one.name)
    });
    let declared: Vec<_> = declared.collect();
    let area = |name: &str, label: &str, rows: u8, value: &str| {
        Field::new(name, label, Kind::Area(rows)).value(value)
    };
    Form {
        path: path.to_owned(),
        fields: vec![
            Field::hidden("etag", template.etag.clone()),
            Field::text("alias", w.alias, &template.alias).required(),
            Field::text("name", w.name, &template.display_name),
            Field::text("subject", w.subject, &template.subject),
            area("html", "HTML", 14, &template.html),
            area("text", w.plain_text, 8, &template.text),
            area("variables", w.variables, 4, &declared.join("\n")).hint(w.variables_hint),
        ],
        submit: w.save.to_owned(),
        ..Form::default()
    }
}

/// The template that a form describes.
fn read(fields: &Fields, id: String) -> v1::Template {
    let variable = |line: &str| {
        let (name, default) = line.split_once('=').unwrap_or((line, ""));
        let name = name.trim();
        v1::TemplateVariable {
            name: name.trim_end_matches('!').to_owned(),
            required: name.ends_with('!'),
            default_value: default.trim().to_owned(),
        }
    };
    let lines = fields.raw("variables").lines().map(str::trim).filter(|line| !line.is_empty());
    v1::Template {
        id,
        alias: fields.text("alias"),
        display_name: fields.text("name"),
        subject: fields.text("subject"),
        html: fields.raw("html").to_owned(),
        text: fields.raw("text").to_owned(),
        variables: lines.map(variable).collect(),
        etag: fields.text("etag"),
        ..v1::Template::default()
    }
}

pub(super) async fn create(
    State(app): State<Arc<App>>,
    Posted { visit, fields }: Posted,
) -> Answer {
    let template = Some(read(&fields, String::new()));
    let request = v1::CreateTemplateRequest { template, validate_only: false };
    let made = templates(&app).create_template(asked(&app, &visit, request)).await?.into_inner();
    let id = made.template.unwrap_or_default().id;
    Ok(done(&format!("{PATH}/{id}"), visit.words().saved))
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Preview {
    #[serde(default)]
    values: String,
}

pub(super) async fn page(
    State(app): State<Arc<App>>,
    visit: Visit,
    Path(id): Path<String>,
    Query(preview): Query<Preview>,
) -> Answer {
    let w = visit.words();
    let request = v1::GetTemplateRequest { id };
    let found = templates(&app).get_template(asked(&app, &visit, request)).await?.into_inner();
    let template = found.template.unwrap_or_default();
    let path = format!("{PATH}/{}", template.id);
    let mut blocks = vec![Block::Form(Form {
        path: path.clone(),
        fields: vec![
            Field::new("values", w.preview_values, Kind::Text)
                .value(preview.values.clone())
                .hint(w.preview_hint),
        ],
        submit: w.preview.to_owned(),
        get: true,
        inline: true,
        ..Form::default()
    })];
    let src = with(&format!("{path}/html"), &[("values", &preview.values)]);
    blocks.push(Block::Frame { title: w.preview.to_owned(), src });
    if visit.is_admin() {
        blocks.push(Block::Form(test_form(w, &path, &preview.values)));
        blocks.push(Block::Form(form(w, &path, &template)));
        blocks.push(Block::Actions(vec![Action {
            label: w.delete.to_owned(),
            path: format!("{path}/delete"),
            danger: true,
            confirm: format!("{}: {}?", w.delete, template.alias),
            ..Action::default()
        }]));
    } else {
        blocks.push(Block::Code { title: "HTML".to_owned(), text: template.html.clone() });
    }
    Ok(show(&visit, &template.alias, &blocks))
}

fn test_form(w: &Words, path: &str, values: &str) -> Form {
    Form {
        title: w.test_send.to_owned(),
        path: format!("{path}/test"),
        fields: vec![
            Field::new("from", w.from, Kind::Text).required(),
            Field::new("to", w.recipient, Kind::Text).required(),
            Field::new("values", w.preview_values, Kind::Text).value(values),
        ],
        submit: w.send.to_owned(),
        folded: true,
        ..Form::default()
    }
}

pub(super) async fn update(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Posted { visit, fields }: Posted,
) -> Answer {
    let template = Some(read(&fields, id.clone()));
    let request = v1::UpdateTemplateRequest { template, validate_only: false };
    templates(&app).update_template(asked(&app, &visit, request)).await?;
    Ok(done(&format!("{PATH}/{id}"), visit.words().saved))
}

pub(super) async fn delete(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Posted { visit, .. }: Posted,
) -> Answer {
    let request = v1::DeleteTemplateRequest { id, ..v1::DeleteTemplateRequest::default() };
    templates(&app).delete_template(asked(&app, &visit, request)).await?;
    Ok(done(PATH, visit.words().deleted))
}

/// The template as a recipient would see it, for the frame.
pub(super) async fn html(
    State(app): State<Arc<App>>,
    visit: Visit,
    Path(id): Path<String>,
    Query(preview): Query<Preview>,
) -> Answer {
    let request = v1::RenderTemplateRequest { id, variables: values(&preview.values)? };
    let rendered = templates(&app).render_template(asked(&app, &visit, request)).await;
    let html = match rendered {
        Ok(rendered) => rendered.into_inner().html,
        Err(status) => {
            format!("<p>{}</p>", escaped(&Failure::from_status(&status).message))
        }
    };
    Ok(framed(html))
}

/// `name=Ann, city=Riga` as variables.
fn values(text: &str) -> Result<Option<prost_types::Struct>, Fault> {
    let mut fields = std::collections::BTreeMap::new();
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let bad = || {
            let text = "write name=value, name=value";
            Fault(Failure::field(Reason::InvalidValue, "values", text))
        };
        let (name, value) = pair.split_once('=').ok_or_else(bad)?;
        let kind = Some(Value::StringValue(value.trim().to_owned()));
        fields.insert(name.trim().to_owned(), prost_types::Value { kind });
    }
    Ok((!fields.is_empty()).then_some(prost_types::Struct { fields }))
}

/// Sends a test mail with the template.
pub(super) async fn test(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Posted { visit, fields }: Posted,
) -> Answer {
    let address = |email: String| v1::EmailAddress { email, display_name: String::new() };
    let message = v1::OutgoingMessage {
        from: Some(address(fields.text("from"))),
        to: vec![v1::Recipient { email: fields.text("to"), ..v1::Recipient::default() }],
        template: Some(v1::TemplateRef { id, ..v1::TemplateRef::default() }),
        variables: values(fields.raw("values"))?,
        tags: vec!["template-test".to_owned()],
        ..v1::OutgoingMessage::default()
    };
    let request = v1::SendMessageRequest { message: Some(message), ..Default::default() };
    let sent = messages(&app).send_message(asked(&app, &visit, request)).await?.into_inner();
    let id = sent.message.unwrap_or_default().id;
    Ok(done(&format!("/dashboard/messages/{id}"), visit.words().sent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_from_a_line() {
        let read = values("name=Ann, city = Riga ,x=a=b").unwrap().unwrap();
        let text = |name: &str| read.fields[name].kind.clone();
        assert_eq!(text("name"), Some(Value::StringValue("Ann".to_owned())));
        assert_eq!(text("city"), Some(Value::StringValue("Riga".to_owned())));
        assert_eq!(text("x"), Some(Value::StringValue("a=b".to_owned())));
        assert!(values("").unwrap().is_none());
        assert!(values("name").is_err());
    }
}
