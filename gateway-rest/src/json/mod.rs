//! JSON on one side, the gRPC contract on the other, driven by the contract's own descriptors: a
//! field added to a `.proto` file is readable, writable and documented without a line here.
//!
//! Pure functions without state; a crash has nothing to lose.

pub(crate) mod tree;
pub(crate) mod address;
pub(crate) mod words;
pub(crate) mod filter;
mod place;
pub(crate) mod read;
pub(crate) mod write;

#[cfg(test)]
mod tests;
