//! Reports of other systems on PostgreSQL. The delivery's row is locked while a report is taken in,
//! so reports of one mail wait for each other.

use async_trait::async_trait;
use deadpool_postgres::Transaction;
use postern_proto::ids::{MessageId, RecipientId};
use prost::Message as _;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::model::delivery::State;
use crate::model::directory::Suppression;

use super::super::Error;
use super::super::queue::Finish;
use super::super::reports::{self, Change, Report, Reported, Reports, Standing, Subject};
use super::Postgres;

#[async_trait]
impl Reports for Postgres {
    async fn report(&self, report: Report) -> Result<Reported, Error> {
        let mut client = self.client().await?;
        let transaction = client.transaction().await?;
        let reported = self.take_in(&transaction, &report).await?;
        transaction.commit().await?;
        self.announce_events();
        Ok(reported)
    }
}

/// Remembers the mails that were handed over, or may have been.
pub(super) async fn hand_over<'f>(
    transaction: &Transaction<'_>,
    results: impl Iterator<Item = &'f Finish>,
) -> Result<(), Error> {
    let (mut ids, mut postal_ids, mut tokens) = (Vec::new(), Vec::new(), Vec::new());
    let (mut message_ids, mut emails) = (Vec::new(), Vec::new());
    let (mut times, mut ask) = (Vec::new(), Vec::new());
    for result in results {
        let Some(new) = &result.hand_over else { continue };
        ids.push(result.id.uuid());
        postal_ids.push(new.ticket.as_ref().map(|ticket| ticket.id));
        tokens.push(new.ticket.as_ref().map(|ticket| ticket.token.as_str()));
        message_ids.push(new.rfc_message_id.as_str());
        emails.push(new.email.as_str());
        times.push(result.event.create_ms);
        ask.push(new.ask_ms);
    }
    if ids.is_empty() {
        return Ok(());
    }
    let sql = "INSERT INTO postal_handovers (delivery_id, postal_id, token, rfc_message_id, email, \
               create_ms, ask_ms) SELECT * FROM UNNEST($1::uuid[], $2::bigint[], $3::text[], \
               $4::text[], $5::text[], $6::bigint[], $7::bigint[]) \
               ON CONFLICT (delivery_id) DO UPDATE SET postal_id = excluded.postal_id, \
               token = excluded.token, create_ms = excluded.create_ms, ask_ms = excluded.ask_ms";
    let statement = transaction.prepare_cached(sql).await?;
    let params: [&(dyn ToSql + Sync); 7] =
        [&ids, &postal_ids, &tokens, &message_ids, &emails, &times, &ask];
    transaction.execute(&statement, &params).await?;
    Ok(())
}

/// Suppresses addresses, as far as they are not yet. Returns how many that were.
pub(super) async fn suppress<'s>(
    transaction: &Transaction<'_>,
    entries: impl Iterator<Item = &'s Suppression>,
) -> Result<u64, Error> {
    let mut entries: Vec<_> = entries.collect();
    // In the same order everywhere, so that transactions do not lock each other out.
    entries.sort_by(|a, b| (&a.email, &a.campaign_id).cmp(&(&b.email, &b.campaign_id)));
    let sql = "INSERT INTO suppressions (id, email, reason, campaign_id, note, create_ms) \
               VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (email, campaign_id) DO NOTHING";
    let mut suppressed = 0;
    for entry in entries {
        let statement = transaction.prepare_cached(sql).await?;
        let (id, reason) = (entry.id.uuid(), entry.reason as i64);
        let params: [&(dyn ToSql + Sync); 6] =
            [&id, &entry.email, &reason, &entry.campaign_id, &entry.note, &entry.create_ms];
        suppressed += transaction.execute(&statement, &params).await?;
    }
    Ok(suppressed)
}

impl Postgres {
    async fn take_in(
        &self,
        transaction: &Transaction<'_>,
        report: &Report,
    ) -> Result<Reported, Error> {
        let Some(id) = handed_over(transaction, &report.subject).await? else {
            let sql = "SELECT 1 FROM postal_reports WHERE key = $1";
            let statement = transaction.prepare_cached(sql).await?;
            let known = transaction.query_opt(&statement, &[&report.key]).await?.is_some();
            return Ok(if known { Reported::Repeated } else { Reported::Unknown });
        };
        let sql = "INSERT INTO postal_reports (key, create_ms) VALUES ($1, $2) \
                   ON CONFLICT (key) DO NOTHING";
        let statement = transaction.prepare_cached(sql).await?;
        if transaction.execute(&statement, &[&report.key, &report.create_ms]).await? == 0 {
            return Ok(Reported::Repeated);
        }
        let Some(standing) = standing(transaction, id).await? else { return Ok(Reported::Late) };
        let change = reports::change(&standing, report);
        let ask_ms = change.as_ref().and_then(|change| change.ask_ms);
        let sql = "UPDATE postal_handovers SET postal_id = $1, token = $2, ask_ms = $3 \
                   WHERE delivery_id = $4";
        let statement = transaction.prepare_cached(sql).await?;
        let ticket = &report.subject.ticket;
        transaction.execute(&statement, &[&ticket.id, &ticket.token, &ask_ms, &id]).await?;
        let Some(change) = change else { return Ok(Reported::Late) };
        self.apply(transaction, id, change).await?;
        Ok(Reported::Applied)
    }

    async fn apply(
        &self,
        transaction: &Transaction<'_>,
        id: Uuid,
        change: Change,
    ) -> Result<(), Error> {
        let event = change.event;
        if change.is_turn {
            let sql = "UPDATE deliveries SET state = $1, reason = $2, \
                       reply = COALESCE($3, reply), due_ms = $4, lease = NULL, update_ms = $5 \
                       WHERE id = $6";
            let statement = transaction.prepare_cached(sql).await?;
            let reply = event.reply.as_ref().map(|reply| reply.encode_to_vec());
            let (state, due_ms) = (change.state as i64, change.ask_ms.unwrap_or(event.create_ms));
            let params: [&(dyn ToSql + Sync); 6] =
                [&state, &event.reason, &reply, &due_ms, &event.create_ms, &id];
            transaction.execute(&statement, &params).await?;
        }
        suppress(transaction, change.suppress.iter()).await?;
        self.append(transaction, &[event]).await
    }
}

/// The delivery that a report is about.
async fn handed_over(
    transaction: &Transaction<'_>,
    subject: &Subject,
) -> Result<Option<Uuid>, Error> {
    let sql = "SELECT delivery_id FROM postal_handovers WHERE postal_id = $1 AND token = $2";
    let statement = transaction.prepare_cached(sql).await?;
    let ticket = &subject.ticket;
    let by_ticket = transaction.query(&statement, &[&ticket.id, &ticket.token]).await?;
    if let Some(row) = by_ticket.first() {
        return Ok(Some(row.get(0)));
    }
    if subject.rfc_message_id.is_empty() {
        return Ok(None);
    }
    let sql = "SELECT delivery_id FROM postal_handovers \
               WHERE rfc_message_id = $1 AND email = $2 AND token IS NULL LIMIT 1";
    let statement = transaction.prepare_cached(sql).await?;
    let rows = transaction.query(&statement, &[&subject.rfc_message_id, &subject.email]).await?;
    Ok(rows.first().map(|row| row.get(0)))
}

async fn standing(transaction: &Transaction<'_>, id: Uuid) -> Result<Option<Standing>, Error> {
    let sql = "SELECT d.message_id, m.campaign_id, d.email, d.state, d.attempts FROM deliveries d \
               JOIN messages m ON m.id = d.message_id WHERE d.id = $1 FOR UPDATE OF d";
    let statement = transaction.prepare_cached(sql).await?;
    let Some(row) = transaction.query_opt(&statement, &[&id]).await? else { return Ok(None) };
    let state = State::from_number(row.get(3));
    Ok(Some(Standing {
        delivery: RecipientId::from_uuid(id),
        message: MessageId::from_uuid(row.get(0)),
        campaign_id: row.get(1),
        email: row.get(2),
        state: state.ok_or_else(|| Error::Corrupt("unknown state".to_owned()))?,
        attempts: row.get::<_, i64>(4) as u32,
    }))
}
