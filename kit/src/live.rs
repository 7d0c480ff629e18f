//! The live settings as the core tells a gateway. While the core cannot be reached the last ones
//! hold; a crash costs nothing, since they are asked for at once after a start.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use postern_proto::settings::{self, Settings};
use postern_proto::v1;
use postern_proto::v1::settings_service_client::SettingsServiceClient;
use tokio_util::sync::CancellationToken;

use crate::core_client::{Caller, CoreClient};
use crate::env::{Env, EnvError};

const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The defaults as the environment has them: `POSTERN_SMTP_RECIPIENTS_MAX` gives that of
/// `smtp.recipients_max`, and so on. For the core, which tells the gateways.
pub fn defaults(env: &Env) -> Result<Settings, EnvError> {
    let mut defaults = Settings::default();
    match read(env, &mut defaults).into_iter().next() {
        Some(problem) => Err(problem),
        None => Ok(defaults),
    }
}

/// Every variable that gives a default no setting can have.
pub fn problems(env: &Env) -> Vec<EnvError> {
    read(env, &mut Settings::default())
}

fn read(env: &Env, defaults: &mut Settings) -> Vec<EnvError> {
    let mut problems = Vec::new();
    for definition in settings::ALL {
        let variable = definition.variable();
        if let Some(text) = env.get(&variable)
            && let Err(problem) = defaults.set(definition.name, text)
        {
            problems.push(EnvError::new(&variable, problem));
        }
    }
    problems
}

/// The settings in force.
#[derive(Clone)]
pub struct Live {
    core: CoreClient,
    prefix: &'static str,
    current: Arc<ArcSwap<Settings>>,
    read: Arc<AtomicBool>,
}

impl Live {
    /// Begins with the defaults. Only settings whose names begin with `prefix` are asked for.
    pub fn new(core: CoreClient, prefix: &'static str) -> Self {
        Self { core, prefix, current: Arc::default(), read: Arc::default() }
    }

    /// Begins with these: what a core in the same process begins with.
    pub fn beginning_with(self, settings: Settings) -> Self {
        self.current.store(Arc::new(settings));
        self
    }

    /// What holds now.
    pub fn now(&self) -> Arc<Settings> {
        self.current.load_full()
    }

    /// Whether the core has told its settings since the start; the defaults hold until then.
    pub fn is_read(&self) -> bool {
        self.read.load(Ordering::Acquire)
    }

    /// Asks the core again and again until told to stop.
    pub async fn follow(self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut reached = true;
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            // A core that says nothing must not hold up a stop.
            let Some(answer) = stop.run_until_cancelled(self.ask()).await else { return };
            match answer {
                Ok(settings) => {
                    reached = true;
                    if settings != **self.current.load() {
                        // What was set before the start is no change.
                        if self.is_read() {
                            tracing::info!("settings changed");
                        }
                        self.current.store(Arc::new(settings));
                    }
                    self.read.store(true, Ordering::Release);
                }
                Err(error) => {
                    if std::mem::take(&mut reached) {
                        tracing::warn!(
                            error = error.message(),
                            "settings not read; the last ones hold"
                        );
                    }
                }
            }
        }
    }

    async fn ask(&self) -> Result<Settings, tonic::Status> {
        let request = v1::ListSettingsRequest { prefix: self.prefix.to_owned() };
        let mut request = self.core.request(request, &Caller::default());
        request.set_timeout(Duration::from_secs(5));
        let mut client = SettingsServiceClient::new(self.core.channel.clone());
        let answer = client.list_settings(request).await?.into_inner();
        let mut settings = Settings::default();
        for setting in answer.settings {
            if let Err(problem) = settings.set(&setting.name, &setting.value) {
                // A newer core knows settings that this gateway does not.
                tracing::debug!(setting = setting.name, problem, "a setting is passed over");
            }
        }
        Ok(settings)
    }
}
