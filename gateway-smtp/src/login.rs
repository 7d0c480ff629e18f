//! Logins: asked of the core, remembered for a moment, and made slow and then impossible for those
//! who guess.
//!
//! A password is kept nowhere: what is remembered is a keyed digest of it, under a key that is drawn
//! anew with each start. A crash forgets all of it; the core is asked again.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ipnet::{IpNet, Ipv4Net};
use postern_kit::core_client::{Caller, CoreClient};
use postern_kit::limits::{Limiter, Quota, Verdict};
use postern_kit::net::{customer, is_in, network};
use postern_proto::reason::Reason;
use postern_proto::settings::{
    SMTP_AUTH_FAILURE_WINDOW, SMTP_AUTH_FAILURES_PER_ADDRESS, SMTP_AUTH_FAILURES_PER_USER, Settings,
};
use postern_proto::status::Failure;
use postern_proto::v1;
use postern_proto::v1::credential_service_client::CredentialServiceClient;
use postern_smtp_wire::path::{self, ReversePath};
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

use crate::metrics::Metrics;
use crate::reply::{Reply, hint};
use crate::session::{Checked, Identity, Login};

/// How long a verified login is believed without asking again. A credential that was revoked is
/// refused by the core all the same.
const BELIEVED: Duration = Duration::from_secs(60);
/// How long a client that logged in is not locked out by what others try under its user name.
const TRUSTED: Duration = Duration::from_secs(24 * 3600);
/// No more of each are remembered.
const ENTRIES_MAX: usize = 10_000;
/// Logins of one client address that are checked at a time.
const TURNS: usize = 2;
/// A network of no client.
const NOWHERE: IpNet = IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 32));
/// The delay of the first refused login; it doubles with each further one.
const DELAY_FIRST: Duration = Duration::from_millis(250);
const DELAY_MAX: Duration = Duration::from_secs(8);

type Slot = Arc<tokio::sync::Mutex<Option<(Identity, Instant)>>>;
type Digested = [u8; 32];

/// Checks logins.
pub(crate) struct Logins {
    core: CoreClient,
    limiter: Arc<Limiter>,
    timeout: Duration,
    metrics: Metrics,
    key: [u8; 32],
    verified: Mutex<HashMap<Digested, Slot>>,
    known: Mutex<HashMap<Digested, Instant>>,
    turns: Mutex<HashMap<IpAddr, Arc<Semaphore>>>,
}

impl Logins {
    pub(crate) fn new(
        core: CoreClient,
        limiter: Arc<Limiter>,
        timeout: Duration,
        metrics: Metrics,
    ) -> Self {
        Self {
            core,
            limiter,
            timeout,
            metrics,
            key: rand::random(),
            verified: Mutex::default(),
            known: Mutex::default(),
            turns: Mutex::default(),
        }
    }

    /// Checks a login of a client, and counts it.
    pub(crate) async fn check(&self, login: Login, client: IpAddr, settings: &Settings) -> Checked {
        let (checked, result) = self.judge(login, client, settings).await;
        self.metrics.login(result);
        checked
    }

    /// What comes of a login, and in one word.
    async fn judge(
        &self,
        login: Login,
        client: IpAddr,
        settings: &Settings,
    ) -> (Checked, &'static str) {
        let Login { username, password } = login;
        let (username, sender) = match username.split_once(":::") {
            Some((username, sender)) => (username.to_owned(), login_sender(sender)),
            None => (username, None),
        };
        let slot = self.slot(self.digest(&[username.as_bytes(), password.as_bytes()]));
        // Held while the core is asked: of many sessions that begin at once one asks for all.
        let mut verified = slot.lock().await;
        if let Some((identity, at)) = &*verified
            && at.elapsed() < BELIEVED
            && (identity.ip_allow.is_empty() || is_in(&identity.ip_allow, client))
        {
            let identity = Identity { login_sender: sender, ..identity.clone() };
            return (Checked::Welcome(identity), "welcome");
        }
        // Held until the outcome is counted, or many guesses at once would all be let through before
        // the first of them counts.
        let turn = self.turn(client);
        let turn = turn.acquire_owned().await;
        if let Some(reply) = self.locked_out(&username, client, settings).await {
            return (Checked::Refused(reply), "locked_out");
        }
        match self.ask(&username, password, client).await {
            Ok(identity) => {
                *verified = Some((identity.clone(), Instant::now()));
                self.trust(&username, client);
                (Checked::Welcome(Identity { login_sender: sender, ..identity }), "welcome")
            }
            Err(failure) if is_wrong(failure.reason) => {
                *verified = None;
                drop(verified);
                let delay = self.count_failure(&username, client, settings).await;
                drop(turn);
                tokio::time::sleep(delay).await;
                (Checked::Refused(refused(client, &failure)), "refused")
            }
            Err(failure) => {
                tracing::warn!(reason = failure.reason.meaning().name, "login not checked");
                let text = "logins cannot be checked now; try again in a moment";
                (Checked::Refused(Reply::new(454, "4.7.0", text)), "not_checked")
            }
        }
    }

    async fn ask(
        &self,
        username: &str,
        password: String,
        client: IpAddr,
    ) -> Result<Identity, Failure> {
        let request = v1::CheckPasswordRequest { username: username.to_owned(), password };
        let caller = Caller { client_ip: Some(client), ..Caller::default() };
        let mut request = self.core.request(request, &caller);
        request.set_timeout(self.timeout);
        let mut core = CredentialServiceClient::new(self.core.channel.clone());
        let answer = tokio::time::timeout(self.timeout, core.check_password(request)).await;
        let late = || Failure::new(Reason::DeadlineExceeded, "the core did not answer in time");
        let answer = answer.map_err(|_| late())?;
        let answer = answer.map_err(|status| Failure::from_status(&status))?.into_inner();
        Ok(Identity {
            authorization: format!("Session {}", answer.session).into(),
            id: answer.credential_id.into(),
            sender_domains: answer.sender_domains.into(),
            rate_limit: u64::try_from(answer.rate_limit).unwrap_or(0),
            header_aliases: answer.header_aliases.into(),
            // What this version cannot read is nowhere, and the core is asked each time.
            ip_allow: answer.ip_allow.iter().map(|text| network(text).unwrap_or(NOWHERE)).collect(),
            login_sender: None,
        })
    }

    /// Why the client may not even try.
    async fn locked_out(
        &self,
        username: &str,
        client: IpAddr,
        settings: &Settings,
    ) -> Option<Reply> {
        let (by_address, by_user) = quotas(settings);
        let address = self.limiter.look(&address_name(client), by_address).await;
        if let Verdict::Refused { retry_after } = address {
            self.metrics.limited("auth_failures_per_address");
            let text = format!("too many failed logins from your address; {}", hint(retry_after));
            return Some(Reply::new(421, "4.7.0", text));
        }
        let user = self.limiter.look(&self.user_name(username), by_user).await;
        match user {
            // Guessing by others must not lock the user out where the user really is.
            Verdict::Refused { retry_after } if !self.is_trusted(username, client) => {
                self.metrics.limited("auth_failures_per_user");
                let text = format!("too many failed logins for this user; {}", hint(retry_after));
                Some(Reply::new(454, "4.7.0", text))
            }
            _ => None,
        }
    }

    /// Counts a refused login. Returns how long the client has to wait, longer each time.
    async fn count_failure(&self, username: &str, client: IpAddr, settings: &Settings) -> Duration {
        let (by_address, by_user) = quotas(settings);
        let address = self.limiter.take(&address_name(client), by_address).await;
        let user = self.limiter.take(&self.user_name(username), by_user).await;
        let used = |verdict: Verdict| match verdict {
            Verdict::Granted { used } => used,
            Verdict::Refused { .. } => u64::MAX,
        };
        let failures = u32::try_from(used(address).max(used(user))).unwrap_or(u32::MAX);
        let factor = 2u32.saturating_pow(failures.saturating_sub(1).min(16));
        DELAY_FIRST.saturating_mul(factor).min(DELAY_MAX)
    }

    /// The turns of a client address: so many of its logins are checked at a time.
    fn turn(&self, client: IpAddr) -> Arc<Semaphore> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if turns.len() >= ENTRIES_MAX {
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        }
        turns.entry(customer(client)).or_insert_with(|| Arc::new(Semaphore::new(TURNS))).clone()
    }

    fn slot(&self, digest: Digested) -> Slot {
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        if verified.len() >= ENTRIES_MAX {
            // What is in use right now, and what is still believed, stays.
            verified.retain(|_, slot| match slot.try_lock() {
                Ok(entry) => entry.as_ref().is_some_and(|(_, at)| at.elapsed() < BELIEVED),
                Err(_) => true,
            });
        }
        verified.entry(digest).or_default().clone()
    }

    fn trust(&self, username: &str, client: IpAddr) {
        let digest = self.pair(username, client);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= ENTRIES_MAX {
            known.retain(|_, at| at.elapsed() < TRUSTED);
            if known.len() >= ENTRIES_MAX {
                known.clear();
            }
        }
        known.insert(digest, Instant::now());
    }

    fn is_trusted(&self, username: &str, client: IpAddr) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&self.pair(username, client)).is_some_and(|at| at.elapsed() < TRUSTED)
    }

    fn pair(&self, username: &str, client: IpAddr) -> Digested {
        self.digest(&[username.as_bytes(), customer(client).to_string().as_bytes()])
    }

    /// The user name as it is counted: a digest that is the same in every gateway, because a name of
    /// any length and content may have been tried.
    fn user_name(&self, username: &str) -> String {
        let digest = Sha256::digest(username.to_ascii_lowercase().as_bytes());
        let hex: String = digest[..12].iter().map(|byte| format!("{byte:02x}")).collect();
        format!("smtp:auth:user:{hex}")
    }

    /// A digest under the key of this process.
    fn digest(&self, parts: &[&[u8]]) -> Digested {
        let mut hash = Sha256::new();
        hash.update(self.key);
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hash.update(self.key);
        hash.finalize().into()
    }
}

/// Whether the core's answer means that the login is wrong, and not that it cannot be checked.
fn is_wrong(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::InvalidKey
            | Reason::KeyExpired
            | Reason::KeyRevoked
            | Reason::AddressNotAllowed
            | Reason::ScopeMissing
    )
}

fn refused(client: IpAddr, failure: &Failure) -> Reply {
    let reason = failure.reason.meaning().name;
    tracing::info!(client.ip = %client, reason, "login refused");
    let mut reply = Reply::of(failure, false);
    // A missing scope is a matter of the key, but AUTH knows only one refusal (RFC 4954 §6).
    (reply.code, reply.enhanced) = (535, "5.7.8");
    reply
}

fn address_name(client: IpAddr) -> String {
    format!("smtp:auth:address:{}", customer(client))
}

fn quotas(settings: &Settings) -> (Quota, Quota) {
    let window = settings.time(&SMTP_AUTH_FAILURE_WINDOW);
    let of = |definition| Quota { limit: settings.count(definition) as u64, window };
    (of(&SMTP_AUTH_FAILURES_PER_ADDRESS), of(&SMTP_AUTH_FAILURES_PER_USER))
}

fn login_sender(text: &str) -> Option<Arc<str>> {
    match path::reverse_path(text) {
        Ok((ReversePath::Mailbox(address), _)) => Some(address.into()),
        _ => None,
    }
}
