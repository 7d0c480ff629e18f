//! The names of gRPC metadata entries and scopes, which both sides of the wire must spell alike.

/// Carries the caller's credential: `Bearer <API key>`, or from a gateway `Session <session>` for an
/// SMTP credential it had checked, or `Operator <session>` for a person who has logged in.
pub const AUTHORIZATION: &str = "authorization";
/// The secret with which a gateway proves that it is one; only then are the two entries below it
/// believed.
pub const GATEWAY_TOKEN: &str = "x-postern-gateway";
/// Which door the request came through: `rest`, `smtp`, `sink` or `tracking`. What comes through
/// `sink` needs no credential and reaches only the local inbox.
pub const DOOR: &str = "x-postern-door";
/// The address of the client that a gateway serves.
pub const CLIENT_IP: &str = "x-postern-client-ip";
/// The address at the other end of the connection. The core notes it on every call, over whatever the
/// caller wrote there.
pub const PEER_IP: &str = "x-postern-peer-ip";
/// The idempotency key, where the request field is not used.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Set to `true` on an answer that was stored by an earlier request.
pub const IDEMPOTENCY_REPLAYED: &str = "idempotency-replayed";
/// Until when the answer to a request with an idempotency key is kept: RFC 3339, in UTC.
pub const IDEMPOTENCY_EXPIRE_TIME: &str = "idempotency-expire-time";
/// The id that names one request in logs and error answers. A direct caller may choose it; 1 to 128
/// letters, digits and `.`, `_`, `-`.
pub const REQUEST_ID: &str = "x-request-id";
/// The same id, on every answer.
pub const ANSWERED_REQUEST_ID: &str = "request-id";
/// The trace that the request belongs to (W3C Trace Context).
pub const TRACEPARENT: &str = "traceparent";

/// Every scope an API key can have; `*` means all of them.
pub const SCOPES: [&str; 25] = [
    "messages:send",
    "messages:read",
    "messages:content",
    "events:read",
    "templates:read",
    "templates:write",
    "domains:read",
    "domains:write",
    "suppressions:read",
    "suppressions:write",
    "campaigns:read",
    "campaigns:write",
    "webhooks:read",
    "webhooks:write",
    "stats:read",
    "sink:read",
    "sink:write",
    "keys:read",
    "keys:write",
    "settings:read",
    "settings:write",
    "queue:write",
    "operators:read",
    "operators:write",
    "audit:read",
];
