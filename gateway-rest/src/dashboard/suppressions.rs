//! Addresses that get no mail: searched, added, removed, taken in and given out as CSV.

use std::sync::Arc;

use axum::extract::{Query, State};
use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use postern_proto::v1;
use serde::Deserialize;

use super::client::suppressions;
use super::messages::{Asked, with};
use super::view::{Action, Block, Cell, Field, Form, Kind, Table, Tone};
use super::visit::{Posted, Visit};
use super::words::Words;
use super::{Answer, asked, csv, done, show};
use crate::App;
use crate::fault::Fault;

const PATH: &str = "/dashboard/suppressions";
/// Entries that go to the core at a time.
const BATCH: usize = 1000;
/// Lines of one file.
const LINES_MAX: usize = 1_000_000;
/// Bad lines that are shown.
const FAULTS_MAX: usize = 50;
const REASONS: [&str; 4] = ["HARD_BOUNCE", "COMPLAINT", "UNSUBSCRIBE", "MANUAL"];

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Filter {
    #[serde(default)]
    email: String,
    #[serde(default)]
    reason: String,
}

pub(super) async fn list(
    State(app): State<Arc<App>>,
    visit: Visit,
    Query(filter): Query<Filter>,
    Query(query): Query<Asked>,
) -> Answer {
    let w = visit.words();
    // The names in a file are what an import reads again.
    let names = ["email", "reason", "campaign_id", "note", "create_time", ""];
    if query.is_csv() {
        let columns = names.map(str::to_owned).to_vec();
        return Ok(csv::export("suppressions", columns, move |token| {
            let (app, visit, filter) = (app.clone(), visit.clone(), filter.clone());
            async move { rows(&app, &visit, &filter, token).await }
        }));
    }
    let (rows, next) = rows(&app, &visit, &filter, query.page.clone()).await?;
    let path = with(PATH, &[("email", &filter.email), ("reason", &filter.reason)]);
    let columns = [w.address, w.reason, w.campaign, w.note, w.since, w.actions];
    let mut blocks = vec![Block::Form(search(w, &filter))];
    if visit.is_admin() {
        blocks.push(Block::Form(add(w)));
        blocks.push(Block::Form(file(w)));
    }
    blocks.push(Block::Table(Table {
        columns: columns.map(str::to_owned).to_vec(),
        rows,
        empty: w.no_suppressions.to_owned(),
        next: query.next(&path, &next),
        csv: query.csv(&path),
        ..Table::default()
    }));
    Ok(show(&visit, w.suppressions, &blocks))
}

fn reason_choices(w: &Words, first: Option<&str>) -> Kind {
    let any = first.map(|any| (String::new(), any.to_owned()));
    let labels = [w.hard_bounce, w.complaint, w.unsubscribed, w.by_hand];
    let reasons = REASONS.iter().zip(labels);
    let reasons = reasons.map(|(value, label)| ((*value).to_owned(), label.to_owned()));
    Kind::Select(any.into_iter().chain(reasons).collect())
}

fn search(w: &Words, filter: &Filter) -> Form {
    Form {
        path: PATH.to_owned(),
        fields: vec![
            Field::new("email", w.address, Kind::Text).value(filter.email.clone()),
            Field::new("reason", w.reason, reason_choices(w, Some(w.any)))
                .value(filter.reason.clone()),
        ],
        submit: w.filter.to_owned(),
        get: true,
        inline: true,
        ..Form::default()
    }
}

fn add(w: &Words) -> Form {
    Form {
        title: w.suppression_add.to_owned(),
        path: PATH.to_owned(),
        fields: vec![
            Field::new("email", w.address, Kind::Text).required(),
            Field::new("reason", w.reason, reason_choices(w, None)).value("MANUAL"),
            Field::new("campaign", w.campaign, Kind::Text).hint(w.campaign_hint),
            Field::new("note", w.note, Kind::Text),
        ],
        submit: w.add.to_owned(),
        folded: true,
        ..Form::default()
    }
}

fn file(w: &Words) -> Form {
    Form {
        title: w.import_csv.to_owned(),
        path: format!("{PATH}/import"),
        fields: vec![Field::new("file", w.file, Kind::File).hint(w.import_hint).required()],
        submit: w.import.to_owned(),
        folded: true,
        ..Form::default()
    }
}

fn reason(name: &str) -> v1::SuppressionReason {
    let name = format!("SUPPRESSION_REASON_{}", name.trim().to_uppercase());
    v1::SuppressionReason::from_str_name(&name).unwrap_or_default()
}

async fn rows(
    app: &App,
    visit: &Visit,
    filter: &Filter,
    page_token: String,
) -> Result<(Vec<Vec<Cell>>, String), Fault> {
    let w = visit.words();
    let request = v1::ListSuppressionsRequest {
        page_size: 0,
        page_token,
        email: filter.email.trim().to_owned(),
        reason: reason(&filter.reason).into(),
    };
    let answer = suppressions(app).list_suppressions(asked(app, visit, request)).await?;
    let answer = answer.into_inner();
    let row = |one: v1::Suppression| {
        let name = one.reason().as_str_name().trim_start_matches("SUPPRESSION_REASON_");
        let mut actions = Vec::new();
        if visit.is_admin() {
            actions.push(Action {
                label: w.remove.to_owned(),
                path: format!("{PATH}/delete"),
                fields: vec![("id".to_owned(), one.id.clone())],
                danger: true,
                confirm: format!("{}: {}?", w.remove, one.email),
            });
        }
        let tone = match one.reason() {
            v1::SuppressionReason::Complaint | v1::SuppressionReason::HardBounce => Tone::Bad,
            _ => Tone::Warn,
        };
        vec![
            Cell::text(one.email),
            Cell::badge(name.to_lowercase(), tone),
            Cell::text(one.campaign_id),
            Cell::text(one.note),
            Cell::time(one.create_time),
            Cell::Actions(actions),
        ]
    };
    Ok((answer.suppressions.into_iter().map(row).collect(), answer.next_page_token))
}

pub(super) async fn create(
    State(app): State<Arc<App>>,
    Posted { visit, fields }: Posted,
) -> Answer {
    let suppression = Some(v1::Suppression {
        email: fields.text("email"),
        reason: reason(fields.raw("reason")).into(),
        campaign_id: fields.text("campaign"),
        note: fields.text("note"),
        ..v1::Suppression::default()
    });
    let request = v1::CreateSuppressionRequest { suppression, validate_only: false };
    suppressions(&app).create_suppression(asked(&app, &visit, request)).await?;
    Ok(done(PATH, visit.words().saved))
}

pub(super) async fn delete(
    State(app): State<Arc<App>>,
    Posted { visit, fields }: Posted,
) -> Answer {
    let request = v1::DeleteSuppressionRequest {
        id: fields.text("id"),
        allow_missing: true,
        validate_only: false,
    };
    suppressions(&app).delete_suppression(asked(&app, &visit, request)).await?;
    Ok(done(PATH, visit.words().deleted))
}

/// Takes in a file with a column `email` and, if it likes, `reason`, `campaign_id` and `note`; or one
/// address a line.
pub(super) async fn import(
    State(app): State<Arc<App>>,
    Posted { visit, fields }: Posted,
) -> Answer {
    let w = visit.words();
    let entries = parse(&fields.file)?;
    let (mut created, mut existing, mut faults) = (0, 0, Vec::new());
    for (n, piece) in entries.chunks(BATCH).enumerate() {
        let list = piece.to_vec();
        let request =
            v1::BatchCreateSuppressionsRequest { suppressions: list, validate_only: false };
        let request = asked(&app, &visit, request);
        let answer = suppressions(&app).batch_create_suppressions(request).await?.into_inner();
        created += i64::from(answer.created_count);
        existing += i64::from(answer.existing_count);
        for fault in answer.faults {
            let line = n * BATCH + fault.index as usize + 1;
            faults.push(vec![Cell::Number(line as i64), Cell::text(fault.message)]);
        }
    }
    let refused = faults.len();
    faults.truncate(FAULTS_MAX);
    let facts = Block::Facts {
        title: w.import_csv.to_owned(),
        rows: vec![
            (w.added.to_owned(), Cell::Number(created)),
            (w.were_there.to_owned(), Cell::Number(existing)),
            (w.refused.to_owned(), Cell::Number(refused as i64)),
        ],
    };
    let table = Table {
        title: w.refused.to_owned(),
        columns: [w.entry, w.problem].map(str::to_owned).to_vec(),
        rows: faults,
        empty: w.nothing.to_owned(),
        ..Table::default()
    };
    Ok(show(&visit, w.suppressions, &[facts, Block::Table(table)]))
}

fn parse(file: &[u8]) -> Result<Vec<v1::Suppression>, Fault> {
    let bad = |text: String| Fault(Failure::field(Reason::InvalidValue, "file", text));
    let mut reader =
        ::csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(file);
    let (mut columns, mut entries) = (None, Vec::new());
    for (n, record) in reader.records().enumerate() {
        let record = record.map_err(|error| bad(format!("line {}: {error}", n + 1)))?;
        let fields: Vec<&str> = record.iter().map(str::trim).collect();
        if n == 0 && fields.iter().any(|name| name.eq_ignore_ascii_case("email")) {
            let at = |name: &str| fields.iter().position(|one| one.eq_ignore_ascii_case(name));
            columns = Some([at("email"), at("reason"), at("campaign_id"), at("note")]);
            continue;
        }
        if n >= LINES_MAX {
            return Err(bad(format!("has more than {LINES_MAX} lines")));
        }
        let [email, reason_at, campaign, note] = columns.unwrap_or([Some(0), None, None, None]);
        let text =
            |at: Option<usize>| at.and_then(|at| fields.get(at)).copied().unwrap_or_default();
        entries.push(v1::Suppression {
            email: text(email).trim_start_matches('\'').to_owned(),
            reason: reason(text(reason_at)).into(),
            campaign_id: text(campaign).to_owned(),
            note: text(note).to_owned(),
            ..v1::Suppression::default()
        });
    }
    if entries.is_empty() {
        return Err(bad("holds no address".to_owned()));
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_was_exported_can_be_taken_in() {
        let file = "email,reason,campaign_id,note,create_time\r\n\
                    a@x.io,hard_bounce,spring,\"gone, really\",2026\r\nb@x.io,,,,\r\n";
        let entries = parse(file.as_bytes()).unwrap();
        assert_eq!(entries.len(), 2);
        assert_eq!(entries[0].reason(), v1::SuppressionReason::HardBounce);
        assert_eq!(
            (entries[0].campaign_id.as_str(), entries[0].note.as_str()),
            ("spring", "gone, really")
        );
        assert_eq!(entries[1].reason(), v1::SuppressionReason::Unspecified);
        let plain = parse(b"a@x.io\nb@x.io\n").unwrap();
        assert_eq!(plain[1].email, "b@x.io");
        assert!(parse(b"").is_err());
    }

    proptest! {
        #[test]
        fn no_file_makes_the_import_panic(file: Vec<u8>) {
            let _result = parse(&file);
        }
    }
}
