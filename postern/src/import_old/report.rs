//! What became of every row. Counts and the first reasons; no address and no secret.

use std::collections::BTreeMap;

use postern_core::store::old_system::Table;
use serde_json::{Value, json};

/// Refused rows that are named, by table.
const NAMED_MAX: usize = 1000;

/// What became of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is new here.
    Imported,
    /// It was here already.
    Existing,
    /// It is not to be taken over.
    LeftOut(String),
    /// It cannot be taken over.
    Refused(String),
}

#[derive(Debug, Default)]
struct Counts {
    read: u64,
    imported: u64,
    existing: u64,
    refused: u64,
    named: Vec<(i64, String)>,
    left_out: BTreeMap<String, u64>,
}

/// The report.
#[derive(Debug, Default)]
pub(crate) struct Report {
    tables: Vec<(Table, Counts)>,
}

impl Report {
    /// Notes what became of a row.
    pub(super) fn note(&mut self, table: Table, id: i64, fate: Fate) {
        let counts = self.of(table);
        counts.read += 1;
        match fate {
            Fate::Imported => counts.imported += 1,
            Fate::Existing => counts.existing += 1,
            Fate::LeftOut(why) => *counts.left_out.entry(why).or_default() += 1,
            Fate::Refused(why) => {
                counts.refused += 1;
                if counts.named.len() < NAMED_MAX {
                    counts.named.push((id, why));
                }
            }
        }
    }

    /// The same for many rows of which the core tells only numbers.
    pub(super) fn note_many(&mut self, table: Table, imported: u64, existing: u64) {
        let counts = self.of(table);
        counts.read += imported + existing;
        counts.imported += imported;
        counts.existing += existing;
    }

    /// Has the table in the report, also without a row.
    pub(super) fn begin(&mut self, table: Table) {
        self.of(table);
    }

    fn of(&mut self, table: Table) -> &mut Counts {
        let place = self.tables.iter().position(|(known, _)| *known == table);
        let place = place.unwrap_or_else(|| {
            self.tables.push((table, Counts::default()));
            self.tables.len() - 1
        });
        &mut self.tables[place].1
    }

    /// Whether something could not be taken over.
    pub(crate) fn has_refused(&self) -> bool {
        self.tables.iter().any(|(_, counts)| counts.refused > 0)
    }

    /// For scripts.
    pub(crate) fn json(&self, dry_run: bool) -> Value {
        let tables = self.tables.iter().map(|(table, counts)| {
            let refused = counts.named.iter().map(|(id, why)| json!({"id": id, "reason": why}));
            let refused: Vec<_> = refused.collect();
            let shown = json!({
                "read": counts.read,
                "imported": counts.imported,
                "already_there": counts.existing,
                "left_out": counts.left_out,
                "refused": counts.refused,
                "refusals": refused,
            });
            (table.name().to_owned(), shown)
        });
        json!({"dry_run": dry_run, "tables": tables.collect::<serde_json::Map<_, _>>()})
    }

    /// For people.
    pub(crate) fn text(&self, dry_run: bool) -> String {
        let mut text = format!(
            "{:<18} {:>9} {:>9} {:>13} {:>9} {:>9}\n",
            "table",
            "read",
            if dry_run { "would be" } else { "imported" },
            "already there",
            "left out",
            "refused"
        );
        for (table, counts) in &self.tables {
            let left_out: u64 = counts.left_out.values().sum();
            let Counts { read, imported, existing, refused, .. } = counts;
            text.push_str(&format!(
                "{:<18} {read:>9} {imported:>9} {existing:>13} {left_out:>9} {refused:>9}\n",
                table.name()
            ));
        }
        for (table, counts) in &self.tables {
            for (why, count) in &counts.left_out {
                text.push_str(&format!("left out  {}: {count} {why}\n", table.name()));
            }
            for (id, why) in &counts.named {
                text.push_str(&format!("refused   {} {id}: {why}\n", table.name()));
            }
        }
        text
    }
}
