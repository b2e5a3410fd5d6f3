//! The OCI Distribution Specification 1.1, requirement by requirement. A module is a section of the specification, a test
//! one of its requirements in our words; each runs on every store, and through instances that take turns on one store.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

#[path = "../common/mod.rs"]
mod common;

mod cancelling_an_upload;
mod deleting;
mod errors;
mod faults;
mod listing_referrers;
mod listing_tags;
mod mounting_blobs;
mod packages;
mod process;
mod pulling;
mod pushing_a_manifest_with_a_subject;
mod pushing_blobs_in_chunks;
mod pushing_blobs_whole;
mod pushing_manifests;
mod races;
mod registry;
mod resuming;
mod rights;
