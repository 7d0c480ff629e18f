//! A gateway says that it lives, so that operators see it among the parts of the installation.
//!
//! A crash leaves its last report behind, which grows old: that is how it is noticed.

use std::time::Duration;

use postern_proto::time::timestamp;
use postern_proto::v1;
use postern_proto::v1::system_service_client::SystemServiceClient;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::core_client::{Caller, CoreClient};

/// How often. A core takes one for dead that it has not heard of for 30 s.
const EVERY: Duration = Duration::from_secs(5);
/// A core that does not answer holds up neither the next report nor a stop.
const TIMEOUT: Duration = Duration::from_secs(3);

/// How a gateway is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// It works as it should.
    pub good: bool,
    /// What it does, or why it does less well, for people.
    pub detail: String,
    /// When the first of its certificates ends; none without any.
    pub certificate_end: Option<jiff::Timestamp>,
}

/// Reports every few seconds how the gateway is, until told to stop, and then that it leaves.
pub async fn report(core: CoreClient, how: impl Fn() -> Condition, stop: CancellationToken) {
    let instance = Uuid::now_v7().to_string();
    let host = host();
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let request = |leaving: bool| {
        let Condition { good, detail, certificate_end } = how();
        let condition = match good {
            true => v1::PartCondition::Up,
            false => v1::PartCondition::Degraded,
        };
        v1::ReportGatewayRequest {
            instance: instance.clone(),
            kind: core.door().to_owned(),
            host: host.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            condition: condition.into(),
            detail,
            leaving,
            certificate_expire_time: certificate_end.map(|end| timestamp(end.as_millisecond())),
        }
    };
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        if let Some(Err(error)) = stop.run_until_cancelled(send(&core, request(false))).await {
            tracing::debug!(error = error.message(), "not reported; the next one tries again");
        }
    }
    if let Err(error) = send(&core, request(true)).await {
        tracing::debug!(error = error.message(), "leaving was not reported");
    }
}

/// The name of this machine.
pub fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

async fn send(core: &CoreClient, request: v1::ReportGatewayRequest) -> Result<(), tonic::Status> {
    let mut request = core.request(request, &Caller::default());
    request.set_timeout(TIMEOUT);
    SystemServiceClient::new(core.channel.clone()).report_gateway(request).await.map(|_| ())
}
