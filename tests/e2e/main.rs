//! The system from outside: the real binary, mail servers and clients that are not ours.
//!
//! Every test has a stack of its own. `POSTERN_BIN` names the binary under test.

#![allow(
    clippy::unwrap_used,
    reason = "all of this is test code; a failed assumption fails the test"
)]

mod idempotency;
mod relay;
mod replication;
mod retries;
mod rolling;
mod ops;
mod figures;
mod stuck;
mod metrics_manual;
mod certificates;
mod notifications;
mod suppression;
mod crash;
mod mx;
mod domains;
mod transports;
mod watch;
mod tracking_core;
mod tracking_legacy;
mod legacy;
mod bad_rest;
mod bad_grpc;
mod drain;
mod operator;
mod dashboard;
mod dashboard_acts;
mod dashboard_files;
mod dashboard_security;
mod operators;
mod scopes;
mod audit;
mod deploy;
mod deploy_files;
mod destinations;
mod acme;
mod again;
mod store_down;
mod ignored;
mod journey;
mod injection;
mod python;
mod contract;
mod limits;
mod long_ids;
mod config;
mod alerts;
mod backup;
mod backup_postgres;
mod backup_postgres_trouble;
mod import_old;
mod settings;
mod settings_peers;
mod settings_reports;
mod settings_sending;
mod settings_smtp;
mod settings_tracking;
mod smtp_clients;
mod smtp_postfix;
mod smtp_attacks;
mod smtp_logins;
mod credentials;
mod credential_networks;
mod smtp_limits;
mod smtp_core;
mod smtp_tls;
mod tracking_edge;
mod tracking_journal;
mod tracking_browser;
mod ams;
mod webhooks;
mod traces;
mod webhooks_guard;
mod webhooks_chosen;
mod webhooks_many;
mod postal;
mod postal_hooks;
mod postal_verify;
