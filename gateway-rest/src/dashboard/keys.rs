//! API keys.

use std::sync::Arc;

use axum::extract::{Query, State};
use postern_proto::metadata::SCOPES;
use postern_proto::v1;

use super::client::credentials;
use super::credential::key_path;
use super::list::{Asked, List, Rows, now_seconds};
use super::view::{Action, Block, Cell, Field, Form, Kind, Tone};
use super::visit::{Posted, Visit};
use super::words::Words;
use super::{Answer, asked, done, show, unknown_act};
use crate::App;

const PATH: &str = "/dashboard/keys";
/// What a key for a client that sends mail needs.
const USUAL_SCOPES: &str = "messages:send, messages:read, events:read, templates:read";

pub(super) async fn list(
    State(app): State<Arc<App>>,
    visit: Visit,
    Query(asked): Query<Asked>,
) -> Answer {
    let w = visit.words();
    let list = List {
        title: w.api_keys,
        file: "api-keys",
        columns: &[w.name, w.key, w.state, w.scopes, w.domains, w.expires, w.last_use, w.created],
        actions: w.actions,
        empty: w.no_keys,
        path: PATH,
        ..List::default()
    };
    let add = visit.is_admin().then(|| Block::Form(form(w)));
    let before = add.into_iter().collect();
    let fetch = async |app: Arc<App>, visit: Visit, token| rows(&app, &visit, token).await;
    list.answer(app, visit, &asked, before, fetch).await
}

fn form(w: &Words) -> Form {
    let lives = [("30", w.days_30), ("90", w.days_90), ("365", w.days_365), ("", w.never)];
    let lives = lives.map(|(value, label)| (value.to_owned(), label.to_owned())).to_vec();
    let scopes = format!("{}: {}", w.scopes_hint, SCOPES.join(", "));
    Form {
        title: w.key_add.to_owned(),
        path: PATH.to_owned(),
        fields: vec![
            Field::new("name", w.name, Kind::Text).required(),
            Field::new("scopes", w.scopes, Kind::Area(2))
                .value(USUAL_SCOPES)
                .hint(scopes)
                .required(),
            Field::new("domains", w.domains, Kind::Text).hint(w.sender_domains_hint),
            Field::new("ip_allow", w.ip_allow, Kind::Text).hint(w.ip_allow_hint),
            Field::new("life", w.expires, Kind::Select(lives)).value("90"),
            Field::new("daily_limit", w.daily_limit, Kind::Text).value("0").hint(w.zero_no_limit),
            Field::new("test", w.test_key, Kind::Check).hint(w.test_key_hint),
        ],
        submit: w.add.to_owned(),
        folded: true,
        ..Form::default()
    }
}

/// Whether a credential works, for people.
pub(super) fn standing(
    w: &Words,
    revoked: bool,
    expire_time: Option<prost_types::Timestamp>,
    test: bool,
) -> Cell {
    let left = expire_time.map(|time| time.seconds - now_seconds());
    match left {
        _ if revoked => Cell::badge(w.revoked, Tone::Bad),
        Some(..=0) => Cell::badge(w.expired, Tone::Bad),
        Some(left) if left < 14 * 86_400 => Cell::badge(w.expires_soon, Tone::Warn),
        _ if test => Cell::badge(w.test_only, Tone::Plain),
        _ => Cell::badge(w.works, Tone::Good),
    }
}

async fn rows(app: &App, visit: &Visit, page_token: String) -> Rows {
    let w = visit.words();
    let request = v1::ListApiKeysRequest { page_size: 0, page_token };
    let answer = credentials(app).list_api_keys(asked(app, visit, request)).await?.into_inner();
    let row = |key: v1::ApiKey| {
        let act = |what: &str, label: &str| {
            let act = Action::new(format!("{PATH}/act"), what, label);
            act.field("id", &key.id).confirmed(&key.display_name)
        };
        let mut actions = Vec::new();
        if visit.is_admin() && key.revoke_time.is_none() {
            actions = vec![act("rotate", w.rotate), act("revoke", w.revoke).danger()];
        }
        let domains = match key.sender_domains.is_empty() {
            true => w.any.to_owned(),
            false => key.sender_domains.join(", "),
        };
        vec![
            Cell::link(key.display_name.clone(), key_path(&key.id)),
            Cell::code(key.hint.clone()),
            standing(w, key.revoke_time.is_some(), key.expire_time, key.test),
            Cell::text(key.scopes.join(", ")),
            Cell::text(domains),
            Cell::time(key.expire_time),
            Cell::time(key.last_use_time),
            Cell::time(key.create_time),
            Cell::Actions(actions),
        ]
    };
    Ok((answer.api_keys.into_iter().map(row).collect(), answer.next_page_token))
}

pub(super) async fn create(
    State(app): State<Arc<App>>,
    Posted { visit, fields }: Posted,
) -> Answer {
    let w = visit.words();
    let days = fields.number("life")?;
    let seconds = now_seconds() + days * 86_400;
    let expire_time = (days > 0).then_some(prost_types::Timestamp { seconds, nanos: 0 });
    let request = v1::CreateApiKeyRequest {
        api_key: Some(v1::ApiKey {
            display_name: fields.text("name"),
            scopes: fields.list("scopes"),
            sender_domains: fields.list("domains"),
            ip_allow: fields.list("ip_allow"),
            daily_limit: fields.number("daily_limit")?,
            expire_time,
            test: fields.is_on("test"),
            ..v1::ApiKey::default()
        }),
        never_expires: days == 0,
        validate_only: false,
    };
    let made = credentials(&app).create_api_key(asked(&app, &visit, request)).await?.into_inner();
    Ok(show(&visit, w.api_keys, &secret(w, made.api_key, made.secret)))
}

fn secret(w: &Words, key: Option<v1::ApiKey>, secret: String) -> Vec<Block> {
    let key = key.unwrap_or_default();
    let title = format!("{}: {}", w.key, key.display_name);
    let curl = format!(
        "curl -sS https://HOST/v1/messages \\\n  -H 'Authorization: Bearer {secret}' \\\n  \
         -H 'Content-Type: application/json' \\\n  \
         -d '{{\"from\":\"me@example.com\",\"to\":\"you@example.com\",\"subject\":\"Hello\",\"text\":\"It works.\"}}'"
    );
    vec![
        Block::Secret { title, value: secret, note: w.shown_once.to_owned() },
        Block::Code { title: w.how_to_use.to_owned(), text: curl },
    ]
}

pub(super) async fn act(State(app): State<Arc<App>>, Posted { visit, fields }: Posted) -> Answer {
    let w = visit.words();
    let id = fields.text("id");
    match fields.raw("act") {
        "rotate" => {
            let request = v1::RotateApiKeyRequest { id, overlap: None, validate_only: false };
            let made = credentials(&app).rotate_api_key(asked(&app, &visit, request)).await?;
            let made = made.into_inner();
            Ok(show(&visit, w.api_keys, &secret(w, made.api_key, made.secret)))
        }
        "revoke" => {
            let request = v1::RevokeApiKeyRequest { id, validate_only: false };
            credentials(&app).revoke_api_key(asked(&app, &visit, request)).await?;
            Ok(done(PATH, w.key_revoked))
        }
        _ => Err(unknown_act()),
    }
}
