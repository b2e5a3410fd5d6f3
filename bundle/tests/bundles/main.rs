//! Bundles read and written.
#![expect(clippy::unwrap_used, clippy::panic, reason = "test code")]

mod file;
mod packers;
mod parts;
mod read;
mod sample;
mod write;
