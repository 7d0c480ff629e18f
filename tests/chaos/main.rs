//! Faults under load: real processes are killed, and what they stand on is taken away, while mail is
//! sent through every door. Afterwards nothing that was acknowledged is lost, and what arrived twice
//! says so in its timeline. Totals are printed at the end of each test.
//!
//! The instants are drawn from a seed that each test prints. `POSTERN_CHAOS_SEED=NUMBER` draws the
//! same instants again; what the processes are doing then is as near as a real machine allows.
//! The tests that kill 200 times are ignored: `tests/run --all` runs them too.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "all of this is test code: a failed assumption fails the test, totals are to be seen"
)]

mod address;
mod check;
mod clock;
mod cut;
mod disk;
mod gate;
mod hits;
mod kills;
mod ledger;
mod load;
mod outcome;
mod postgres;
mod process;
mod receivers;
mod redis;
mod system;
