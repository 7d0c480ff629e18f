//! One run over all tables. A crash leaves what was taken over so far; the next run goes over all rows
//! again and changes nothing that is there.

use postern_core::store::old_system::{OldSystem, Table};
use serde_json::Value;

use super::cipher::Cipher;
use super::report::{Fate, Report};
use super::write::Writer;
use super::{links, rows};
use crate::client::Client;

const INACTIVE: &str = "not active in the old system";
const SOFT: &str = "soft bounces, which suppress nobody";

/// Takes everything over. `progress` is told the table and how many of how many rows are done.
pub(crate) async fn run(
    old: &OldSystem,
    client: &Client,
    cipher: &Cipher,
    dry_run: bool,
    mut progress: impl FnMut(&'static str, u64, u64),
) -> anyhow::Result<Report> {
    let writer = Writer { client, dry_run };
    let mut report = Report::default();
    let mut all = 0;
    for table in Table::ALL {
        all += old.count(table).await?;
    }
    let mut done = 0;
    for table in Table::ALL {
        report.begin(table);
        let mut after = i64::MIN;
        loop {
            let page = old.page(table, after).await?;
            let Some((last, _)) = page.last() else { break };
            after = *last;
            done += page.len() as u64;
            take(&writer, table, page, cipher, &mut report).await?;
            progress(table.name(), done, all);
        }
    }
    Ok(report)
}

type Page = Vec<(i64, Value)>;

async fn take(
    writer: &Writer<'_>,
    table: Table,
    page: Page,
    cipher: &Cipher,
    report: &mut Report,
) -> anyhow::Result<()> {
    match table {
        Table::Unsubscribes => {
            let rows = page.iter().map(|(id, row)| (*id, rows::unsubscribe(row))).collect();
            writer.suppressions(table, rows, report).await?;
        }
        Table::Bounces => bounces(writer, page, report).await?,
        Table::Clicks | Table::Opens | Table::Logs => {
            let mut fit = Vec::new();
            for (id, row) in page {
                let link = if table == Table::Logs {
                    links::mail(&row, cipher)
                } else {
                    links::token(&row, cipher)
                };
                match link {
                    Ok(link) => fit.push((id, link)),
                    Err(fate) => report.note(table, id, fate),
                }
            }
            writer.links(table, fit, report).await?;
        }
        _ => one_by_one(writer, table, page, report).await?,
    }
    Ok(())
}

async fn bounces(writer: &Writer<'_>, page: Page, report: &mut Report) -> anyhow::Result<()> {
    let mut hard = Vec::new();
    for (id, row) in page {
        match rows::bounce(&row) {
            Some(suppression) => hard.push((id, suppression)),
            None => report.note(Table::Bounces, id, Fate::LeftOut(SOFT.to_owned())),
        }
    }
    Ok(writer.suppressions(Table::Bounces, hard, report).await?)
}

async fn one_by_one(
    writer: &Writer<'_>,
    table: Table,
    page: Page,
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut urls = match table {
        Table::Webhooks => writer.webhook_urls().await?,
        _ => Default::default(),
    };
    for (id, row) in page {
        let fate = match table {
            _ if !rows::is_active(&row) => Fate::LeftOut(INACTIVE.to_owned()),
            Table::ApiKeys => writer.api_key(rows::api_key(&row)).await?,
            Table::SmtpCredentials => writer.smtp_credential(rows::smtp_credential(&row)).await?,
            Table::Templates => writer.template(rows::template(&row)).await?,
            // One more of the same url would be told everything twice.
            _ if urls.contains(rows::text(&row, "url")) => Fate::Existing,
            _ => match rows::webhook(&row) {
                Ok(ask) => writer.webhook(ask).await?,
                Err(why) => Fate::Refused(why),
            },
        };
        if matches!(fate, Fate::Imported) {
            urls.insert(rows::text(&row, "url").to_owned());
        }
        report.note(table, id, fate);
    }
    Ok(())
}
