//! Addresses that get no mail: searched, added, removed, taken in and given out as CSV.

use std::sync::Arc;

use axum::extract::{Query, State};
use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use postern_proto::v1;
use serde::Deserialize;

use super::client::suppressions;
use super::figures::grouped;
use super::lang::Lang;
use super::list::{Asked, List, Rows, with};
use super::view::{Action, Block, Cell, Field, Form, Kind, Table, Tone};
use super::visit::{Posted, Visit};
use super::words::Words;
use super::work::{Steps, Work};
use super::{Answer, asked, csv, done, show};
use crate::fault::Fault;
use crate::{App, suppression_file};

const PATH: &str = "/dashboard/suppressions";
/// Addresses of one file.
const LINES_MAX: usize = 1_000_000;
/// Refused lines that are shown.
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
    Query(asked): Query<Asked>,
) -> Answer {
    let w = visit.words();
    // The names in a file are what an import reads again.
    let columns = match asked.is_csv() {
        true => ["email", "reason", "campaign_id", "note", "create_time"],
        false => [w.address, w.reason, w.campaign, w.note, w.since],
    };
    let list = List {
        title: w.suppressions,
        file: "suppressions",
        columns: &columns,
        actions: w.actions,
        empty: w.no_suppressions,
        path: &with(PATH, &[("email", &filter.email), ("reason", &filter.reason)]),
        ..List::default()
    };
    let mut before = vec![Block::Form(search(w, &filter))];
    if visit.is_admin() {
        before.extend([add(w), file(w)].map(Block::Form));
    }
    // A file keeps the words of the contract.
    let names = if asked.is_csv() { Lang::En.words() } else { w };
    let fetch = move |app: Arc<App>, visit, token| {
        let filter = filter.clone();
        async move { rows(&app, &visit, names, &filter, token).await }
    };
    list.answer(app, visit, &asked, before, fetch).await
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
        long: true,
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
    names: &Words,
    filter: &Filter,
    page_token: String,
) -> Rows {
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
            Cell::badge(names.name(&name.to_lowercase()), tone),
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

/// Takes in a file of addresses, see [`suppression_file`]. Nothing is taken of one that cannot be read.
pub(super) async fn import(
    State(app): State<Arc<App>>,
    work: Work,
    Posted { visit, fields }: Posted,
) -> Answer {
    let mut faults = Faults::default();
    let batches = batches(&fields.file, &mut faults)?;
    work.run(|steps| async move { take_in(&app, &visit, batches, faults, &steps).await }).await
}

async fn take_in(
    app: &App,
    visit: &Visit,
    batches: Vec<Batch>,
    mut faults: Faults,
    steps: &Steps,
) -> Answer {
    let w = visit.words();
    let all: usize = batches.iter().map(Vec::len).sum();
    let mut client = suppressions(app);
    let (mut taken, mut created, mut existing) = (0, 0, 0);
    for batch in batches {
        let (lines, suppressions): (Vec<u64>, Vec<_>) = batch.into_iter().unzip();
        let request = v1::BatchCreateSuppressionsRequest { suppressions, validate_only: false };
        let request = asked(app, visit, request);
        let answer = client.batch_create_suppressions(request).await?.into_inner();
        created += i64::from(answer.created_count);
        existing += i64::from(answer.existing_count);
        for fault in answer.faults {
            faults.add(lines.get(fault.index as usize).copied().unwrap_or(0), fault.message);
        }
        taken += lines.len();
        let [shown, whole] = [taken, all].map(|number| grouped(number as i64));
        steps.at(taken as f64 / all as f64, format!("{shown} / {whole}"));
    }
    let facts = Block::Facts {
        title: w.import_csv.to_owned(),
        rows: vec![
            (w.added.to_owned(), Cell::Number(created)),
            (w.were_there.to_owned(), Cell::Number(existing)),
            (w.refused.to_owned(), Cell::Number(faults.count)),
        ],
    };
    let mut table = Table {
        title: w.refused.to_owned(),
        columns: vec![w.line, w.problem],
        rows: faults.shown,
        empty: w.nothing.to_owned(),
        ..Table::default()
    };
    // It stands at no address that could be asked again.
    table.csv = csv::inline(&table);
    Ok(show(visit, w.suppressions, &[facts, Block::Table(table)]))
}

/// Lines that were refused: how many, and the first of them.
#[derive(Debug, Default)]
struct Faults {
    count: i64,
    shown: Vec<Vec<Cell>>,
}

impl Faults {
    fn add(&mut self, line: u64, why: String) {
        self.count += 1;
        if self.shown.len() < FAULTS_MAX {
            let line = i64::try_from(line).unwrap_or(i64::MAX);
            self.shown.push(vec![Cell::Number(line), Cell::text(why)]);
        }
    }
}

type Batch = Vec<(u64, v1::Suppression)>;

/// All of a file.
fn batches(file: &[u8], faults: &mut Faults) -> Result<Vec<Batch>, Fault> {
    let bad = |text: String| Fault(Failure::field(Reason::InvalidValue, "file", text));
    let (mut list, mut batches) = (suppression_file::List::new(file), Vec::new());
    loop {
        let batch = list.batch(|line, why| faults.add(line, why));
        let batch = batch.map_err(|error| bad(error.to_string()))?;
        if batch.is_empty() {
            break;
        }
        batches.push(batch);
        if batches.len() * suppression_file::BATCH > LINES_MAX {
            return Err(bad(format!("has more than {LINES_MAX} addresses")));
        }
    }
    if batches.is_empty() && faults.count == 0 {
        return Err(bad("holds no address".to_owned()));
    }
    Ok(batches)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_exported_can_be_taken_in() {
        let file = "email,reason,campaign_id,note,create_time\r\n\
                    a@x.io,hard_bounce,spring,\"gone, really\",2026\r\nb@x.io,,,,\r\nc@x.io,dull,,,\r\n";
        let mut faults = Faults::default();
        let batches = batches(file.as_bytes(), &mut faults).unwrap();
        let emails: Vec<_> = batches[0].iter().map(|(line, one)| (*line, &*one.email)).collect();
        assert_eq!(emails, [(2, "a@x.io"), (3, "b@x.io")]);
        assert_eq!(batches[0][0].1.reason(), v1::SuppressionReason::HardBounce);
        assert_eq!(faults.count, 1, "the last line has no reason that there is");
        assert!(super::batches(b"", &mut Faults::default()).is_err());
    }
}
