//! What nobody needs is removed, at its time; what somebody needs, or may be about to, is not.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

#[path = "../common/mod.rs"]
mod common;

mod at_work;
mod content;
mod meanwhile;
mod what_goes;
