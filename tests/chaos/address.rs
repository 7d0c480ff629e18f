//! Addresses of a system's own. A process that is killed must find its port free when it starts again,
//! so each system lives on a loopback address nobody else uses, with the same ports as any other.

use std::fmt;

use rand::{RngExt as _, rng};

/// One of the sixteen million loopback addresses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Host([u8; 3]);

impl Host {
    /// Any but the usual one.
    pub(crate) fn any() -> Self {
        let mut random = rng();
        Self([random.random_range(1..=254), random.random(), random.random_range(1..=254)])
    }

    /// `address:port`.
    pub(crate) fn at(self, port: u16) -> String {
        format!("{self}:{port}")
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c] = self.0;
        write!(f, "127.{a}.{b}.{c}")
    }
}
