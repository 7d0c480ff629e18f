//! The nouns: what a message, a delivery, a key and a domain are. Data only; every field is public
//! and every type is plain, so that store, worker and rpc can share them without sharing behaviour.

pub mod content;
pub mod delivery;
pub mod message;
pub mod event;
pub mod directory;
pub mod domain;
pub mod campaign;
pub mod webhook;
pub mod operator;
