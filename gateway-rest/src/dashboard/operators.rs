//! The people who may log in.

use std::sync::Arc;

use axum::extract::{Query, State};
use postern_proto::v1;

use super::account::role;
use super::client::operators;
use super::list::{Asked, List, Rows};
use super::view::{Action, Block, Cell, Field, Form, Kind, Tone};
use super::visit::{Posted, Visit};
use super::{Answer, asked, done, show, unknown_act};
use crate::App;

const PATH: &str = "/dashboard/operators";

pub(super) async fn list(
    State(app): State<Arc<App>>,
    visit: Visit,
    Query(asked): Query<Asked>,
) -> Answer {
    let w = visit.words();
    let list = List {
        title: w.operators,
        file: "operators",
        columns: &[w.username, w.role, w.totp, w.last_login, w.created],
        actions: w.actions,
        empty: w.nothing,
        path: PATH,
        ..List::default()
    };
    let add = visit.is_admin().then(|| Block::Form(form(&visit)));
    let before = add.into_iter().collect();
    let fetch = async |app: Arc<App>, visit: Visit, token| rows(&app, &visit, token).await;
    list.answer(app, visit, &asked, before, fetch).await
}

fn form(visit: &Visit) -> Form {
    let w = visit.words();
    let roles = [("viewer", w.role_viewer), ("admin", w.role_admin)];
    let roles = roles.map(|(value, label)| (value.to_owned(), label.to_owned())).to_vec();
    Form {
        title: w.operator_add.to_owned(),
        path: PATH.to_owned(),
        fields: vec![
            Field::new("username", w.username, Kind::Text).required(),
            Field::new("role", w.role, Kind::Select(roles)).hint(w.role_hint),
        ],
        submit: w.add.to_owned(),
        folded: true,
        ..Form::default()
    }
}

async fn rows(app: &App, visit: &Visit, page_token: String) -> Rows {
    let w = visit.words();
    let request = v1::ListOperatorsRequest { page_size: 0, page_token };
    let answer = operators(app).list_operators(asked(app, visit, request)).await?.into_inner();
    let row = |one: v1::Operator| {
        let other = match one.role() {
            v1::OperatorRole::Admin => ("viewer", w.make_viewer),
            _ => ("admin", w.make_admin),
        };
        let act = |what: &str, label: &str| {
            Action::new(format!("{PATH}/act"), what, label).field("id", &one.id)
        };
        let mut actions = Vec::new();
        if visit.is_admin() && one.id != visit.operator.id {
            actions = vec![
                act(other.0, other.1),
                act("reset", w.password_reset).danger().confirmed(&one.username),
                act("delete", w.delete).danger().confirmed(&one.username),
            ];
        }
        let totp = if one.totp { (w.yes, Tone::Good) } else { (w.no, Tone::Plain) };
        vec![
            Cell::text(one.username.clone()),
            Cell::text(role(w, one.role())),
            Cell::badge(totp.0, totp.1),
            Cell::time(one.login_time),
            Cell::time(one.create_time),
            Cell::Actions(actions),
        ]
    };
    Ok((answer.operators.into_iter().map(row).collect(), answer.next_page_token))
}

pub(super) async fn create(
    State(app): State<Arc<App>>,
    Posted { visit, fields }: Posted,
) -> Answer {
    let w = visit.words();
    let role = match fields.raw("role") {
        "admin" => v1::OperatorRole::Admin,
        _ => v1::OperatorRole::Viewer,
    };
    let username = fields.text("username");
    let operator = Some(v1::Operator { username, role: role.into(), ..v1::Operator::default() });
    let request = v1::CreateOperatorRequest { operator, validate_only: false };
    let made = operators(&app).create_operator(asked(&app, &visit, request)).await?.into_inner();
    Ok(show(&visit, w.operators, &[password(&visit, made.operator, made.password)]))
}

fn password(visit: &Visit, operator: Option<v1::Operator>, password: String) -> Block {
    let w = visit.words();
    let name = operator.unwrap_or_default().username;
    let title = format!("{}: {name}", w.password);
    Block::Secret { title, value: password, note: w.shown_once.to_owned() }
}

pub(super) async fn act(State(app): State<Arc<App>>, Posted { visit, fields }: Posted) -> Answer {
    let w = visit.words();
    let id = fields.text("id");
    let role = match fields.raw("act") {
        "delete" => {
            let request = v1::DeleteOperatorRequest { id, ..Default::default() };
            operators(&app).delete_operator(asked(&app, &visit, request)).await?;
            return Ok(done(PATH, w.deleted));
        }
        "reset" => {
            let request = v1::ResetOperatorRequest { id, validate_only: false };
            let reset = operators(&app).reset_operator(asked(&app, &visit, request)).await?;
            let reset = reset.into_inner();
            let secret = password(&visit, reset.operator, reset.password);
            return Ok(show(&visit, w.operators, &[secret]));
        }
        "admin" => v1::OperatorRole::Admin,
        "viewer" => v1::OperatorRole::Viewer,
        _ => return Err(unknown_act()),
    };
    let request = v1::UpdateOperatorRequest { id, role: role.into(), validate_only: false };
    operators(&app).update_operator(asked(&app, &visit, request)).await?;
    Ok(done(PATH, w.saved))
}
