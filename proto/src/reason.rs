//! The closed list of reasons a request can fail for, and the only table that turns a reason into a
//! gRPC code, an HTTP status and an SMTP reply.
//!
//! A reason is part of the contract: clients branch on it. Reasons are added, never renamed.

use std::str::FromStr;

use tonic::Code;

/// What a reason means in each protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meaning {
    /// `UPPER_SNAKE`, as in `google.rpc.ErrorInfo.reason`; REST shows it in lower case.
    pub name: &'static str,
    /// The gRPC status code.
    pub grpc: Code,
    /// The HTTP status.
    pub http: u16,
    /// The SMTP reply code and enhanced code (RFC 5321, RFC 3463).
    pub smtp: (u16, &'static str),
    /// The same request may succeed later without being changed.
    pub retryable: bool,
    /// One line for people.
    pub title: &'static str,
}

impl Meaning {
    /// The kind of resource that is missing or in the way, for example `smtp_credential`.
    pub fn resource(&self) -> Option<String> {
        let kind =
            self.name.strip_suffix("_NOT_FOUND").or_else(|| self.name.strip_suffix("_EXISTS"))?;
        Some(kind.to_ascii_lowercase())
    }
}

macro_rules! reasons {
    ($($variant:ident, $name:literal, $grpc:ident, $http:literal, $smtp:literal $enhanced:literal,
       $retryable:literal, $title:literal;)*) => {
        /// Why a request failed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason {
            $(#[doc = $title] $variant,)*
        }

        impl Reason {
            /// Every reason there is.
            pub const ALL: &'static [Reason] = &[$(Reason::$variant,)*];

            /// What the reason means in each protocol.
            pub const fn meaning(self) -> Meaning {
                match self {
                    $(Reason::$variant => Meaning {
                        name: $name,
                        grpc: Code::$grpc,
                        http: $http,
                        smtp: ($smtp, $enhanced),
                        retryable: $retryable,
                        title: $title,
                    },)*
                }
            }
        }
    };
}

reasons! {
    MalformedJson, "MALFORMED_JSON", InvalidArgument, 400, 501 "5.5.4", false, "The body is not valid JSON";
    MalformedRequest, "MALFORMED_REQUEST", InvalidArgument, 400, 501 "5.5.4", false, "The request cannot be decoded";
    UnknownField, "UNKNOWN_FIELD", InvalidArgument, 400, 501 "5.5.4", false, "A field is unknown";
    WrongType, "WRONG_TYPE", InvalidArgument, 400, 501 "5.5.4", false, "A value has the wrong type";
    BadPageToken, "BAD_PAGE_TOKEN", InvalidArgument, 400, 501 "5.5.4", false, "The page token is not valid for this request";
    BadFilter, "BAD_FILTER", InvalidArgument, 400, 501 "5.5.4", false, "A filter cannot be used";
    BadIdempotencyKey, "BAD_IDEMPOTENCY_KEY", InvalidArgument, 400, 501 "5.5.4", false, "The idempotency key is malformed";
    IdempotencyKeyRequired, "IDEMPOTENCY_KEY_REQUIRED", InvalidArgument, 400, 501 "5.5.4", false, "This server wants an idempotency key";
    InvalidAddress, "INVALID_ADDRESS", InvalidArgument, 422, 553 "5.1.3", false, "An address is not valid";
    MissingField, "MISSING_FIELD", InvalidArgument, 422, 550 "5.6.0", false, "A required field is missing";
    InvalidValue, "INVALID_VALUE", InvalidArgument, 422, 550 "5.6.0", false, "A value cannot be used";
    ValueOutOfRange, "VALUE_OUT_OF_RANGE", InvalidArgument, 422, 550 "5.6.0", false, "A value is too small, too large or too long";
    ForbiddenCharacter, "FORBIDDEN_CHARACTER", InvalidArgument, 422, 554 "5.6.0", false, "A value contains a line break, NUL or another forbidden character";
    HeaderNotAllowed, "HEADER_NOT_ALLOWED", InvalidArgument, 422, 554 "5.6.0", false, "A header field cannot be set";
    MalformedMessage, "MALFORMED_MESSAGE", InvalidArgument, 422, 554 "5.6.0", false, "The message is not well-formed";
    TemplateVariableMissing, "TEMPLATE_VARIABLE_MISSING", InvalidArgument, 422, 554 "5.6.0", false, "A template variable has no value";
    TemplateSyntax, "TEMPLATE_SYNTAX", InvalidArgument, 422, 554 "5.6.0", false, "The template cannot be parsed or rendered";
    AttachmentNotAllowed, "ATTACHMENT_NOT_ALLOWED", InvalidArgument, 422, 554 "5.6.0", false, "An attachment cannot be used";
    TooManyRecipients, "TOO_MANY_RECIPIENTS", InvalidArgument, 422, 452 "4.5.3", false, "There are too many recipients";
    ScheduleTooFar, "SCHEDULE_TOO_FAR", InvalidArgument, 422, 554 "5.6.0", false, "The send time is too far ahead";
    IdempotencyKeyReused, "IDEMPOTENCY_KEY_REUSED", InvalidArgument, 422, 554 "5.5.4", false, "The idempotency key was used for another request";
    MessageTooLarge, "MESSAGE_TOO_LARGE", InvalidArgument, 413, 552 "5.3.4", false, "The message is too large";
    BatchTooLarge, "BATCH_TOO_LARGE", InvalidArgument, 413, 552 "5.3.4", false, "The batch has too many items";
    MissingCredentials, "MISSING_CREDENTIALS", Unauthenticated, 401, 530 "5.7.0", false, "No credential was given";
    InvalidKey, "INVALID_KEY", Unauthenticated, 401, 535 "5.7.8", false, "The credential is not valid";
    KeyExpired, "KEY_EXPIRED", Unauthenticated, 401, 535 "5.7.8", false, "The key has expired";
    SignatureInvalid, "SIGNATURE_INVALID", Unauthenticated, 401, 535 "5.7.8", false, "The signature is not valid";
    KeyRevoked, "KEY_REVOKED", Unauthenticated, 401, 535 "5.7.8", false, "The key was revoked";
    AddressNotAllowed, "ADDRESS_NOT_ALLOWED", PermissionDenied, 403, 535 "5.7.8", false, "The credential may not be used from this address";
    ScopeMissing, "SCOPE_MISSING", PermissionDenied, 403, 550 "5.7.1", false, "The key lacks a scope";
    SenderNotAllowed, "SENDER_NOT_ALLOWED", PermissionDenied, 403, 550 "5.7.1", false, "The sender domain is not allowed";
    MessageNotFound, "MESSAGE_NOT_FOUND", NotFound, 404, 550 "5.1.1", false, "There is no such message";
    LinkNotFound, "LINK_NOT_FOUND", NotFound, 404, 550 "5.1.1", false, "There is no such link";
    TemplateNotFound, "TEMPLATE_NOT_FOUND", NotFound, 404, 550 "5.6.0", false, "There is no such template";
    SuppressionNotFound, "SUPPRESSION_NOT_FOUND", NotFound, 404, 550 "5.1.1", false, "There is no such suppression";
    DomainNotFound, "DOMAIN_NOT_FOUND", NotFound, 404, 550 "5.1.8", false, "There is no such domain";
    DkimKeysNotFound, "DKIM_KEYS_NOT_FOUND", NotFound, 404, 550 "5.7.5", false, "The domain has no such DKIM keys";
    ApiKeyNotFound, "API_KEY_NOT_FOUND", NotFound, 404, 550 "5.7.8", false, "There is no such API key";
    ApiKeyExists, "API_KEY_EXISTS", AlreadyExists, 409, 550 "5.7.8", false, "An API key with this hash exists";
    SmtpCredentialNotFound, "SMTP_CREDENTIAL_NOT_FOUND", NotFound, 404, 550 "5.7.8", false, "There is no such SMTP credential";
    SmtpCredentialExists, "SMTP_CREDENTIAL_EXISTS", AlreadyExists, 409, 550 "5.7.8", false, "An SMTP credential with this user name exists";
    OperatorNotFound, "OPERATOR_NOT_FOUND", NotFound, 404, 550 "5.7.8", false, "There is no such operator";
    OperatorExists, "OPERATOR_EXISTS", AlreadyExists, 409, 550 "5.7.8", false, "An operator with this user name exists";
    LastAdmin, "LAST_ADMIN", FailedPrecondition, 409, 550 "5.7.1", false, "The last admin stays one";
    WebhookNotFound, "WEBHOOK_NOT_FOUND", NotFound, 404, 550 "5.3.5", false, "There is no such webhook";
    WebhookDeliveryNotFound, "WEBHOOK_DELIVERY_NOT_FOUND", NotFound, 404, 550 "5.3.5", false, "There is no such delivery of a webhook";
    SettingNotFound, "SETTING_NOT_FOUND", NotFound, 404, 550 "5.3.5", false, "There is no such setting";
    SinkMessageNotFound, "SINK_MESSAGE_NOT_FOUND", NotFound, 404, 550 "5.1.1", false, "There is no such mail in the inbox";
    RouteNotFound, "ROUTE_NOT_FOUND", NotFound, 404, 502 "5.5.1", false, "There is nothing at this path";
    MethodNotAllowed, "METHOD_NOT_ALLOWED", Unimplemented, 405, 502 "5.5.1", false, "The method is not allowed here";
    UnsupportedMediaType, "UNSUPPORTED_MEDIA_TYPE", InvalidArgument, 415, 501 "5.5.4", false, "The media type is not supported";
    HostNotAllowed, "HOST_NOT_ALLOWED", PermissionDenied, 403, 550 "5.7.1", false, "This page answers only on its own host name";
    TemplateExists, "TEMPLATE_EXISTS", AlreadyExists, 409, 550 "5.6.0", false, "A template with this alias exists";
    DomainExists, "DOMAIN_EXISTS", AlreadyExists, 409, 550 "5.1.8", false, "The domain exists";
    DkimKeysExists, "DKIM_KEYS_EXISTS", AlreadyExists, 409, 550 "5.7.5", false, "DKIM keys with this selector exist";
    IdempotencyInFlight, "IDEMPOTENCY_IN_FLIGHT", Aborted, 409, 451 "4.3.0", true, "A request with this idempotency key is under way";
    EtagMismatch, "ETAG_MISMATCH", Aborted, 412, 451 "4.3.0", false, "It was changed in the meantime";
    MessageNotCancelable, "MESSAGE_NOT_CANCELABLE", FailedPrecondition, 409, 550 "5.7.1", false, "Nothing of this message can be canceled any more";
    DkimKeysPending, "DKIM_KEYS_PENDING", FailedPrecondition, 409, 550 "5.7.5", false, "New DKIM keys are waiting to be activated";
    DkimKeysTooMany, "DKIM_KEYS_TOO_MANY", FailedPrecondition, 409, 550 "5.7.5", false, "The domain has too many DKIM keys";
    DkimNotPublished, "DKIM_NOT_PUBLISHED", FailedPrecondition, 409, 550 "5.7.5", false, "The DNS does not show the records of the DKIM keys";
    TrackingNotConfigured, "TRACKING_NOT_CONFIGURED", FailedPrecondition, 409, 550 "5.7.1", false, "Tracking links have no key to be signed with";
    CursorExpired, "CURSOR_EXPIRED", OutOfRange, 410, 550 "5.5.4", false, "The events behind this token are no longer kept";
    TooManyFailures, "TOO_MANY_FAILURES", ResourceExhausted, 429, 454 "4.7.0", true, "Too many failed logins";
    RateLimited, "RATE_LIMITED", ResourceExhausted, 429, 451 "4.7.1", true, "Too many requests";
    ConcurrencyExceeded, "CONCURRENCY_EXCEEDED", ResourceExhausted, 429, 421 "4.7.0", true, "Too many requests are under way";
    QuotaExceeded, "QUOTA_EXCEEDED", ResourceExhausted, 429, 451 "4.7.1", true, "The daily limit is used up";
    Overloaded, "OVERLOADED", Unavailable, 503, 421 "4.3.2", true, "The server is busy";
    Draining, "DRAINING", Unavailable, 503, 421 "4.3.2", true, "The server is shutting down";
    StoreUnavailable, "STORE_UNAVAILABLE", Unavailable, 503, 451 "4.3.0", true, "The store cannot be reached";
    CoreUnavailable, "CORE_UNAVAILABLE", Unavailable, 503, 451 "4.3.0", true, "The core cannot be reached";
    DeadlineExceeded, "DEADLINE_EXCEEDED", DeadlineExceeded, 504, 451 "4.4.2", true, "The request took too long";
    Unimplemented, "UNIMPLEMENTED", Unimplemented, 501, 502 "5.5.1", false, "This is not implemented";
    Internal, "INTERNAL", Internal, 500, 451 "4.3.0", false, "Something went wrong on our side";
}

/// The text names no reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownReason;

impl FromStr for Reason {
    type Err = UnknownReason;

    fn from_str(name: &str) -> Result<Self, UnknownReason> {
        let found = Reason::ALL.iter().find(|reason| reason.meaning().name == name);
        found.copied().ok_or(UnknownReason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_consistent_across_protocols() {
        let mut names = std::collections::HashSet::new();
        for reason in Reason::ALL {
            let meaning = reason.meaning();
            assert!(names.insert(meaning.name), "{} stands twice", meaning.name);
            assert_eq!(meaning.name.parse(), Ok(*reason));
            assert!((400..=599).contains(&meaning.http), "{meaning:?}");
            let (code, enhanced) = meaning.smtp;
            let class = if code < 500 { "4." } else { "5." };
            assert!(enhanced.starts_with(class), "{meaning:?}");
            if meaning.retryable {
                assert!(code < 500, "a retryable reason must be a 4xx in SMTP: {meaning:?}");
            }
        }
    }
}
