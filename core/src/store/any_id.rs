//! Which message an id has to do with, whatever kind of id somebody has in hand.
//!
//! Reads only; a crash has nothing to lose.

use postern_proto::ids::{EventId, MessageId, RecipientId, SinkId};
use uuid::Uuid;

use super::Error;
use super::db::{Database, Where};

/// Characters of a Message-ID that is looked for. An index of PostgreSQL takes 2704 octets, and a character
/// may have four; longer ones are stored, and found by other ids.
const MESSAGE_ID_MAX: usize = 600;
/// How far the clocks of two nodes, and the order of two transactions, may be apart.
const SKEW_MS: u64 = 5_000;

/// An id by which a message is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnyId {
    /// Its own.
    Message(MessageId),
    /// Of one of its recipients.
    Recipient(RecipientId),
    /// Of one of its events.
    Event(EventId),
    /// Of a mail in the local inbox that came of it.
    Sink(SinkId),
    /// The Message-ID that its client gave it, without angle brackets.
    MessageIdHeader(String),
}

impl AnyId {
    /// Reads an id of ours, or a Message-ID (RFC 5322, section 3.6.4) with or without its brackets.
    pub fn parse(text: &str) -> Option<Self> {
        let bare = text.trim().trim_start_matches('<').trim_end_matches('>');
        let left = bare.split('@').next().unwrap_or_default();
        // A Message-ID that we made begins with the id of the message.
        let of_ours = || left.parse().ok().map(Self::Message);
        of_ours()
            .or_else(|| bare.parse().ok().map(Self::Recipient))
            .or_else(|| bare.parse().ok().map(Self::Event))
            .or_else(|| bare.parse().ok().map(Self::Sink))
            .or_else(|| {
                let is_header = bare.contains('@') && bare.chars().count() <= MESSAGE_ID_MAX;
                is_header.then(|| Self::MessageIdHeader(bare.to_owned()))
            })
    }

    /// Narrows messages `m` down to those it belongs to.
    pub(super) async fn narrow(
        &self,
        db: &dyn Database,
        conditions: &mut Where,
    ) -> Result<(), Error> {
        match self {
            Self::Message(id) => conditions.and("m.id = ?", id.uuid()),
            Self::Recipient(id) => {
                let of = "m.id IN (SELECT d.message_id FROM deliveries d WHERE d.id = ?)";
                conditions.and(of, id.uuid());
            }
            Self::Sink(id) => {
                let of = "m.id IN (SELECT s.message_id FROM sink_messages s WHERE s.id = ?)";
                conditions.and(of, id.uuid());
            }
            Self::Event(id) => match of_event(db, id.uuid()).await? {
                Some(message) => conditions.and("m.id = ?", message),
                None => conditions.and_sql("1 = 0"),
            },
            Self::MessageIdHeader(text) => {
                // What lets the partial index serve.
                conditions.and_sql("substr(m.rfc_message_id, 1, 4) <> 'msg_'");
                conditions.and_sql("length(m.rfc_message_id) <= 600");
                conditions.and("m.rfc_message_id = ?", text.as_str());
            }
        }
        Ok(())
    }
}

/// The message of an event. The id says when the event was written, and events stand in the order of
/// time: a few probes find the place, so that no send pays for an index that only people use.
async fn of_event(db: &dyn Database, id: Uuid) -> Result<Option<Uuid>, Error> {
    let at_ms = written_ms(id);
    let from = first_since(db, at_ms.saturating_sub(SKEW_MS)).await?;
    let to = first_since(db, at_ms + SKEW_MS).await?;
    let mut conditions = Where::default();
    conditions.and("sequence >= ?", from);
    conditions.and("sequence <= ?", to);
    conditions.and("id = ?", id);
    let rows = db.read(conditions.statement("SELECT message_id FROM events", "LIMIT 1")).await?;
    rows.first().map(|row| row.uuid(0)).transpose()
}

/// The first sequence at which events of this time or later begin; behind the last one when all are
/// older.
async fn first_since(db: &dyn Database, ms: u64) -> Result<i64, Error> {
    let (mut low, mut high) = (0, i64::MAX);
    while low < high {
        let middle = low + (high - low) / 2;
        let mut conditions = Where::default();
        conditions.and("sequence >= ?", middle);
        let select = "SELECT sequence, id FROM events";
        let rows = db.read(conditions.statement(select, "ORDER BY sequence LIMIT 1")).await?;
        match rows.first() {
            Some(row) if written_ms(row.uuid(1)?) < ms => low = row.int(0)? + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}

/// The time in a version 7 id (RFC 9562, section 5.7).
fn written_ms(id: Uuid) -> u64 {
    u64::try_from(id.as_u128() >> 80).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_told_apart_and_a_message_id_of_ours_is_the_message() {
        let id = Uuid::now_v7();
        let [message, recipient] =
            [MessageId::from_uuid(id).to_string(), RecipientId::from_uuid(id).to_string()];
        let own = Some(AnyId::Message(MessageId::from_uuid(id)));
        assert_eq!(AnyId::parse(&message), own);
        assert_eq!(AnyId::parse(&format!(" <{message}@shop.example> ")), own);
        assert_eq!(AnyId::parse(&recipient), Some(AnyId::Recipient(RecipientId::from_uuid(id))));
        let foreign = AnyId::MessageIdHeader("a.b@c".to_owned());
        assert_eq!(AnyId::parse("<a.b@c>"), Some(foreign));
        assert_eq!(AnyId::parse("order 7"), None);
        assert_eq!(AnyId::parse("msg_1"), None);
        assert_eq!(AnyId::parse(&format!("{}@x", "a".repeat(599))), None);
    }
}
