//! What the watch over the installation looks at, gathered from the parts. No state of its own.

use postern_kit::presence;

use crate::alarm::{Alarms, BackupStatus, Sources};
use crate::config::CoreConfig;
use crate::rpc::Context;
use crate::rpc::system::Facts;
use crate::worker::attempt::Lab;

use super::notify::Notifying;

/// The watch, ready to run.
pub(super) fn alarms(
    context: &Context,
    config: &CoreConfig,
    facts: &Facts,
    (lab, notifying): (&Lab, &Notifying),
) -> Alarms {
    let data = config.data_folder();
    let sources = Sources {
        host: presence::host(),
        backup: BackupStatus::find(config.backup_status.as_deref(), data.as_deref()),
        data,
        limiter: config.limiter.clone(),
        replica: facts.replica.clone(),
        postal: facts.postal.clone(),
        ams: notifying.ams_away(),
        relay: lab.transports.relay_away(),
        rate: Default::default(),
    };
    Alarms {
        db: context.db.clone(),
        directory: context.directory.clone(),
        intake: context.intake.clone(),
        clock: context.clock.clone(),
        config: config.notices.clone(),
        sources,
        lost_ms: None,
    }
}
