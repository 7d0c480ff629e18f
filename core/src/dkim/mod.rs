//! Signs mail (RFC 6376, RFC 8301, RFC 8463): `relaxed/relaxed`, whole body (no `l=`), RSA-2048 and
//! Ed25519. Pure apart from making keys, which needs the randomness of the system; a crash has
//! nothing to lose here.
//!
//! The signature arithmetic is mail-auth's over aws-lc; canonicalisation and the field itself are
//! made here because the time must be an argument and several keys must share one body hash.

mod key;
mod canon;
mod sign;
#[cfg(test)]
mod tests;

pub use key::{Error, Generated, RSA_BITS, generate, record_name, record_value};
pub use sign::{Signer, sign};
