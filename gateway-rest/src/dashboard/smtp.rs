//! SMTP credentials, with settings to paste into a mail program.

use std::sync::Arc;

use axum::extract::{Query, State};
use http::HeaderMap;
use postern_proto::v1;

use super::client::credentials;
use super::credential::smtp_path;
use super::keys::standing;
use super::list::{Asked, List, Rows};
use super::view::{Action, Block, Cell, Field, Form, Kind};
use super::visit::{Posted, Visit};
use super::words::Words;
use super::{Answer, asked, done, show, unknown_act};
use crate::App;
use crate::inbox::host_name;

const PATH: &str = "/dashboard/smtp";

pub(super) async fn list(
    State(app): State<Arc<App>>,
    visit: Visit,
    Query(asked): Query<Asked>,
) -> Answer {
    let w = visit.words();
    let list = List {
        title: w.smtp_credentials,
        file: "smtp-credentials",
        columns: &[
            w.name,
            w.username,
            w.state,
            w.domains,
            w.rate_limit,
            w.daily_limit,
            w.expires,
            w.last_use,
            w.created,
        ],
        actions: w.actions,
        empty: w.no_smtp,
        path: PATH,
        ..List::default()
    };
    let add = visit.is_admin().then(|| Block::Form(form(w)));
    let before = add.into_iter().collect();
    let fetch = async |app: Arc<App>, visit: Visit, token| rows(&app, &visit, token).await;
    list.answer(app, visit, &asked, before, fetch).await
}

fn form(w: &Words) -> Form {
    Form {
        title: w.smtp_add.to_owned(),
        path: PATH.to_owned(),
        fields: vec![
            Field::new("name", w.name, Kind::Text).required(),
            Field::new("domains", w.domains, Kind::Text).hint(w.sender_domains_hint),
            Field::new("ip_allow", w.ip_allow, Kind::Text).hint(w.ip_allow_hint),
            Field::new("rate_limit", w.rate_limit, Kind::Text).value("0").hint(w.rate_limit_hint),
            Field::new("daily_limit", w.daily_limit, Kind::Text).value("0").hint(w.zero_no_limit),
            Field::new("test", w.test_key, Kind::Check).hint(w.test_key_hint),
        ],
        submit: w.add.to_owned(),
        folded: true,
        ..Form::default()
    }
}

async fn rows(app: &App, visit: &Visit, page_token: String) -> Rows {
    let w = visit.words();
    let request = v1::ListSmtpCredentialsRequest { page_size: 0, page_token };
    let request = asked(app, visit, request);
    let answer = credentials(app).list_smtp_credentials(request).await?.into_inner();
    let row = |one: v1::SmtpCredential| {
        let act = |what: &str, label: &str| {
            let act = Action::new(format!("{PATH}/act"), what, label);
            act.field("id", &one.id).confirmed(&one.display_name)
        };
        let mut actions = Vec::new();
        if visit.is_admin() && one.revoke_time.is_none() {
            actions = vec![act("rotate", w.rotate), act("revoke", w.revoke).danger()];
        }
        let domains = match one.sender_domains.is_empty() {
            true => w.any.to_owned(),
            false => one.sender_domains.join(", "),
        };
        vec![
            Cell::link(one.display_name.clone(), smtp_path(&one.id)),
            Cell::code(one.username.clone()),
            standing(w, one.revoke_time.is_some(), one.expire_time, one.test),
            Cell::text(domains),
            Cell::Number(one.rate_limit),
            Cell::Number(one.daily_limit),
            Cell::time(one.expire_time),
            Cell::time(one.last_use_time),
            Cell::time(one.create_time),
            Cell::Actions(actions),
        ]
    };
    Ok((answer.smtp_credentials.into_iter().map(row).collect(), answer.next_page_token))
}

pub(super) async fn create(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    Posted { visit, fields }: Posted,
) -> Answer {
    let w = visit.words();
    let request = v1::CreateSmtpCredentialRequest {
        smtp_credential: Some(v1::SmtpCredential {
            display_name: fields.text("name"),
            sender_domains: fields.list("domains"),
            ip_allow: fields.list("ip_allow"),
            rate_limit: fields.number("rate_limit")?,
            daily_limit: fields.number("daily_limit")?,
            test: fields.is_on("test"),
            ..v1::SmtpCredential::default()
        }),
        validate_only: false,
    };
    let request = asked(&app, &visit, request);
    let made = credentials(&app).create_smtp_credential(request).await?.into_inner();
    let made_for = made.smtp_credential.unwrap_or_default();
    Ok(show(&visit, w.smtp_credentials, &secret(&app, w, &headers, &made_for, made.secret)))
}

/// The password, with everything a mail program asks for.
fn secret(
    app: &App,
    w: &Words,
    headers: &HeaderMap,
    made: &v1::SmtpCredential,
    secret: String,
) -> Vec<Block> {
    let host = headers.get("host").and_then(|host| host.to_str().ok()).and_then(host_name);
    let host = host.unwrap_or_else(|| "localhost".to_owned());
    let row = |label: &str, text: &str| (label.to_owned(), Cell::code(text));
    let mut rows = vec![row(w.server, &host)];
    let [starttls, tls] = app.config.smtp_ports;
    for (label, port) in [(w.port_starttls, starttls), (w.port_tls, tls)] {
        rows.extend(port.map(|port| row(label, &port.to_string())));
    }
    rows.push(row(w.username, &made.username));
    rows.push(row(w.authentication, "PLAIN, LOGIN"));
    let title = format!("{}: {}", w.password, made.display_name);
    let door = match (starttls, tls) {
        (Some(port), _) => format!("{host}:{port} --tls"),
        (None, port) => format!("{host}:{} --tls-on-connect", port.unwrap_or(465)),
    };
    let swaks = format!(
        "swaks --server {door} --auth PLAIN \\\n  --auth-user {} --auth-password '{secret}' \\\n  \
         --from me@example.com --to you@example.com",
        made.username
    );
    vec![
        Block::Secret { title, value: secret, note: w.shown_once.to_owned() },
        Block::Facts { title: w.client_settings.to_owned(), rows },
        Block::Code { title: w.how_to_use.to_owned(), text: swaks },
    ]
}

pub(super) async fn act(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    Posted { visit, fields }: Posted,
) -> Answer {
    let w = visit.words();
    let id = fields.text("id");
    let validate_only = false;
    match fields.raw("act") {
        "rotate" => {
            let request = v1::RotateSmtpCredentialRequest { id, overlap: None, validate_only };
            let request = asked(&app, &visit, request);
            let made = credentials(&app).rotate_smtp_credential(request).await?.into_inner();
            let made_for = made.smtp_credential.unwrap_or_default();
            let shown = secret(&app, w, &headers, &made_for, made.secret);
            Ok(show(&visit, w.smtp_credentials, &shown))
        }
        "revoke" => {
            let request = v1::RevokeSmtpCredentialRequest { id, validate_only };
            credentials(&app).revoke_smtp_credential(asked(&app, &visit, request)).await?;
            Ok(done(PATH, w.credential_revoked))
        }
        _ => Err(unknown_act()),
    }
}
