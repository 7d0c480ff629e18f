//! The SMTP gateway: submission on 2587, 587 and 465, translated to `postern.v1`.
//!
//! Not built yet; the crate keeps its place in the dependency law. Until then mail is handed in over
//! gRPC or REST, composed messages as `SendRawMessage` or `POST /v1/messages` with
//! `message/rfc822`.
