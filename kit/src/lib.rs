//! Process plumbing that every binary of Postern needs and that knows no word about mail:
//! configuration, logs, stopping, listening, and the gateways' connection to the core.
//!
//! Nothing here keeps state, so a crash has nothing to lose.

pub mod env;
pub mod telemetry;
pub mod shutdown;
pub mod listen;
pub mod clock;
pub mod backoff;
pub mod core_client;
pub mod in_process;
