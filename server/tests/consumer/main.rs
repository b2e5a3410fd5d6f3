//! `/repo` and files as their one consumer sees them: a strict reader of our own refuses everything that the consumer
//! refuses (universe.md 7.3 and 7.5), and reads every fixture at every version, through three instances.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

#[path = "../common/mod.rs"]
mod common;

mod answer;
mod document;
mod fixtures;
mod forms;
mod packages;
mod proxy;
mod refused;
