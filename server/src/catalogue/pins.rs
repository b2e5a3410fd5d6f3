//! Blobs that something in flight counts on, although no package names them yet.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::digest::Digest;

/// All pins of the process.
#[derive(Clone, Debug)]
pub struct Pins {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    held: Mutex<Held>,
    /// Whether others work on the store too. Nothing of it goes at once then, so nobody asks for what was released.
    is_shared: bool,
    /// Held while a blob is removed and while a pin is set, so that a pinned blob is either there or will be written anew.
    removing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Held {
    /// How often each blob is pinned.
    counts: HashMap<Digest, usize>,
    /// What was pinned and is no longer, and since when: what failed work leaves is in here.
    released: HashMap<Digest, Instant>,
}

/// The pins of one piece of work; they go when this is dropped.
#[derive(Debug)]
pub struct PinSet {
    pins: Pins,
    digests: Vec<Digest>,
}

impl Pins {
    /// The pins of a process on a store.
    #[must_use]
    pub fn new(is_shared: bool) -> Self {
        Self { inner: Arc::new(Inner { held: Mutex::default(), is_shared, removing: tokio::sync::Mutex::default() }) }
    }

    /// A set without pins.
    #[must_use]
    pub fn set(&self) -> PinSet {
        PinSet { pins: self.clone(), digests: Vec::new() }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.inner.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything that is pinned now.
    #[must_use]
    pub fn all(&self) -> Vec<Digest> {
        self.held().counts.keys().cloned().collect()
    }

    /// What was released before that time and hasn't been pinned since. Always nothing where others work on the store too.
    #[must_use]
    pub fn released_before(&self, time: Instant) -> HashSet<Digest> {
        let held = self.held();
        let released =
            held.released.iter().filter(|(digest, since)| **since < time && !held.counts.contains_key(digest));
        released.map(|(digest, _)| digest.clone()).collect()
    }

    /// Forgets what was released before that time.
    pub fn forget_released_before(&self, time: Instant) {
        self.held().released.retain(|_, since| *since >= time);
    }

    /// Runs `remove` unless the blob is pinned, or was at `time` or later; no pin can be set meanwhile. False if it was
    /// pinned, else what `remove` says.
    ///
    /// # Errors
    /// Those of `remove`.
    pub async fn unless_pinned_since<E, F>(&self, digest: &Digest, time: Instant, remove: F) -> Result<bool, E>
    where
        F: Future<Output = Result<bool, E>>,
    {
        let _alone = self.inner.removing.lock().await;
        let pinned = {
            let held = self.held();
            held.counts.contains_key(digest) || held.released.get(digest).is_some_and(|since| *since >= time)
        };
        if pinned { Ok(false) } else { remove.await }
    }
}

impl PinSet {
    /// Pins a blob. To be called before the blob is made visible.
    pub async fn pin(&mut self, digest: Digest) {
        let _alone = self.pins.inner.removing.lock().await;
        *self.pins.held().counts.entry(digest.clone()).or_default() += 1;
        self.digests.push(digest);
    }
}

impl Drop for PinSet {
    fn drop(&mut self) {
        let (mut held, now) = (self.pins.held(), Instant::now());
        for digest in &self.digests {
            if let Some(count) = held.counts.get_mut(digest) {
                *count -= 1;
                if *count == 0 {
                    held.counts.remove(digest);
                    if !self.pins.inner.is_shared {
                        held.released.insert(digest.clone(), now);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    async fn removed_since(pins: &Pins, digest: &Digest, time: Instant) -> bool {
        pins.unless_pinned_since(digest, time, async { Ok::<_, Infallible>(true) }).await.unwrap()
    }

    async fn removed(pins: &Pins, digest: &Digest) -> bool {
        removed_since(pins, digest, Instant::now()).await
    }

    #[tokio::test]
    async fn a_pinned_blob_is_not_removed_until_the_last_pin_is_gone() {
        let pins = Pins::new(false);
        let digest = Digest::sha256(b"x");
        let mut first = pins.set();
        let mut second = pins.set();
        first.pin(digest.clone()).await;
        second.pin(digest.clone()).await;
        assert!(!removed(&pins, &digest).await);
        drop(first);
        assert!(!removed(&pins, &digest).await);
        drop(second);
        assert!(removed(&pins, &digest).await);
    }

    #[tokio::test]
    async fn what_was_pinned_since_somebody_looked_is_not_removed() {
        let (pins, digest) = (Pins::new(false), Digest::sha256(b"x"));
        let looked = Instant::now();
        let mut set = pins.set();
        set.pin(digest.clone()).await;
        drop(set);
        assert!(!removed_since(&pins, &digest, looked).await);
        assert!(removed_since(&pins, &digest, Instant::now()).await);
    }

    #[tokio::test]
    async fn what_is_no_longer_pinned_is_known_until_it_is_forgotten() {
        let (pins, digest) = (Pins::new(false), Digest::sha256(b"x"));
        let (before, mut set) = (Instant::now(), pins.set());
        set.pin(digest.clone()).await;
        assert_eq!((pins.all(), pins.released_before(Instant::now())), (vec![digest.clone()], HashSet::new()));
        drop(set);
        assert_eq!((pins.all(), pins.released_before(Instant::now())), (vec![], [digest].into()));
        assert!(pins.released_before(before).is_empty());
        pins.forget_released_before(before);
        assert_eq!(pins.released_before(Instant::now()).len(), 1);
        pins.forget_released_before(Instant::now());
        assert!(pins.released_before(Instant::now()).is_empty());
    }

    #[tokio::test]
    async fn where_others_work_on_the_store_nothing_is_kept_of_what_was_pinned() {
        let pins = Pins::new(true);
        let mut set = pins.set();
        set.pin(Digest::sha256(b"x")).await;
        drop(set);
        assert!(pins.held().released.is_empty() && pins.held().counts.is_empty());
    }
}
