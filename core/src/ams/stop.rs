//! `getMailings` and `stopMailing`: a campaign that the rules have held is stopped at its source too.
//!
//! What came of it is written to the log of the campaign. A crash before that asks again.

use serde_json::{Value, json};

use crate::campaign::ACTOR;
use crate::model::campaign::{Action, LogEntry};
use crate::store::{ams, campaigns};

use super::rpc::AmsError;
use super::{Channel, RoundError, TURN_MS};

/// Campaigns of one round.
const CAMPAIGNS_MAX: usize = 100;
/// The state of a mailing that can be stopped.
const WORKING: &str = "working";

/// What AMS says of a mailing.
#[derive(Debug, PartialEq, Eq)]
struct Mailing {
    id: i64,
    name: String,
    state: String,
}

impl Channel {
    /// Asks AMS to stop what was held.
    pub(super) async fn stop_mailings(&self) -> Result<(), RoundError> {
        let held = campaigns::to_tell(&*self.db, CAMPAIGNS_MAX).await?;
        if held.is_empty() {
            return Ok(());
        }
        let now_ms = self.clock.now_ms();
        if ams::take_turn(&*self.db, self.node, now_ms, now_ms + TURN_MS).await?.is_none() {
            return Ok(());
        }
        // One question for all of them: AMS answers in the thread of its windows.
        let mailings = mailings(&self.ams.call("getMailings", json!({})).await?);
        self.metrics.ams.step();
        for hold in held {
            let note = self.stop(find(&mailings, &hold.campaign_id)).await?;
            tracing::warn!(campaign = hold.campaign_id, note, "AMS was asked to stop a campaign");
            let entry = LogEntry {
                campaign_id: hold.campaign_id,
                action: Action::AmsTold,
                actor: ACTOR.to_owned(),
                note,
                create_ms: self.clock.now_ms(),
            };
            campaigns::told(&*self.db, &entry).await?;
        }
        Ok(())
    }

    /// Stops a mailing. Returns what came of it, for people.
    async fn stop(&self, mailing: Option<&Mailing>) -> Result<String, RoundError> {
        let Some(Mailing { id, name, state }) = mailing else {
            return Ok("AMS has no mailing of this id or name".to_owned());
        };
        if state != WORKING {
            return Ok(format!("mailing {id} '{name}' is {state} in AMS: nothing to stop"));
        }
        let answer = self.ams.call("stopMailing", json!({"id": id})).await;
        self.metrics.ams.step();
        match answer {
            Ok(_) => Ok(format!("AMS stops mailing {id} '{name}'")),
            Err(error @ AmsError::Refused { .. }) => Ok(format!("mailing {id} '{name}': {error}")),
            Err(error) => Err(error.into()),
        }
    }
}

/// The mailings in an answer; whatever is no mailing is left out.
fn mailings(answer: &Value) -> Vec<Mailing> {
    let list = answer.as_array().or_else(|| answer["mailings"].as_array());
    let mailing = |one: &Value| {
        let id = one["id"].as_i64().or_else(|| one["id"].as_str()?.parse().ok())?;
        let word = |name: &str| one[name].as_str().unwrap_or_default().to_owned();
        Some(Mailing { id, name: word("name"), state: word("state") })
    };
    list.into_iter().flatten().filter_map(mailing).collect()
}

/// The mailing of a campaign: of this id, or else of a name in which its name is a word.
fn find<'a>(mailings: &'a [Mailing], campaign_id: &str) -> Option<&'a Mailing> {
    let id = campaign_id.parse::<i64>().ok();
    let by_id = mailings.iter().find(|mailing| Some(mailing.id) == id);
    let named = |mailing: &&Mailing| {
        let mut words = mailing.name.split(|c: char| !(c.is_alphanumeric() || "-_.".contains(c)));
        mailing.name == campaign_id || words.any(|word| word == campaign_id)
    };
    // Of several of that name one that can be stopped.
    let working = |mailing: &&Mailing| mailing.state == WORKING && named(mailing);
    by_id.or_else(|| mailings.iter().find(working)).or_else(|| mailings.iter().find(named))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mailing_is_found_by_its_id_or_by_a_word_of_its_name() {
        let answer = json!([
            {"id": 7, "name": "Spring 77", "state": "idle"},
            {"id": "77", "name": "Autumn", "state": "working"},
            {"id": 9, "name": "Autumn II", "state": "idle"},
            {"id": 10, "name": "II", "state": "working"},
            {"name": "none"}, "none", {"id": 8, "name": "sale-2026 (part 2)"},
        ]);
        let mailings = mailings(&answer);
        assert_eq!(mailings.len(), 5);
        let id = |campaign: &str| find(&mailings, campaign).map(|mailing| mailing.id);
        assert_eq!(id("77"), Some(77), "an id comes before a name");
        assert_eq!(id("sale-2026"), Some(8));
        assert_eq!(id("Autumn"), Some(77));
        assert_eq!(id("sale"), None, "part of a word is another campaign's");
        assert_eq!(id("II"), Some(10), "an idle namesake hides no working one");
        assert_eq!(id("99"), None);
        let wrapped = json!({"mailings": [{"id": 9, "name": "x", "state": "working"}]});
        assert_eq!(super::mailings(&wrapped).len(), 1);
    }
}
