//! The doors of a system, each as a caller that can be driven at a pace.
//!
//! Nothing is kept; a crash loses the measurement under way.

pub(crate) mod grpc;
pub(crate) mod http;
pub(crate) mod smtp;
pub(crate) mod stream;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use postern_proto::v1::Priority;

use crate::text::Texts;

/// What is sent: the payload that all doors share.
#[derive(Debug, Clone)]
pub(crate) struct Mail {
    /// Where the texts come from.
    pub(crate) texts: Arc<Texts>,
    /// Octets of the text.
    pub(crate) bytes: usize,
    /// The sender.
    pub(crate) from: String,
    /// Where it goes to: `userN@` this.
    pub(crate) domain: String,
    /// Keep it until tomorrow, so that acceptance is measured alone.
    pub(crate) scheduled: bool,
    /// What leaves first.
    pub(crate) priority: Priority,
}

impl Mail {
    /// 4 KiB, kept until tomorrow.
    pub(crate) fn scheduled() -> Self {
        Self {
            texts: Arc::new(Texts::new()),
            bytes: 4096,
            from: "load@example.com".to_owned(),
            domain: "example.net".to_owned(),
            scheduled: true,
            priority: Priority::Unspecified,
        }
    }

    /// 4 KiB, to be delivered at once.
    pub(crate) fn delivered() -> Self {
        Self { scheduled: false, ..Self::scheduled() }
    }

    /// The `number`th recipient.
    pub(crate) fn to(&self, number: u64) -> String {
        format!("user{}@{}", number % 64, self.domain)
    }

    /// The `number`th text.
    pub(crate) fn text(&self, number: u64) -> String {
        self.texts.text(number, self.bytes)
    }

    /// When to send it.
    pub(crate) fn send_time(&self) -> Option<prost_types::Timestamp> {
        self.scheduled.then(|| tomorrow().into())
    }

    /// The whole of the `number`th mail, with a header that a server needs not complete.
    pub(crate) fn raw(&self, number: u64) -> Vec<u8> {
        let mut raw = format!(
            "From: <{}>\r\nTo: <{}>\r\nSubject: Load\r\nDate: Wed, 25 Nov 2026 10:00:00 +0000\r\n\
             Message-ID: <{number}.{}@example.com>\r\n",
            self.from,
            self.to(number),
            uuid::Uuid::now_v7(),
        );
        if self.scheduled {
            let at = prost_types::Timestamp::from(tomorrow());
            raw.push_str(&format!("X-Postern-Send-Time: {at}\r\n"));
        }
        raw.push_str("\r\n");
        raw.push_str(&self.text(number).replace('\n', "\r\n"));
        raw.push_str("\r\n");
        raw.into_bytes()
    }
}

fn tomorrow() -> SystemTime {
    SystemTime::now() + Duration::from_secs(86_400)
}
