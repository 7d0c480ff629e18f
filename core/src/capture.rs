//! The transport that sends nothing: mail is caught in the local inbox.
//!
//! Catching is idempotent by delivery, so an attempt repeated after a crash is not seen twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use postern_kit::clock::Clock;
use postern_kit::progress::ManyProgress;
use postern_proto::ids::{RecipientId, SinkId};

use crate::mime;
use crate::model::delivery::{Category, Mail, Outcome, Phase, Reply};
use crate::model::directory::SinkMail;
use crate::store::group::{Group, GroupLimits};
use crate::store::{Database, inbox};
use crate::transport::Transport;

/// Over how many lanes caught mail is spread.
const LANES: usize = 64;

/// Catches mail in the store.
pub struct Capture {
    group: Group<(RecipientId, SinkMail), ()>,
    clock: Clock,
    turns: AtomicUsize,
}

impl Capture {
    /// Catches mail in `db`; `progress` tells whether its commits get on.
    pub fn new(db: Arc<dyn Database>, clock: Clock, progress: Arc<ManyProgress>) -> Self {
        let limits = GroupLimits { weight_max: 4 << 20, parallel: 1, waiting_max: 1024 };
        let weight = |(_, mail): &(RecipientId, SinkMail)| mail.raw.len();
        let group = Group::start(limits, weight, progress, move |mails: Arc<Vec<_>>| {
            let db = db.clone();
            async move {
                inbox::put(&*db, &mails).await?;
                Ok(vec![(); mails.len()])
            }
        });
        Self { group, clock, turns: AtomicUsize::new(0) }
    }
}

#[async_trait]
impl Transport for Capture {
    async fn deliver(&self, mail: Mail) -> Outcome {
        let (subject, from) = shown(&mail);
        let caught = SinkMail {
            id: SinkId::generate(),
            create_ms: self.clock.now_ms(),
            envelope_from: mail.from,
            envelope_to: mail.to,
            subject,
            from,
            size: mail.bytes.len() as i64,
            message_id: mail.message,
            raw: mail.bytes.to_vec(),
        };
        let reply = |code, text: &str| Reply {
            code,
            text: text.to_owned(),
            host: "local inbox".to_owned(),
            phase: Phase::Data.name().to_owned(),
            ..Reply::default()
        };
        match self.group.call((mail.delivery, caught)).await {
            Ok(()) => Outcome::Delivered { reply: reply(250, "caught in the local inbox") },
            Err(error) => {
                tracing::warn!(message.id = %mail.message, %error, "mail not caught");
                let reply = reply(451, "the local inbox cannot be written");
                Outcome::Deferred { reply, category: Category::Other, may_duplicate: false }
            }
        }
    }

    /// There is no remote server to spare: mail takes turns over many lanes, so that the total
    /// limit is the only one.
    fn lane(&self, _recipient_domain: &str) -> String {
        let turn = self.turns.fetch_add(1, Ordering::Relaxed) % LANES;
        format!("local inbox {turn}")
    }
}

/// Subject and From for the list of the inbox; empty when they cannot be read.
fn shown(mail: &Mail) -> (String, String) {
    let Ok(inspection) = mime::inspect(&mail.bytes) else {
        return Default::default();
    };
    let from = inspection.from.first().map(|from| match from.name.as_str() {
        "" => from.email.clone(),
        name => format!("{name} <{}>", from.email),
    });
    let clean = |text: String| text.chars().filter(|c| !c.is_control()).collect();
    (clean(inspection.subject), clean(from.unwrap_or_default()))
}
