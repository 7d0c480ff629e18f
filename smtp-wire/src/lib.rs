//! The bytes of SMTP, without sockets, clocks or threads (RFC 5321, 1870, 2920, 3463, 4954, 6531).
//!
//! What we emit is strict: CRLF only, no bare CR or LF, no control characters in commands, every
//! line-leading dot doubled. What we accept is bounded: each limit has a name in [`limits`]. Message
//! data ends at `CRLF . CRLF` and at nothing else, whoever sends it.
//!
//! Nothing here keeps state outside the values it returns, so a crash has nothing to lose.

pub mod address;
pub mod command;
pub mod reply;
pub mod extension;
pub mod data;
pub mod line;
pub mod request;
pub mod path;
pub mod parameters;
pub mod limits;
#[cfg(test)]
mod fuzz;
