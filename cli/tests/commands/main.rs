//! The built binary, run as people run it.
#![expect(clippy::unwrap_used, reason = "test code")]

mod build;
mod bundles;
mod cosign;
mod fixtures;
mod frame;
mod local;
mod migrate;
mod program;
mod pull;
mod registry;
mod sign;
