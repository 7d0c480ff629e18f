//! The tracking edge: opens, clicks and unsubscribes, answered from signed tokens.
//!
//! Not built yet; the crate keeps its place in the dependency law. Until then mail goes out with
//! its links and without a pixel.
