//! Links in mail that the old system sent: tokens, and the ids of all mail, so that unsubscribing and
//! pixels know whom they are about. Pure functions.

use postern_proto::v1;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::cipher::Cipher;
use super::report::Fate;
use super::rows::text;

/// Of the SHA-256 of a message's id, as a token that no link carries.
const ID_OCTETS: usize = 20;

/// The token of a link or, without a url, of a pixel, with the mail it was in.
pub(super) fn token(row: &Value, cipher: &Cipher) -> Result<v1::LegacyLink, Fate> {
    if row["log"].is_null() {
        return Err(Fate::Refused("its mail is not there any more".to_owned()));
    }
    let mut link = of_mail(&row["log"], cipher)?;
    link.token = text(row, "token").to_owned();
    link.url = text(row, "url").to_owned();
    if link.campaign_id.is_empty() {
        link.campaign_id = text(row, "campaign_id").to_owned();
    }
    Ok(link)
}

/// What makes a mail known: its pixel, under a token of our making.
pub(super) fn mail(row: &Value, cipher: &Cipher) -> Result<v1::LegacyLink, Fate> {
    let mut link = of_mail(row, cipher)?;
    let hash = Sha256::digest(text(row, "message_id"));
    let hex: String = hash.iter().take(ID_OCTETS).map(|octet| format!("{octet:02x}")).collect();
    link.token = format!("mail-{hex}");
    Ok(link)
}

fn of_mail(log: &Value, cipher: &Cipher) -> Result<v1::LegacyLink, Fate> {
    let address = cipher.read(text(log, "recipient"));
    let address = address.map_err(|error| Fate::Refused(format!("its recipient {error}")))?;
    // The client's id is what its links carry, where it has one.
    let ids = ["external_message_id", "message_id"].map(|column| text(log, column));
    let message_id = ids.into_iter().find(|id| !id.is_empty()).unwrap_or_default().to_owned();
    let campaign_id = text(log, "campaign_id").to_owned();
    Ok(v1::LegacyLink { address, campaign_id, message_id, ..v1::LegacyLink::default() })
}
