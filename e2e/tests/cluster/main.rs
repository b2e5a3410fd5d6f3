//! Tests on a real cluster: the project's own (`make cluster-up`), or the one that `KUBECONFIG` names.
//!
//! They run one after the other (`--test-threads=1`) and share the operator and the file server of [`site`]; each has a
//! namespace of its own, which it deletes when it passes.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on fails")]

mod access;
mod admission;
mod bucket;
mod command_line;
mod crash;
mod invalid_package;
mod neighbours;
mod removal;
mod repair;
mod samples;
mod site;
mod volumes;
mod walk;
