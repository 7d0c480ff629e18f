//! Sender domains: what to publish in the DNS, what is there, and what to do next.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use postern_proto::v1;

use super::client::domains;
use super::figures::encoded;
use super::list::{Asked, List, Rows};
use super::view::{Action, Block, Cell, Field, Form, Kind, Table, Tone};
use super::visit::{Posted, Visit};
use super::words::Words;
use super::{Answer, asked, done, show, unknown_act};
use crate::App;

const PATH: &str = "/dashboard/domains";

pub(super) async fn list(
    State(app): State<Arc<App>>,
    visit: Visit,
    Query(asked): Query<Asked>,
) -> Answer {
    let w = visit.words();
    let list = List {
        title: w.domains,
        file: "domains",
        columns: &[w.domain, w.dkim_keys, w.created],
        empty: w.no_domains,
        path: PATH,
        ..List::default()
    };
    let add = visit.is_admin().then(|| Block::Form(add(w)));
    let before = add.into_iter().collect();
    let fetch = async |app: Arc<App>, visit: Visit, token| rows(&app, &visit, token).await;
    list.answer(app, visit, &asked, before, fetch).await
}

fn add(w: &Words) -> Form {
    Form {
        title: w.domain_add.to_owned(),
        path: PATH.to_owned(),
        fields: vec![Field::new("name", w.domain, Kind::Text).required()],
        submit: w.add.to_owned(),
        folded: true,
        ..Form::default()
    }
}

async fn rows(app: &App, visit: &Visit, page_token: String) -> Rows {
    let request = v1::ListDomainsRequest { page_size: 0, page_token };
    let answer = domains(app).list_domains(asked(app, visit, request)).await?.into_inner();
    let row = |one: v1::Domain| {
        let selectors: Vec<_> = one.dkim_keys.iter().map(|key| key.selector.clone()).collect();
        vec![
            Cell::link(one.name.clone(), format!("{PATH}/{}", encoded(&one.name))),
            Cell::code(selectors.join(", ")),
            Cell::time(one.create_time),
        ]
    };
    Ok((answer.domains.into_iter().map(row).collect(), answer.next_page_token))
}

pub(super) async fn create(
    State(app): State<Arc<App>>,
    Posted { visit, fields }: Posted,
) -> Answer {
    let request =
        v1::CreateDomainRequest { name: fields.text("name"), ..v1::CreateDomainRequest::default() };
    let made = domains(&app).create_domain(asked(&app, &visit, request)).await?.into_inner();
    let name = made.domain.unwrap_or_default().name;
    Ok(done(&format!("{PATH}/{}", encoded(&name)), visit.words().domain_added))
}

pub(super) async fn page(
    State(app): State<Arc<App>>,
    visit: Visit,
    Path(id): Path<String>,
) -> Answer {
    let request = asked(&app, &visit, v1::GetDomainRequest { id });
    let found = domains(&app).get_domain(request).await?.into_inner();
    let domain = found.domain.unwrap_or_default();
    let blocks = blocks(&visit, &domain);
    Ok(show(&visit, &domain.name, &blocks))
}

fn blocks(visit: &Visit, domain: &v1::Domain) -> Vec<Block> {
    let w = visit.words();
    let mut blocks = Vec::new();
    blocks.push(Block::Actions(actions(visit, domain)));
    blocks.push(checks(w, domain));
    let record = |one: &v1::DnsRecord| {
        vec![
            Cell::text(one.purpose.clone()),
            Cell::text(needed(w, one.need())),
            Cell::code(one.r#type.clone()),
            Cell::code(one.name.clone()),
            Cell::code(one.value.clone()),
            Cell::text(one.note.clone()),
        ]
    };
    blocks.push(Block::Table(Table {
        title: w.to_publish.to_owned(),
        columns: vec![w.purpose, w.needed, w.kind, w.name, w.value, w.note],
        rows: domain.dns_records.iter().map(record).collect(),
        ..Table::default()
    }));
    blocks.push(keys(w, domain));
    blocks
}

/// What the last check found, what is in the way of mail first.
fn checks(w: &Words, domain: &v1::Domain) -> Block {
    let mut checks: Vec<&v1::DomainCheck> = domain.checks.iter().collect();
    checks.sort_by_key(|check| (matches!(tone(check), Tone::Good | Tone::Plain), check.need));
    let row = |one: &&v1::DomainCheck| {
        let next = [&*one.hint, &*one.error].into_iter().filter(|text| !text.is_empty());
        vec![
            Cell::badge(judged(w, one.status()), tone(one)),
            Cell::text(one.purpose.clone()),
            Cell::text(needed(w, one.need())),
            Cell::code(one.name.clone()),
            Cell::code(one.found.clone()),
            Cell::text(next.collect::<Vec<_>>().join(" · ")),
            Cell::time(one.check_time),
        ]
    };
    Block::Table(Table {
        title: w.dns_checks.to_owned(),
        columns: vec![w.state, w.purpose, w.needed, w.name, w.found, w.what_next, w.dns_last_check],
        rows: checks.iter().map(row).collect(),
        empty: w.dns_unchecked.to_owned(),
        ..Table::default()
    })
}

fn keys(w: &Words, domain: &v1::Domain) -> Block {
    let row = |one: &v1::DkimKey| {
        use v1::DkimKeyState::{Active, Pending, Retired, Unspecified};
        let (text, tone) = match one.state() {
            Pending => (w.key_pending, Tone::Warn),
            Active => (w.key_active, Tone::Good),
            Retired | Unspecified => (w.key_retired, Tone::Plain),
        };
        vec![
            Cell::code(one.selector.clone()),
            Cell::badge(text, tone),
            Cell::time(one.create_time),
            Cell::time(one.remove_time),
        ]
    };
    Block::Table(Table {
        title: w.dkim_keys.to_owned(),
        columns: vec![w.name, w.state, w.created, w.until],
        rows: domain.dkim_keys.iter().map(row).collect(),
        ..Table::default()
    })
}

fn judged(w: &Words, status: v1::DomainCheckStatus) -> &'static str {
    use v1::DomainCheckStatus::{Missing, Ok, Unknown, Unspecified, Warning, Wrong};
    match status {
        Ok => w.dns_ok,
        Missing => w.dns_missing,
        Wrong => w.dns_wrong,
        Warning => w.dns_warning,
        Unknown | Unspecified => w.dns_unknown,
    }
}

/// What is only good to have is nothing to worry about.
fn tone(check: &v1::DomainCheck) -> Tone {
    use v1::DomainCheckStatus::{Missing, Ok, Wrong};
    match (check.status(), check.need()) {
        (Ok, _) => Tone::Good,
        (Missing, v1::DnsRecordNeed::Optional) => Tone::Plain,
        (Missing | Wrong, v1::DnsRecordNeed::Required) => Tone::Bad,
        _ => Tone::Warn,
    }
}

fn needed(w: &Words, need: v1::DnsRecordNeed) -> &'static str {
    use v1::DnsRecordNeed::{Optional, Recommended, Required, Unspecified};
    match need {
        Required => w.dns_required,
        Recommended => w.dns_recommended,
        Optional | Unspecified => w.dns_optional,
    }
}

fn actions(visit: &Visit, domain: &v1::Domain) -> Vec<Action> {
    let w = visit.words();
    let path = format!("{PATH}/{}/act", encoded(&domain.name));
    let act = |what: &str, label: &str| Action::new(path.clone(), what, label);
    let check = act("check", w.dns_check);
    if !visit.is_admin() {
        return vec![check];
    }
    let is_pending = |key: &v1::DkimKey| key.state() == v1::DkimKeyState::Pending;
    let turn = if domain.dkim_keys.iter().any(is_pending) {
        act("activate", w.activate_keys)
    } else {
        act("rotate", w.rotate_keys)
    };
    vec![check, turn, act("delete", w.delete).danger().confirmed(&domain.name)]
}

pub(super) async fn act(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Posted { visit, fields }: Posted,
) -> Answer {
    let (w, mut client) = (visit.words(), domains(&app));
    let page = format!("{PATH}/{}", encoded(&id));
    let told = match fields.raw("act") {
        "check" => {
            client.check_domain(asked(&app, &visit, v1::CheckDomainRequest { id })).await?;
            w.dns_checked
        }
        "rotate" => {
            let request = v1::RotateDkimKeysRequest { id, ..Default::default() };
            client.rotate_dkim_keys(asked(&app, &visit, request)).await?;
            w.keys_rotated
        }
        "activate" => {
            let request = v1::ActivateDkimKeysRequest { id, ..Default::default() };
            client.activate_dkim_keys(asked(&app, &visit, request)).await?;
            w.keys_activated
        }
        "delete" => {
            let request = v1::DeleteDomainRequest { id, ..Default::default() };
            client.delete_domain(asked(&app, &visit, request)).await?;
            return Ok(done(PATH, w.deleted));
        }
        _ => return Err(unknown_act()),
    };
    Ok(done(&page, told))
}
