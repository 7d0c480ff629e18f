//! Long work, and how far it is.
//!
//! The script of a page asks for lines of JSON: one for each step, `{"share":0.4,"text":"…"}`, and at
//! the end one with the page to show, `{"page":"…"}`. A browser without scripts gets that page once all
//! is done. Who goes away ends the work behind the step under way, and so does a crash: what was done
//! stays, and the same form can be sent again.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use http::request::Parts;
use http::{HeaderMap, HeaderValue};
use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use serde_json::json;
use tokio::sync::watch;

use super::{Answer, fault};
use crate::App;
use crate::edge::{Context, Turn};
use crate::fault::Fault;

const LINES: &str = "application/x-ndjson";
/// Octets of a page, which we have made ourselves.
const PAGE_BYTES_MAX: usize = 16 << 20;

/// How the reader wants to hear of the work.
pub(super) struct Work {
    as_lines: bool,
    turn: Option<Turn>,
    headers: HeaderMap,
    request_id: String,
    /// The longest time for all of it.
    limit: Duration,
}

/// Where the work tells how far it is; nobody has to listen.
pub(super) struct Steps(watch::Sender<Step>);

#[derive(Debug, Clone, Default)]
struct Step {
    share: f64,
    text: String,
}

impl Steps {
    /// So much of the whole is done, 0 to 1, and in words. A later step may take the place of an
    /// earlier one that was not told yet.
    pub(super) fn at(&self, share: f64, text: String) {
        self.0.send_replace(Step { share: share.clamp(0.0, 1.0), text });
    }
}

impl FromRequestParts<Arc<App>> for Work {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _app: &Arc<App>) -> Result<Self, Infallible> {
        let accepted = parts.headers.get("accept").and_then(|value| value.to_str().ok());
        let context = parts.extensions.get::<Context>();
        Ok(Self {
            as_lines: accepted.is_some_and(|accepted| accepted.contains(LINES)),
            turn: parts.extensions.get::<Turn>().cloned(),
            headers: parts.headers.clone(),
            request_id: context.map_or(String::new(), |one| one.caller.request_id.clone()),
            limit: context.map_or(Duration::ZERO, |one| one.time_limit),
        })
    }
}

type Job = Pin<Box<dyn Future<Output = Answer> + Send>>;

impl Work {
    /// Does it, and answers with what the reader asked for.
    pub(super) async fn run<F>(self, job: impl FnOnce(Steps) -> F) -> Answer
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        let (tell, told) = watch::channel(Step::default());
        let job = job(Steps(tell));
        if !self.as_lines {
            return job.await;
        }
        // The answer begins at once, so the limit of requests would not bound it.
        let limited = tokio::time::timeout(self.limit, job);
        let job: Job = Box::pin(async { limited.await.unwrap_or_else(|_| Err(late())) });
        let lines = stream::unfold(Some((self, job, told)), |state| async {
            let (work, mut job, mut told) = state?;
            let answer = tokio::select! {
                biased;
                Ok(()) = told.changed() => None,
                answer = &mut job => Some(answer),
            };
            match answer {
                None => {
                    let line = told.borrow_and_update().line();
                    Some((Ok::<_, Infallible>(line), Some((work, job, told))))
                }
                Some(answer) => Some((Ok(work.last(answer).await), None)),
            }
        });
        let mut response = Body::from_stream(lines).into_response();
        let headers = response.headers_mut();
        headers.insert("content-type", HeaderValue::from_static(LINES));
        headers.insert("cache-control", HeaderValue::from_static("no-store"));
        headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
        Ok(response)
    }

    /// The line with the page.
    async fn last(self, answer: Answer) -> String {
        let page = match answer {
            Ok(page) => page,
            Err(failed) => fault(&failed.0, &self.request_id, &self.headers),
        };
        // One of the requests under way until here.
        drop(self.turn);
        let page = text(page).await;
        format!("{}\n", json!({ "page": page }))
    }
}

fn late() -> Fault {
    let text = "it took too long (rest.bulk_timeout); what was done stays, send the form again";
    Failure::new(Reason::DeadlineExceeded, text).into()
}

impl Step {
    fn line(&self) -> String {
        format!("{}\n", json!({ "share": self.share, "text": self.text }))
    }
}

async fn text(page: Response) -> String {
    let octets = axum::body::to_bytes(page.into_body(), PAGE_BYTES_MAX).await.unwrap_or_default();
    String::from_utf8_lossy(&octets).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::response::Html;
    use http_body_util::BodyExt as _;
    use serde_json::Value;

    fn work(as_lines: bool) -> Work {
        let (headers, request_id) = (HeaderMap::new(), "req_1".to_owned());
        Work { as_lines, turn: None, headers, request_id, limit: Duration::from_secs(60) }
    }

    fn lines(octets: &[u8]) -> Vec<Value> {
        octets
            .split_inclusive(|b| *b == b'\n')
            .map(|l| serde_json::from_slice(l).unwrap())
            .collect()
    }

    #[tokio::test]
    async fn who_asks_for_lines_hears_of_a_step_before_the_work_is_done() {
        let (go_on, waits) = tokio::sync::oneshot::channel();
        let answer = work(true).run(|steps| async move {
            steps.at(0.25, "one".to_owned());
            waits.await.unwrap();
            steps.at(7.0, "two".to_owned());
            tokio::task::yield_now().await;
            Ok(Html("<p>all\ndone</p>").into_response())
        });
        let mut body = answer.await.ok().unwrap().into_body();
        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(lines(&first), [json!({"share": 0.25, "text": "one"})]);
        go_on.send(()).unwrap();
        let rest = lines(&body.collect().await.unwrap().to_bytes());
        assert_eq!(
            rest,
            [json!({"share": 1.0, "text": "two"}), json!({"page": "<p>all\ndone</p>"})]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_takes_too_long_ends_with_a_page_that_says_so() {
        let answer = work(true).run(|_steps| std::future::pending()).await.ok().unwrap();
        let told = lines(&answer.into_body().collect().await.unwrap().to_bytes());
        assert!(told[0]["page"].as_str().unwrap().contains("rest.bulk_timeout"), "{told:?}");
    }

    #[tokio::test]
    async fn a_failure_is_told_as_a_page_too() {
        let failed = || Err(Fault(Failure::new(Reason::Overloaded, "not <now>")));
        let answer = work(true).run(|_steps| async move { failed() }).await.ok().unwrap();
        let told = lines(&answer.into_body().collect().await.unwrap().to_bytes());
        let page = told[0]["page"].as_str().unwrap();
        assert!(told.len() == 1 && page.contains("not &#60;now&#62;"), "{page}");
        // Without lines it fails as any other request does.
        assert!(work(false).run(|_steps| async move { failed() }).await.is_err());
    }
}
