//! Process plumbing that every binary of Postern needs and that knows no word about mail:
//! configuration, logs, stopping, listening, and the gateways' connection to the core.
//!
//! What is kept (counters of limits, a certificate) is in memory and may be lost with the process.

pub mod env;
pub mod telemetry;
pub mod shutdown;
pub mod listen;
pub mod http_server;
pub mod request_body;
pub mod open_files;
pub mod clock;
pub mod backoff;
pub mod core_client;
pub mod in_process;
mod resend;
pub mod limits;
pub mod live;
pub mod presence;
pub mod progress;
pub mod metrics;
pub mod ops;
pub mod net;
pub mod tls;
pub mod certificates;
pub mod trace;
pub mod spans;
pub mod variables;
#[cfg(test)]
mod fuzz;
