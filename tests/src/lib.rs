//! What the end-to-end tests share: the real binary as a child process, servers that are not ours
//! on the other side, and waiting that ends when the thing happened.
//!
//! Every piece belongs to one test and dies with it, so tests run side by side in any order.

pub mod collector;
pub mod wait;
pub mod stack;
pub mod answer;
pub mod peer;
pub mod smtp_receiver;
pub mod dns;
pub mod postgres;
pub mod cluster;
pub mod proxy;
pub mod role;
pub mod command;
pub mod smtp_client;
pub mod ams;
pub mod acme;
pub mod balancer;
pub mod hook_receiver;
pub mod postal;
