//! What readers change about themselves: password, authenticator app, looks.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect};
use http::HeaderValue;
use postern_proto::v1;

use super::client::operators;
use super::view::{Block, Cell, Field, Form, Kind};
use super::visit::{Posted, Visit};
use super::words::Words;
use super::{Answer, asked, done, show};
use crate::App;

/// Characters that a picture of a code holds.
const URL_MAX: usize = 512;

pub(super) async fn page(State(app): State<Arc<App>>, visit: Visit) -> Answer {
    let w = visit.words();
    let request = asked(&app, &visit, v1::GetOwnOperatorRequest {});
    let own = operators(&app).get_own_operator(request).await?.into_inner();
    let operator = own.operator.unwrap_or_default();
    let facts = Block::Facts {
        title: operator.username.clone(),
        rows: vec![
            (w.role.to_owned(), Cell::text(role(w, operator.role()))),
            (w.last_login.to_owned(), Cell::time(operator.login_time)),
            (w.session_ends.to_owned(), Cell::time(own.session_expire_time)),
        ],
    };
    let password = Block::Form(Form {
        title: w.change_password.to_owned(),
        path: "/dashboard/account/password".to_owned(),
        fields: vec![
            Field::new("old_password", w.old_password, Kind::Password).required(),
            Field::new("new_password", w.new_password, Kind::Password)
                .hint(w.password_hint)
                .required(),
        ],
        submit: w.save.to_owned(),
        ..Form::default()
    });
    Ok(show(&visit, w.account, &[facts, password, totp(w, operator.totp)]))
}

fn totp(w: &Words, on: bool) -> Block {
    let (path, submit) = match on {
        true => ("/dashboard/account/totp/stop", w.totp_stop),
        false => ("/dashboard/account/totp/start", w.totp_start),
    };
    Block::Form(Form {
        title: w.totp.to_owned(),
        path: path.to_owned(),
        fields: vec![Field::new("password", w.password, Kind::Password).required()],
        submit: submit.to_owned(),
        danger: on,
        ..Form::default()
    })
}

/// What a role is called.
pub(super) fn role(w: &'static Words, role: v1::OperatorRole) -> &'static str {
    match role {
        v1::OperatorRole::Admin => w.role_admin,
        _ => w.role_viewer,
    }
}

pub(super) async fn password(
    State(app): State<Arc<App>>,
    Posted { visit, fields }: Posted,
) -> Answer {
    let request = v1::ChangeOwnPasswordRequest {
        old_password: fields.raw("old_password").to_owned(),
        new_password: fields.raw("new_password").to_owned(),
    };
    operators(&app).change_own_password(asked(&app, &visit, request)).await?;
    Ok(done("/dashboard/account", visit.words().password_changed))
}

pub(super) async fn start_totp(
    State(app): State<Arc<App>>,
    Posted { visit, fields }: Posted,
) -> Answer {
    let w = visit.words();
    let request = v1::StartTotpRequest { password: fields.raw("password").to_owned() };
    let made = operators(&app).start_totp(asked(&app, &visit, request)).await?.into_inner();
    let mut blocks =
        vec![Block::Notice { tone: super::view::Tone::Plain, text: w.totp_scan.to_owned() }];
    if let Some(picture) = picture(&made.url) {
        blocks.push(Block::Picture { title: w.totp.to_owned(), src: picture });
    }
    blocks.push(Block::Secret {
        title: w.totp_secret.to_owned(),
        value: made.secret,
        note: w.shown_once.to_owned(),
    });
    blocks.push(Block::Form(Form {
        path: "/dashboard/account/totp/confirm".to_owned(),
        fields: vec![Field::new("code", w.totp_code, Kind::Code).required()],
        submit: w.totp_confirm.to_owned(),
        ..Form::default()
    }));
    Ok(show(&visit, w.totp, &blocks))
}

/// A QR code as the address of a picture.
fn picture(url: &str) -> Option<String> {
    use base64::Engine as _;
    if url.len() > URL_MAX {
        return None;
    }
    let code = qrcode::QrCode::new(url.as_bytes()).ok()?;
    let svg = code.render::<qrcode::render::svg::Color<'_>>().min_dimensions(220, 220).build();
    let encoded = base64::engine::general_purpose::STANDARD.encode(svg);
    Some(format!("data:image/svg+xml;base64,{encoded}"))
}

pub(super) async fn confirm_totp(
    State(app): State<Arc<App>>,
    Posted { visit, fields }: Posted,
) -> Answer {
    let request = v1::ConfirmTotpRequest { code: fields.text("code") };
    operators(&app).confirm_totp(asked(&app, &visit, request)).await?;
    Ok(done("/dashboard/account", visit.words().totp_on))
}

pub(super) async fn stop_totp(
    State(app): State<Arc<App>>,
    Posted { visit, fields }: Posted,
) -> Answer {
    let request = v1::StopTotpRequest { password: fields.raw("password").to_owned() };
    operators(&app).stop_totp(asked(&app, &visit, request)).await?;
    Ok(done("/dashboard/account", visit.words().totp_off))
}

/// Keeps what the reader likes in cookies.
pub(super) async fn appearance(Posted { fields, .. }: Posted) -> Answer {
    let back = fields.text("back");
    let back = if back.starts_with("/dashboard") { back } else { "/dashboard".to_owned() };
    let mut response = Redirect::to(&back).into_response();
    for (name, allowed) in
        [("theme", ["light", "dark", ""].as_slice()), ("lang", ["en", "ru"].as_slice())]
    {
        let value = fields.text(name);
        if fields.has(name) && allowed.contains(&value.as_str()) {
            let cookie = format!("postern_{name}={value}; Path=/; Max-Age=31536000; SameSite=Lax");
            if let Ok(cookie) = HeaderValue::try_from(cookie) {
                response.headers_mut().append("set-cookie", cookie);
            }
        }
    }
    Ok(response)
}
