//! The Postal that mail may be handed to: its HTTP API, and the webhooks by which it reports.
//!
//! What it reports is believed when its signature fits ([`verify`]), and is about mail of ours only
//! when it carries the id and the token that Postal gave us for that mail, or when it names a mail
//! whose hand-over had no known outcome. State is in the store; a crash loses nothing that Postal was
//! told we have.

pub mod config;
pub mod api;
pub mod keys;
pub mod jwks;
pub mod verify;
pub mod event;
pub mod news;
pub mod hook;
pub mod watch;
