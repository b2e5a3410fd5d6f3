//! Scenarios of the controller against a real API server without nodes: the binary runs with the operator's own account and
//! rights, and the tests say what kubelets would.
//!
//! They share one API server and run one after the other, however many threads there are; each has namespaces of its own.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on fails")]

mod crash;
mod creation;
mod edits;
mod leader;
mod name_taken;
mod nodes;
mod quiet;
mod removal;
mod repair;
mod seed;
mod stage;
mod state;
mod volumes;
