//! What every part of the backend works with.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Semaphore;

use super::bounded::Bounded;
use super::calls::Bucket;
use super::leftovers::Suspects;
use super::pointer::Known;
use super::session_cache::SessionCache;

/// Parts that are in memory at the same time, on their way to the store, of all uploads together.
const PARTS_IN_FLIGHT: usize = 16;
/// Pointers that are remembered, at least.
const POINTERS: usize = 16 << 10;

pub(super) struct Inner {
    pub bucket: Arc<Bucket>,
    pub part_slots: Semaphore,
    /// Whether the store removes conditionally, as the probe found it.
    pub conditional_removal: bool,
    /// Whether readers of blobs are sent to the store itself.
    pub redirect: bool,
    pub sessions: SessionCache,
    pub suspects: Suspects,
    pointers: Mutex<Bounded<String, Known>>,
    /// Small objects that were there, and when.
    seen: Mutex<Bounded<String, Instant>>,
}

impl Inner {
    pub fn new(bucket: Arc<Bucket>, conditional_removal: bool, redirect: bool) -> Self {
        Self {
            bucket,
            part_slots: Semaphore::new(PARTS_IN_FLIGHT),
            conditional_removal,
            redirect,
            sessions: SessionCache::default(),
            suspects: Suspects::default(),
            pointers: Mutex::new(Bounded::new(POINTERS)),
            seen: Mutex::new(Bounded::new(POINTERS)),
        }
    }

    pub fn seen(&self) -> MutexGuard<'_, Bounded<String, Instant>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn pointers(&self) -> MutexGuard<'_, Bounded<String, Known>> {
        self.pointers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
