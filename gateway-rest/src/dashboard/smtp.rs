//! SMTP credentials, with settings to paste into a mail program.

use std::sync::Arc;

use axum::extract::{Query, State};
use http::HeaderMap;
use postern_proto::v1;

use super::client::credentials;
use super::keys::standing;
use super::messages::Asked;
use super::view::{Action, Block, Cell, Field, Form, Kind, Table};
use super::visit::{Posted, Visit};
use super::words::Words;
use super::{Answer, asked, csv, done, show, unknown_act};
use crate::App;
use crate::fault::Fault;

const PATH: &str = "/dashboard/smtp";

pub(super) async fn list(
    State(app): State<Arc<App>>,
    visit: Visit,
    Query(query): Query<Asked>,
) -> Answer {
    let w = visit.words();
    let columns = [
        w.name,
        w.username,
        w.state,
        w.domains,
        w.rate_limit,
        w.daily_limit,
        w.expires,
        w.last_use,
        w.created,
        w.actions,
    ];
    let columns: Vec<String> = columns.map(str::to_owned).to_vec();
    if query.is_csv() {
        return Ok(csv::export("smtp-credentials", columns, move |token| {
            let (app, visit) = (app.clone(), visit.clone());
            async move { rows(&app, &visit, token).await }
        }));
    }
    let (rows, next) = rows(&app, &visit, query.page.clone()).await?;
    let mut blocks = Vec::new();
    if visit.is_admin() {
        blocks.push(Block::Form(form(w)));
    }
    blocks.push(Block::Table(Table {
        columns,
        rows,
        empty: w.no_smtp.to_owned(),
        next: query.next(PATH, &next),
        csv: query.csv(PATH),
        ..Table::default()
    }));
    Ok(show(&visit, w.smtp_credentials, &blocks))
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

async fn rows(
    app: &App,
    visit: &Visit,
    page_token: String,
) -> Result<(Vec<Vec<Cell>>, String), Fault> {
    let w = visit.words();
    let request = v1::ListSmtpCredentialsRequest { page_size: 0, page_token };
    let request = asked(app, visit, request);
    let answer = credentials(app).list_smtp_credentials(request).await?.into_inner();
    let row = |one: v1::SmtpCredential| {
        let act = |what: &str, label: &str, danger: bool| Action {
            label: label.to_owned(),
            path: format!("{PATH}/act"),
            fields: vec![("id".to_owned(), one.id.clone()), ("act".to_owned(), what.to_owned())],
            danger,
            confirm: format!("{label}: {}?", one.display_name),
        };
        let mut actions = Vec::new();
        if visit.is_admin() && one.revoke_time.is_none() {
            actions = vec![act("rotate", w.rotate, false), act("revoke", w.revoke, true)];
        }
        let domains = match one.sender_domains.is_empty() {
            true => w.any.to_owned(),
            false => one.sender_domains.join(", "),
        };
        vec![
            Cell::text(one.display_name.clone()),
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
    Ok(show(&visit, w.smtp_credentials, &secret(w, &headers, &made_for, made.secret)))
}

/// The password, with everything a mail program asks for.
fn secret(w: &Words, headers: &HeaderMap, made: &v1::SmtpCredential, secret: String) -> Vec<Block> {
    let host = headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    let host = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let row = |label: &str, text: &str| (label.to_owned(), Cell::code(text));
    let swaks = format!(
        "swaks --server {host}:2587 --tls --auth PLAIN \\\n  --auth-user {} --auth-password '{secret}' \\\n  \
         --from me@example.com --to you@example.com",
        made.username
    );
    vec![
        Block::Secret {
            title: format!("{}: {}", w.password, made.display_name),
            value: secret,
            note: w.shown_once.to_owned(),
        },
        Block::Facts {
            title: w.client_settings.to_owned(),
            rows: vec![
                row(w.server, host),
                row(w.port_starttls, "2587"),
                row(w.port_tls, "465"),
                row(w.username, &made.username),
                row(w.authentication, "PLAIN, LOGIN"),
            ],
        },
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
            let shown = secret(w, &headers, &made_for, made.secret);
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
