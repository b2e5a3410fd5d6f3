//! Declarations, from `PUT` to withdrawal, and bundles that none of them gets published.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

#[path = "../common/mod.rs"]
mod common;

mod bad_bundles;
mod declared;
