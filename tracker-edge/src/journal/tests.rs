//! What the journal promises over restarts, damage and full disks. A crash fails the test.

use postern_proto::v1;

use super::*;

const MAX: u64 = 1 << 30;

fn hit(n: usize) -> Record {
    Record::Hit(v1::Hit { id: format!("hit_{n}"), url: "u".repeat(200), ..v1::Hit::default() })
}

/// Everything that is left, in batches.
fn rest(journal: &Journal, reader: &mut Reader) -> Vec<Record> {
    let mut all = Vec::new();
    loop {
        let batch = reader.read(journal.end(), 7).unwrap();
        if batch.records.is_empty() && batch.next == reader.position() {
            return all;
        }
        all.extend(batch.records);
        journal.released(reader.acknowledge(batch.next).unwrap());
    }
}

#[test]
fn what_is_not_acknowledged_is_read_again_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, mut reader) = Journal::open(folder.path()).unwrap();
    for n in 0..10 {
        journal.append(&hit(n), MAX).unwrap();
    }
    let batch = reader.read(journal.end(), 4).unwrap();
    assert_eq!(batch.records, (0..4).map(hit).collect::<Vec<_>>());
    reader.acknowledge(batch.next).unwrap();
    drop((journal, reader));
    let (journal, mut reader) = Journal::open(folder.path()).unwrap();
    journal.append(&hit(10), MAX).unwrap();
    assert_eq!(rest(&journal, &mut reader), (4..11).map(hit).collect::<Vec<_>>());
    assert_eq!(segment::list(folder.path()).unwrap().len(), 1, "the old segment is gone");
}

#[test]
fn a_torn_record_costs_only_itself() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, reader) = Journal::open(folder.path()).unwrap();
    for n in 0..3 {
        journal.append(&hit(n), MAX).unwrap();
    }
    drop((journal, reader));
    // As after a power cut in the middle of a write.
    let (number, octets) = segment::list(folder.path()).unwrap()[0];
    let file = File::options().write(true).open(segment::path(folder.path(), number)).unwrap();
    file.set_len(octets - 5).unwrap();
    let (journal, mut reader) = Journal::open(folder.path()).unwrap();
    journal.append(&hit(3), MAX).unwrap();
    assert_eq!(rest(&journal, &mut reader), [hit(0), hit(1), hit(3)]);
}

#[test]
fn segments_follow_one_another_and_go_when_they_are_shipped() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, mut reader) = Journal::open(folder.path()).unwrap();
    for n in 0..20 {
        journal.append(&hit(n), MAX).unwrap();
        if n % 6 == 0 {
            journal.writing().spent = true;
        }
    }
    assert!(segment::list(folder.path()).unwrap().len() > 3);
    assert_eq!(rest(&journal, &mut reader), (0..20).map(hit).collect::<Vec<_>>());
    let left = segment::list(folder.path()).unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(journal.octets(), left[0].1);
}

#[test]
fn a_full_journal_takes_nothing_and_counts_what_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, mut reader) = Journal::open(folder.path()).unwrap();
    journal.append(&hit(0), MAX).unwrap();
    let full = journal.append(&hit(1), journal.octets() + 10);
    assert!(matches!(full, Err(JournalError::Full(_))));
    assert_eq!(journal.lost(), 1);
    // Nothing of the refused record is left in the file.
    journal.append(&hit(2), MAX).unwrap();
    assert_eq!(rest(&journal, &mut reader), [hit(0), hit(2)]);
}

#[test]
fn a_folder_belongs_to_one_edge() {
    let folder = tempfile::tempdir().unwrap();
    let first = Journal::open(folder.path()).unwrap();
    let second = Journal::open(folder.path()).map(drop).unwrap_err();
    assert!(second.to_string().contains("POSTERN_TRACKER_DATA"), "{second}");
    drop(first);
    Journal::open(folder.path()).unwrap();
}

#[tokio::test]
async fn a_ticket_is_synced_together_with_its_neighbours() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _reader) = Journal::open(folder.path()).unwrap();
    let (journal, stop) = (Arc::new(journal), CancellationToken::new());
    let syncing = tokio::spawn({
        let (journal, stop) = (journal.clone(), stop.clone());
        async move { journal.keep_synced(|| Duration::ZERO, stop).await }
    });
    let tickets: Vec<_> = (0..5).map(|n| journal.append(&hit(n), MAX).unwrap()).collect();
    assert!(tickets.is_sorted());
    journal.wait_synced(tickets[4]).await;
    assert!(*journal.synced.borrow() >= tickets[4]);
    stop.cancel();
    syncing.await.unwrap();
}
