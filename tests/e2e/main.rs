//! The system from outside: the real binary, mail servers and clients that are not ours.
//!
//! Every test has a stack of its own. `POSTERN_BIN` names the binary under test.

mod idempotency;
mod relay;
mod retries;
mod crash;
mod mx;
mod watch;
mod legacy;
mod drain;
