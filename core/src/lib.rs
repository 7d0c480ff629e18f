//! The system. Its modules, in this order, are the life of a message:
//!
//! 1. **accept** ([`rpc`]): a gRPC call is decoded and authorised;
//! 2. **validate** ([`intake`]): it becomes something we are willing to promise;
//! 3. **persist** ([`store`]): it is on stable storage, and only now the client hears yes;
//! 4. **claim** ([`queue`], [`worker`]): a node takes a lease and finds the turn of a delivery;
//! 5. **build** ([`mime`], [`track`]): content becomes bytes, with what its sender wants to see;
//! 6. **sign** ([`dkim`]): the sender domain vouches for them;
//! 7. **deliver** ([`transport`], [`postal`]): a remote server takes them or says why not;
//! 8. **record** ([`store::queue`]): state, event and counters in one commit;
//! 9. **notify** ([`store::ledger`], [`rpc::events`], [`webhook`], [`ams`]): whoever follows the event feed is told.
//!
//! Whatever a crash interrupts is taken up again from what the store holds.

pub mod config;
pub mod app;
pub mod alone;
pub mod metrics;
pub mod rpc;
pub mod intake;
pub mod store;
pub mod queue;
pub mod worker;
pub mod mime;
pub mod track;
pub mod dkim;
pub mod transport;
pub mod postal;
pub mod capture;
pub mod campaign;
pub mod ams;
pub mod webhook;
pub mod outgoing;
pub mod domain;
pub mod breaker;

pub mod model;
pub mod in_force;
pub mod directory;
pub mod template;
pub mod credential;
pub mod password;
pub mod operator;
pub mod uses;
pub mod notice;
pub mod alarm;
#[cfg(test)]
mod fuzz;
