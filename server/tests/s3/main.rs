//! A store in a bucket, on real S3 servers by other people: what only such a store does, how many calls it takes, what it
//! survives, how it is reached.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

#[path = "../common/mod.rs"]
mod common;

mod bucket;
mod calls;
mod credentials;
mod encryption;
mod faults;
mod issuer;
