//! Uploads: announced, sent in pieces, published, removed, brought elsewhere.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

#[path = "../common/mod.rs"]
mod common;

mod crash;
mod instances;
mod packages;
mod pieces;
mod publish;
