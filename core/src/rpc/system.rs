//! `SystemService`: asks the parts how they are, and hears of gateways.

use std::sync::Arc;
use std::time::Instant;

use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use postern_proto::time::timestamp;
use postern_proto::v1;
use postern_proto::v1::system_service_server::SystemService;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::breaker::Condition;
use crate::store::gateways::{self, Gateway};
use crate::store::{Replicated, nodes};
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
    /// Where lists are read; none where there is no replica.
    pub replica: Option<Arc<Replicated>>,
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

    async fn report_gateway(
        &self,
        request: Request<v1::ReportGatewayRequest>,
    ) -> Result<Response<v1::ReportGatewayResponse>, Status> {
        self.context.gate.authorise_gateway(request.metadata())?;
        self.note(request.into_inner()).await?;
        Ok(Response::new(v1::ReportGatewayResponse {}))
    }
}

/// How long a gateway, or a node, is shown that is not heard of.
const SHOWN_TTLS: i64 = 10;
/// Kinds of gateways.
const KINDS: [&str; 3] = ["rest", "smtp", "tracking"];

impl System {
    async fn note(&self, said: v1::ReportGatewayRequest) -> Result<(), Failure> {
        let id = said.instance.parse::<Uuid>();
        let id = id.map_err(|_| Failure::field(Reason::InvalidValue, "instance", "is no UUID"))?;
        if !KINDS.contains(&said.kind.as_str()) {
            let text = "is none of rest, smtp, tracking";
            return Err(Failure::field(Reason::InvalidValue, "kind", text));
        }
        if said.leaving {
            return Ok(gateways::leave(&*self.context.db, id).await?);
        }
        let cut = |text: String, characters: usize| text.chars().take(characters).collect();
        let now_ms = self.context.clock.now_ms();
        let gateway = Gateway {
            id,
            kind: said.kind,
            host: cut(said.host, 255),
            version: cut(said.version, 64),
            condition: i64::from(said.condition),
            detail: cut(said.detail, 512),
            heartbeat_ms: now_ms,
            certificate_ms: said
                .certificate_expire_time
                .as_ref()
                .and_then(postern_proto::time::millis),
        };
        let stale_before_ms = now_ms - SHOWN_TTLS * NODE_TTL.as_millis() as i64;
        Ok(gateways::report(&*self.context.db, &gateway, stale_before_ms).await?)
    }

    /// The gateways, each as it said last.
    async fn gateways(&self, now_ms: i64) -> Result<Vec<v1::Part>, Failure> {
        let shown = |one: Gateway| {
            let said = i32::try_from(one.condition).ok();
            let said = said.and_then(|number| v1::PartCondition::try_from(number).ok());
            let (condition, heard) =
                heard(now_ms, one.heartbeat_ms, said.unwrap_or(v1::PartCondition::Up))?;
            let Gateway { kind, host, version, detail, .. } = one;
            let text = format!("{detail}; version {version} on {host}, {heard}");
            Some(part(&format!("gateway.{kind}"), condition, text))
        };
        let known = gateways::list(&*self.context.db).await?;
        Ok(known.into_iter().filter_map(shown).collect())
    }

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
        parts.extend(nodes.iter().filter_map(|node| {
            let (condition, heard) = heard(now_ms, node.heartbeat_ms, Up)?;
            Some(part("node", condition, format!("core {}, {heard}", node.id)))
        }));
        parts.extend(self.gateways(now_ms).await?);
        if let Some(replica) = &self.facts.replica {
            parts.push(match replica.lag() {
                Some(lag) if replica.is_fresh() => {
                    part("store.replica", Up, format!("{} ms behind", lag.as_millis()))
                }
                Some(lag) => {
                    let text = format!("{} s behind; the primary is read", lag.as_secs());
                    part("store.replica", Degraded, text)
                }
                None => part("store.replica", Down, "the primary is read".to_owned()),
            });
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

/// How what says that it lives is, `alive` or down, and when it was heard of, for people; none when that
/// was too long ago to be of interest.
fn heard(
    now_ms: i64,
    heartbeat_ms: i64,
    alive: v1::PartCondition,
) -> Option<(v1::PartCondition, String)> {
    let (age_ms, ttl_ms) = ((now_ms - heartbeat_ms).max(0), NODE_TTL.as_millis() as i64);
    let condition = if age_ms < ttl_ms { alive } else { v1::PartCondition::Down };
    let is_shown = age_ms < SHOWN_TTLS * ttl_ms;
    is_shown.then(|| (condition, format!("heard of {} s ago", age_ms / 1000)))
}

fn part(name: &str, condition: v1::PartCondition, detail: String) -> v1::Part {
    v1::Part { name: name.to_owned(), condition: condition.into(), detail, latency_ms: 0.0 }
}
