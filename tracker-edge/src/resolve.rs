//! What the edge has to ask the core: about unsigned links of the old system, and about
//! subscriptions. Answers about links are remembered for a while.
//!
//! State: bounded maps in memory. A crash forgets them, and the core is asked again.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use postern_kit::core_client::{Caller, CoreClient};
use postern_proto::v1::tracking_service_client::TrackingServiceClient;
use postern_proto::v1::{self, HitKind};
use tonic::{Code, Request, Response, Status};

use crate::hits::Whose;

/// How long an answer is believed: mail and its links do not change, imports add to them.
const REMEMBERED: Duration = Duration::from_secs(300);
/// How many answers of each kind are kept.
const ANSWERS_MAX: usize = 20_000;

/// The core cannot be reached now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Away;

/// Asks the core.
pub(crate) struct Resolver {
    core: CoreClient,
    timeout: Duration,
    links: Answers<(String, String, String, String), Option<String>>,
    tokens: Answers<(i32, String), Option<v1::ResolveLegacyTokenResponse>>,
    known: Answers<(String, String, String), bool>,
}

type Client = TrackingServiceClient<postern_kit::in_process::CoreChannel>;

impl Resolver {
    pub(crate) fn new(core: CoreClient, timeout: Duration) -> Self {
        let (links, tokens, known) = (Answers::default(), Answers::default(), Answers::default());
        Self { core, timeout, links, tokens, known }
    }

    /// Where a click of an unsigned link leads: the url as it stands in that mail, none when it does
    /// not.
    pub(crate) async fn link(
        &self,
        legacy: &v1::LegacyReference,
        url: &str,
    ) -> Result<Option<String>, Away> {
        let v1::LegacyReference { address, campaign_id, message_id } = legacy.clone();
        let key = (address, campaign_id, message_id, url.to_owned());
        if let Some(answer) = self.links.get(&key) {
            return Ok(answer);
        }
        let reference = Some(Whose::Claimed(legacy.clone()).into());
        let request = v1::ResolveLinkRequest { reference, url: url.to_owned() };
        let answer =
            self.ask(request, async |mut core: Client, request| core.resolve_link(request).await);
        let answer = answer.await?.filter(|answer| answer.known).map(|answer| answer.url);
        self.links.put(key, answer.clone());
        Ok(answer)
    }

    /// What a token of the old system stands for; none when nobody knows it.
    pub(crate) async fn token(
        &self,
        kind: HitKind,
        token: &str,
    ) -> Result<Option<v1::ResolveLegacyTokenResponse>, Away> {
        let key = (kind as i32, token.to_owned());
        if let Some(answer) = self.tokens.get(&key) {
            return Ok(answer);
        }
        let request = v1::ResolveLegacyTokenRequest { kind: kind as i32, token: token.to_owned() };
        let answer = self.ask(request, async |mut core: Client, request| {
            core.resolve_legacy_token(request).await
        });
        let answer = answer.await?;
        self.tokens.put(key, answer.clone());
        Ok(answer)
    }

    /// Whether there is such a mail.
    pub(crate) async fn is_known(&self, legacy: &v1::LegacyReference) -> Result<bool, Away> {
        let v1::LegacyReference { address, campaign_id, message_id } = legacy.clone();
        let key = (address, campaign_id, message_id);
        if let Some(answer) = self.known.get(&key) {
            return Ok(answer);
        }
        let answer = self.subscription(Whose::Claimed(legacy.clone())).await?;
        let known = answer.is_some_and(|answer| answer.known);
        self.known.put(key, known);
        Ok(known)
    }

    /// What the page about a subscription shows; none for a recipient nobody knows.
    pub(crate) async fn subscription(
        &self,
        whose: Whose,
    ) -> Result<Option<v1::GetSubscriptionResponse>, Away> {
        let request = v1::GetSubscriptionRequest { reference: Some(whose.into()) };
        self.ask(request, async |mut core: Client, request| core.get_subscription(request).await)
            .await
    }

    /// Suppresses at once.
    pub(crate) async fn unsubscribe(&self, request: v1::UnsubscribeRequest) -> Result<(), Away> {
        let done =
            self.ask(request, async |mut core: Client, request| core.unsubscribe(request).await);
        done.await.map(|_| ())
    }

    /// Takes an unsubscription back.
    pub(crate) async fn resubscribe(&self, request: v1::ResubscribeRequest) -> Result<(), Away> {
        let done =
            self.ask(request, async |mut core: Client, request| core.resubscribe(request).await);
        done.await.map(|_| ())
    }

    /// One call. None when the core says that there is no such thing.
    async fn ask<Q, A>(
        &self,
        question: Q,
        call: impl AsyncFnOnce(Client, Request<Q>) -> Result<Response<A>, Status>,
    ) -> Result<Option<A>, Away> {
        let mut request = self.core.request(question, &Caller::default());
        request.set_timeout(self.timeout);
        let client = TrackingServiceClient::new(self.core.channel.clone());
        match tokio::time::timeout(self.timeout, call(client, request)).await {
            Ok(Ok(answer)) => Ok(Some(answer.into_inner())),
            // What the core finds wrong with a claim makes it a claim about nothing.
            Ok(Err(status)) if matches!(status.code(), Code::NotFound | Code::InvalidArgument) => {
                Ok(None)
            }
            Ok(Err(status)) => {
                tracing::warn!(code = ?status.code(), error = status.message(), "the core was asked in vain");
                Err(Away)
            }
            Err(_) => {
                tracing::warn!("the core did not answer in time");
                Err(Away)
            }
        }
    }
}

/// Answers, remembered.
struct Answers<K, A>(Mutex<HashMap<K, (Instant, A)>>);

impl<K, A> Default for Answers<K, A> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Hash + Eq, A: Clone> Answers<K, A> {
    fn get(&self, key: &K) -> Option<A> {
        let answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, answer) = answers.get(key)?;
        (since.elapsed() < REMEMBERED).then(|| answer.clone())
    }

    fn put(&self, key: K, answer: A) {
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= ANSWERS_MAX {
            answers.retain(|_, (since, _)| since.elapsed() < REMEMBERED);
        }
        if answers.len() >= ANSWERS_MAX {
            answers.clear();
        }
        answers.insert(key, (Instant::now(), answer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded() {
        let answers = Answers::default();
        for n in 0..ANSWERS_MAX + 10 {
            answers.put(n, n);
        }
        assert!(answers.0.lock().unwrap().len() <= ANSWERS_MAX);
        assert_eq!(answers.get(&(ANSWERS_MAX + 5)), Some(ANSWERS_MAX + 5));
    }
}
