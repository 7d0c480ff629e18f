//! CLAIM, the rules: what state follows from an outcome, when to try again, whose turn it is. Pure.
//!
//! ```text
//! scheduled ─┐
//!   queued ──┼─ begin ─→ sending ─→ delivered | bounced | failed | expired
//! deferred ──┘              │
//!     ↑──────── 4xx ────────┘      any of the left: → canceled, expired
//! ```

pub mod schedule;
pub mod state;
pub mod lanes;
