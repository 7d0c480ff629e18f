//! One API key or SMTP credential: what it may do, from where it was used last, and changing that.
//!
//! The contract has no call for a single one, so its list is read until it is found. No state; a crash
//! has nothing to lose.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use postern_proto::v1;
use prost_types::FieldMask;

use super::client::credentials;
use super::figures::encoded;
use super::keys::standing;
use super::view::{Block, Cell, Field, Form, Kind};
use super::visit::{Fields, Posted, Visit};
use super::words::Words;
use super::{Answer, asked, done, show};
use crate::App;
use crate::fault::Fault;

const KEYS: &str = "/dashboard/keys";
const SMTP: &str = "/dashboard/smtp";
/// Credentials of one page, and pages that are looked through: no installation has more.
const PAGE_SIZE: i32 = 1000;
const PAGES_MAX: usize = 20;

/// The address of a key's page.
pub(super) fn key_path(id: &str) -> String {
    format!("{KEYS}/{}", encoded(id))
}

/// The address of an SMTP credential's page.
pub(super) fn smtp_path(id: &str) -> String {
    format!("{SMTP}/{}", encoded(id))
}

pub(super) async fn key(
    State(app): State<Arc<App>>,
    visit: Visit,
    Path(id): Path<String>,
) -> Answer {
    let (w, key) = (visit.words(), find_key(&app, &visit, &id).await?);
    let mut rows = vec![
        (w.id.to_owned(), Cell::code(key.id.clone())),
        (w.key.to_owned(), Cell::code(key.hint.clone())),
        (w.scopes.to_owned(), Cell::text(key.scopes.join(", "))),
    ];
    rows.extend(limits(w, &key.sender_domains, &key.ip_allow, key.daily_limit));
    let standing = standing(w, key.revoke_time.is_some(), key.expire_time, key.test);
    rows.push((w.state.to_owned(), standing));
    rows.push((w.expires.to_owned(), Cell::time(key.expire_time)));
    rows.extend(uses(w, key.last_use_time, &key.last_use_address, key.create_time));
    let scopes = Field::new("scopes", w.scopes, Kind::Area(2)).value(key.scopes.join(", "));
    let mut fields = vec![Field::text("name", w.name, &key.display_name), scopes.required()];
    fields.extend(common(w, &key.sender_domains, &key.ip_allow, key.daily_limit));
    let may = visit.is_admin() && key.revoke_time.is_none();
    let form = may.then(|| form(w, key_path(&key.id), fields));
    Ok(page(&visit, &key.display_name, rows, form))
}

pub(super) async fn change_key(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Posted { visit, fields }: Posted,
) -> Answer {
    let paths = ["display_name", "scopes", "sender_domains", "ip_allow", "daily_limit"];
    let request = v1::UpdateApiKeyRequest {
        api_key: Some(v1::ApiKey {
            id: id.clone(),
            display_name: fields.text("name"),
            scopes: fields.list("scopes"),
            sender_domains: fields.list("domains"),
            ip_allow: fields.list("ip_allow"),
            daily_limit: fields.number("daily_limit")?,
            ..v1::ApiKey::default()
        }),
        update_mask: Some(mask(&paths)),
        validate_only: false,
    };
    credentials(&app).update_api_key(asked(&app, &visit, request)).await?;
    Ok(done(&key_path(&id), visit.words().saved))
}

pub(super) async fn smtp(
    State(app): State<Arc<App>>,
    visit: Visit,
    Path(id): Path<String>,
) -> Answer {
    let (w, one) = (visit.words(), find_smtp(&app, &visit, &id).await?);
    let aliases: Vec<_> = one.header_aliases().map(alias_name).collect();
    let aliases = aliases.join(", ");
    let mut rows = vec![
        (w.id.to_owned(), Cell::code(one.id.clone())),
        (w.username.to_owned(), Cell::code(one.username.clone())),
    ];
    rows.extend(limits(w, &one.sender_domains, &one.ip_allow, one.daily_limit));
    rows.push((w.rate_limit.to_owned(), Cell::Number(one.rate_limit)));
    rows.push((w.header_aliases.to_owned(), Cell::text(aliases.clone())));
    let standing = standing(w, one.revoke_time.is_some(), one.expire_time, one.test);
    rows.push((w.state.to_owned(), standing));
    rows.push((w.expires.to_owned(), Cell::time(one.expire_time)));
    rows.extend(uses(w, one.last_use_time, &one.last_use_address, one.create_time));
    let mut fields = vec![Field::text("name", w.name, &one.display_name)];
    fields.extend(common(w, &one.sender_domains, &one.ip_allow, one.daily_limit));
    let rate = one.rate_limit.to_string();
    fields.push(Field::text("rate_limit", w.rate_limit, &rate).hint(w.rate_limit_hint));
    let all: Vec<_> = ALIASES.iter().map(|alias| alias_name(*alias)).collect();
    let hint = format!("{}: {}", w.header_aliases_hint, all.join(", "));
    fields.push(Field::text("aliases", w.header_aliases, &aliases).hint(hint));
    let may = visit.is_admin() && one.revoke_time.is_none();
    let form = may.then(|| form(w, smtp_path(&one.id), fields));
    Ok(page(&visit, &one.display_name, rows, form))
}

pub(super) async fn change_smtp(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Posted { visit, fields }: Posted,
) -> Answer {
    let paths = [
        "display_name",
        "sender_domains",
        "ip_allow",
        "daily_limit",
        "rate_limit",
        "header_aliases",
    ];
    let request = v1::UpdateSmtpCredentialRequest {
        smtp_credential: Some(v1::SmtpCredential {
            id: id.clone(),
            display_name: fields.text("name"),
            sender_domains: fields.list("domains"),
            ip_allow: fields.list("ip_allow"),
            daily_limit: fields.number("daily_limit")?,
            rate_limit: fields.number("rate_limit")?,
            header_aliases: aliases(&fields)?,
            ..v1::SmtpCredential::default()
        }),
        update_mask: Some(mask(&paths)),
        validate_only: false,
    };
    credentials(&app).update_smtp_credential(asked(&app, &visit, request)).await?;
    Ok(done(&smtp_path(&id), visit.words().saved))
}

fn page(visit: &Visit, name: &str, rows: Vec<(String, Cell)>, form: Option<Form>) -> Response {
    let mut blocks = vec![Block::Facts { title: String::new(), rows }];
    blocks.extend(form.map(Block::Form));
    show(visit, name, &blocks)
}

fn form(w: &Words, path: String, fields: Vec<Field>) -> Form {
    let (title, submit) = (w.change.to_owned(), w.save.to_owned());
    Form { title, path, fields, submit, ..Form::default() }
}

/// What both kinds may be held to.
fn limits(w: &Words, domains: &[String], networks: &[String], daily: i64) -> [(String, Cell); 3] {
    let any = |list: &[String]| if list.is_empty() { w.any.to_owned() } else { list.join(", ") };
    [
        (w.domains.to_owned(), Cell::text(any(domains))),
        (w.ip_allow.to_owned(), Cell::text(any(networks))),
        (w.daily_limit.to_owned(), Cell::Number(daily)),
    ]
}

fn uses(
    w: &Words,
    last: Option<prost_types::Timestamp>,
    address: &str,
    created: Option<prost_types::Timestamp>,
) -> [(String, Cell); 3] {
    [
        (w.last_use.to_owned(), Cell::time(last)),
        (w.last_address.to_owned(), Cell::text(address)),
        (w.created.to_owned(), Cell::time(created)),
    ]
}

fn common(w: &Words, domains: &[String], networks: &[String], daily: i64) -> [Field; 3] {
    [
        Field::text("domains", w.domains, &domains.join(", ")).hint(w.sender_domains_hint),
        Field::text("ip_allow", w.ip_allow, &networks.join(", ")).hint(w.ip_allow_hint),
        Field::text("daily_limit", w.daily_limit, &daily.to_string()).hint(w.zero_no_limit),
    ]
}

fn mask(paths: &[&str]) -> FieldMask {
    FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() }
}

const ALIASES: [v1::HeaderAlias; 5] = [
    v1::HeaderAlias::Postmark,
    v1::HeaderAlias::Mailgun,
    v1::HeaderAlias::Mandrill,
    v1::HeaderAlias::Sendgrid,
    v1::HeaderAlias::Sparkpost,
];

fn alias_name(alias: v1::HeaderAlias) -> String {
    alias.as_str_name().trim_start_matches("HEADER_ALIAS_").to_lowercase()
}

fn aliases(fields: &Fields) -> Result<Vec<i32>, Fault> {
    let alias = |name: String| {
        let found = ALIASES.into_iter().find(|alias| alias_name(*alias) == name.to_lowercase());
        let problem =
            || Failure::field(Reason::InvalidValue, "aliases", format!("{name}: unknown"));
        found.map(i32::from).ok_or_else(|| Fault(problem()))
    };
    fields.list("aliases").into_iter().map(alias).collect()
}

async fn find_key(app: &App, visit: &Visit, id: &str) -> Result<v1::ApiKey, Fault> {
    let page = |page_token| async move {
        let request = v1::ListApiKeysRequest { page_size: PAGE_SIZE, page_token };
        let list = credentials(app).list_api_keys(asked(app, visit, request)).await?.into_inner();
        Ok((list.api_keys, list.next_page_token))
    };
    find(page, |key| key.id == id, Reason::ApiKeyNotFound).await
}

async fn find_smtp(app: &App, visit: &Visit, id: &str) -> Result<v1::SmtpCredential, Fault> {
    let page = |page_token| async move {
        let request = v1::ListSmtpCredentialsRequest { page_size: PAGE_SIZE, page_token };
        let request = asked(app, visit, request);
        let list = credentials(app).list_smtp_credentials(request).await?.into_inner();
        Ok((list.smtp_credentials, list.next_page_token))
    };
    find(page, |one| one.id == id, Reason::SmtpCredentialNotFound).await
}

/// The one of a list that is meant, page after page.
async fn find<T, R>(
    page: impl Fn(String) -> R,
    is_meant: impl Fn(&T) -> bool,
    missing: Reason,
) -> Result<T, Fault>
where
    R: Future<Output = Result<(Vec<T>, String), Fault>>,
{
    let mut token = String::new();
    for _ in 0..PAGES_MAX {
        let (list, next) = page(token).await?;
        if let Some(found) = list.into_iter().find(&is_meant) {
            return Ok(found);
        }
        token = next;
        if token.is_empty() {
            break;
        }
    }
    Err(Failure::new(missing, "").into())
}
