//! The contract between everything that speaks `postern.v1`: generated messages and services,
//! typed ids, the one table of reasons that errors are made of, and the links that tracked mail
//! carries.
//!
//! Fields and numbers are only ever added within `v1`; nothing here has state or does I/O, so a
//! crash has nothing to lose.

/// Generated from `proto/postern/v1`.
pub mod v1 {
    #![allow(
        unreachable_pub,
        clippy::allow_attributes_without_reason,
        clippy::too_many_lines,
        clippy::large_enum_variant,
        clippy::doc_markdown,
        rustdoc::all,
        reason = "generated code"
    )]
    tonic::include_proto!("postern.v1");
}

pub mod ids;
pub mod reason;
pub mod status;
pub mod strict;
pub mod mask;
pub mod metadata;
pub mod link;
pub mod settings;
pub mod time;

/// The encoded `FileDescriptorSet` of the whole contract, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
#[cfg(test)]
mod fuzz;
