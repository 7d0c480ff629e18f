//! `SystemService`: asks the parts how they are.

use std::time::Instant;

use postern_proto::status::Failure;
use postern_proto::time::timestamp;
use postern_proto::v1;
use postern_proto::v1::system_service_server::SystemService;
use tonic::{Request, Response, Status};

use crate::breaker::Condition;
use crate::store::nodes;
use crate::worker::keeper::NODE_TTL;

use super::Context;

/// What does not change while the core runs.
#[derive(Debug, Clone)]
pub struct Facts {
    /// `sqlite` or `postgresql`.
    pub store: &'static str,
    /// When the core started.
    pub start_ms: i64,
    /// There is a campaign manager to tell.
    pub has_ams: bool,
    /// How the way to Postal is; none without it.
    pub postal: Option<tokio::sync::watch::Receiver<Condition>>,
}

/// The service.
pub struct System {
    /// What services share.
    pub context: Context,
    /// What does not change.
    pub facts: Facts,
}

#[tonic::async_trait]
impl SystemService for System {
    async fn get_system(
        &self,
        request: Request<v1::GetSystemRequest>,
    ) -> Result<Response<v1::GetSystemResponse>, Status> {
        self.context.gate.authorise(request.metadata(), "stats:read")?;
        let parts = self.parts().await?;
        Ok(Response::new(v1::GetSystemResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            start_time: Some(timestamp(self.facts.start_ms)),
            store: self.facts.store.to_owned(),
            transports: self.context.intake.transports(),
            parts,
        }))
    }
}

impl System {
    async fn parts(&self) -> Result<Vec<v1::Part>, Failure> {
        use v1::PartCondition::{Degraded, Down, Off, Up};
        let now_ms = self.context.clock.now_ms();
        let asked = Instant::now();
        let nodes = nodes::list(&*self.context.db).await?;
        let latency_ms = asked.elapsed().as_secs_f64() * 1000.0;
        let mut parts = vec![v1::Part {
            latency_ms,
            ..part("store", Up, format!("{} answers", self.facts.store))
        }];
        let ttl_ms = NODE_TTL.as_millis() as i64;
        for node in nodes.iter().filter(|node| now_ms - node.heartbeat_ms < 10 * ttl_ms) {
            let age_s = (now_ms - node.heartbeat_ms).max(0) / 1000;
            let condition = if age_s * 1000 < ttl_ms { Up } else { Down };
            let detail = format!("core {}, heard of {age_s} s ago", node.id);
            parts.push(part("node", condition, detail));
        }
        if let Some(postal) = &self.facts.postal {
            let (condition, detail) = match *postal.borrow() {
                Condition::Closed => (Up, "calls go through"),
                Condition::HalfOpen => (Degraded, "one call tries whether it works again"),
                Condition::Open => (Down, "calls fail; mail for it waits"),
            };
            parts.push(part("transport.postal", condition, detail.to_owned()));
        }
        parts.push(match self.facts.has_ams {
            true => part("ams", Up, "is told".to_owned()),
            false => part("ams", Off, "POSTERN_AMS_URL is not set".to_owned()),
        });
        parts.push(match self.context.intake.policy.tracker.is_some() {
            true => part("tracking", Up, "links are signed".to_owned()),
            false => part("tracking", Off, "POSTERN_TRACKING_KEYS is not set".to_owned()),
        });
        Ok(parts)
    }
}

fn part(name: &str, condition: v1::PartCondition, detail: String) -> v1::Part {
    v1::Part { name: name.to_owned(), condition: condition.into(), detail, latency_ms: 0.0 }
}
