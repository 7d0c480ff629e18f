//! A failure as every layer sees it, and its one translation to and from `tonic::Status` with
//! `google.rpc` details.

use std::collections::HashMap;
use std::error::Error as _;
use std::fmt;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::reason::Reason;

/// The `domain` of `google.rpc.ErrorInfo`.
pub const ERROR_DOMAIN: &str = "postern";
/// No answer lists more violations than this.
pub const VIOLATIONS_MAX: usize = 100;

/// One thing that is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The path in the caller's spelling, for example `to[3].email`.
    pub field: String,
    /// Why.
    pub reason: Reason,
    /// What is wrong and what to do, in a sentence.
    pub message: String,
}

/// Why a request failed, in words a customer may read: no SQL, no host name of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The reason.
    pub reason: Reason,
    /// One sentence.
    pub message: String,
    /// What is wrong with which field; empty when the failure is about no field.
    pub violations: Vec<Violation>,
    /// Values a program may want, for example the missing scope.
    pub metadata: Vec<(String, String)>,
    /// When to try again.
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// A failure that is about no field.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { reason, message, violations: Vec::new(), metadata: Vec::new(), retry_after: None }
    }

    /// A failure about one field.
    pub fn field(reason: Reason, field: impl Into<String>, message: impl Into<String>) -> Self {
        let (field, message) = (field.into(), message.into());
        Self::violations(vec![Violation { field, reason, message }])
    }

    /// A failure about several fields; the first one gives the reason.
    ///
    /// # Panics
    ///
    /// When `violations` is empty.
    pub fn violations(mut violations: Vec<Violation>) -> Self {
        violations.truncate(VIOLATIONS_MAX);
        let first = &violations[0];
        let mut failure = Self::new(first.reason, format!("{}: {}", first.field, first.message));
        if violations.len() > 1 {
            failure.message += &format!(" (and {} more)", violations.len() - 1);
        }
        failure.violations = violations;
        failure
    }

    /// Adds a value a program may want.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        self.metadata.push((key.to_owned(), value.into()));
        self
    }

    /// Says when to try again.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }

    /// The `google.rpc.Status` form, as used for the items of a batch.
    pub fn to_proto(&self) -> tonic_types::pb::Status {
        use prost::Message as _;
        let status = Status::from(self.clone());
        tonic_types::pb::Status::decode(status.details()).unwrap_or_else(|_| {
            tonic_types::pb::Status {
                code: status.code() as i32,
                message: self.message.clone(),
                details: Vec::new(),
            }
        })
    }

    /// Reads a failure from a status; a status without our details gets the reason that its code
    /// stands for.
    pub fn from_status(status: &Status) -> Self {
        let details = status.get_error_details();
        let info = details.error_info();
        let reason = info
            .filter(|info| info.domain == ERROR_DOMAIN)
            .and_then(|info| info.reason.parse().ok())
            .unwrap_or_else(|| reason_of(status));
        let metadata = info.map(|info| info.metadata.clone()).unwrap_or_default();
        let violations = details.bad_request().map(|bad| bad.field_violations.as_slice());
        let violations = violations.unwrap_or_default().iter().map(|violation| {
            let (name, message) =
                violation.description.split_once(": ").unwrap_or(("", &violation.description));
            Violation {
                field: violation.field.clone(),
                reason: name.parse().unwrap_or(reason),
                message: message.to_owned(),
            }
        });
        let mut metadata: Vec<_> = metadata.into_iter().collect();
        metadata.sort();
        Self {
            reason,
            message: status.message().to_owned(),
            violations: violations.collect(),
            metadata,
            retry_after: details.retry_info().and_then(|info| info.retry_delay),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason.meaning().name, self.message)
    }
}

impl std::error::Error for Failure {}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        let meaning = failure.reason.meaning();
        let mut details = ErrorDetails::new();
        let metadata: HashMap<String, String> = failure.metadata.into_iter().collect();
        if let Some(policy) = metadata.get("policy") {
            details.add_quota_failure_violation(policy, failure.message.clone());
        }
        if let Some(kind) = meaning.resource() {
            let name = metadata.get("name").map_or("", String::as_str);
            details.set_resource_info(kind, name, "", failure.message.clone());
        }
        if meaning.grpc == Code::FailedPrecondition {
            let subject = metadata.get("name").map_or("", String::as_str);
            let text = failure.message.clone();
            details.add_precondition_failure_violation(meaning.name, subject, text);
        }
        details.set_error_info(meaning.name, ERROR_DOMAIN, metadata);
        for violation in &failure.violations {
            // FieldViolation has no reason of its own in this version of the type, so the
            // description begins with it.
            let reason = violation.reason.meaning().name;
            details.add_bad_request_violation(
                violation.field.clone(),
                format!("{reason}: {}", violation.message),
            );
        }
        if let Some(delay) = failure.retry_after {
            details.set_retry_info(Some(delay));
        }
        Status::with_error_details(meaning.grpc, failure.message, details)
    }
}

fn reason_of(status: &Status) -> Reason {
    match status.code() {
        Code::Unavailable => Reason::CoreUnavailable,
        // tonic answers so when a connection breaks under a call: nobody knows what the core has done.
        // What came over the wire has no cause.
        Code::Unknown if status.source().is_some() => Reason::CoreUnavailable,
        Code::DeadlineExceeded | Code::Cancelled => Reason::DeadlineExceeded,
        Code::Unauthenticated => Reason::InvalidKey,
        Code::PermissionDenied => Reason::ScopeMissing,
        Code::ResourceExhausted => Reason::RateLimited,
        // tonic answers so when a message is over the decoding limit.
        Code::OutOfRange => Reason::MessageTooLarge,
        Code::Unimplemented => Reason::Unimplemented,
        Code::InvalidArgument => Reason::InvalidValue,
        _ => Reason::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_survives_the_wire() {
        let violation = |field: &str, reason| Violation {
            field: field.to_owned(),
            reason,
            message: "needs an @: write local@domain".to_owned(),
        };
        let failure = Failure::violations(vec![
            violation("to[0].email", Reason::InvalidAddress),
            violation("subject", Reason::ForbiddenCharacter),
        ])
        .with("limit", "3")
        .retry_after(Duration::from_secs(7));
        assert_eq!(Failure::from_status(&Status::from(failure.clone())), failure);
    }

    #[test]
    fn a_used_up_limit_is_a_quota_failure() {
        let failure = Failure::new(Reason::QuotaExceeded, "used up").with("policy", "send");
        let details = Status::from(failure.clone()).get_error_details();
        assert_eq!(details.quota_failure().unwrap().violations[0].subject, "send");
        assert_eq!(Failure::from_status(&Status::from(failure.clone())), failure);
    }

    #[test]
    fn what_is_missing_is_a_resource_and_what_stands_in_the_way_a_precondition() {
        let missing = Failure::new(Reason::TemplateNotFound, "no").with("name", "welcome");
        let details = Status::from(missing.clone()).get_error_details();
        let resource = details.resource_info().unwrap();
        assert_eq!((&*resource.resource_type, &*resource.resource_name), ("template", "welcome"));
        assert_eq!(Failure::from_status(&Status::from(missing.clone())), missing);
        let late = Failure::new(Reason::MessageNotCancelable, "late").with("name", "msg_1");
        let details = Status::from(late).get_error_details();
        let violation = &details.precondition_failure().unwrap().violations[0];
        assert_eq!((&*violation.r#type, &*violation.subject), ("MESSAGE_NOT_CANCELABLE", "msg_1"));
        let other = Status::from(Failure::new(Reason::RateLimited, "slow")).get_error_details();
        assert!(other.resource_info().is_none() && other.precondition_failure().is_none());
    }

    #[test]
    fn a_foreign_status_gets_the_reason_of_its_code() {
        let failure = Failure::from_status(&Status::unavailable("connection refused"));
        assert_eq!(failure.reason, Reason::CoreUnavailable);
        let broken = std::io::Error::other("connection reset");
        let failure = Failure::from_status(&Status::from_error(Box::new(broken)));
        assert_eq!(failure.reason, Reason::CoreUnavailable, "a core that died under the call");
        let failure = Failure::from_status(&Status::unknown("a server between has said no"));
        assert_eq!(failure.reason, Reason::Internal);
    }

    #[test]
    fn an_item_of_a_batch_carries_the_details() {
        let status = Failure::field(Reason::InvalidAddress, "to", "bad").to_proto();
        assert_eq!(status.code, Code::InvalidArgument as i32);
        assert_eq!(status.details.len(), 2);
    }
}
