//! Blobs that something in flight counts on, although no package names them yet.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::digest::Digest;

/// All pins of the process.
#[derive(Clone, Debug, Default)]
pub struct Pins {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    held: Mutex<Held>,
    /// Held while a blob is removed and while a pin is set, so that a pinned blob is either there or will be written anew.
    removing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Held {
    /// How often each blob is pinned.
    counts: HashMap<Digest, usize>,
    /// What was pinned and is no longer: what failed work leaves is in here.
    released: HashSet<Digest>,
}

/// The pins of one piece of work; they go when this is dropped.
#[derive(Debug)]
pub struct PinSet {
    pins: Pins,
    digests: Vec<Digest>,
}

impl Pins {
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

    /// What was pinned and is no longer.
    #[must_use]
    pub fn released(&self) -> HashSet<Digest> {
        self.held().released.clone()
    }

    /// Forgets that these were pinned.
    pub fn forget_released(&self, digests: &HashSet<Digest>) {
        self.held().released.retain(|digest| !digests.contains(digest));
    }

    /// Runs `remove` unless the blob is pinned; no pin can be set meanwhile. False if it was pinned, else what `remove` says.
    ///
    /// # Errors
    /// Those of `remove`.
    pub async fn unless_pinned<E, F>(&self, digest: &Digest, remove: F) -> Result<bool, E>
    where
        F: Future<Output = Result<bool, E>>,
    {
        let _alone = self.inner.removing.lock().await;
        if self.held().counts.contains_key(digest) {
            return Ok(false);
        }
        remove.await
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
        let mut held = self.pins.held();
        for digest in &self.digests {
            if let Some(count) = held.counts.get_mut(digest) {
                *count -= 1;
                if *count == 0 {
                    held.counts.remove(digest);
                    held.released.insert(digest.clone());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    async fn removed(pins: &Pins, digest: &Digest) -> bool {
        pins.unless_pinned(digest, async { Ok::<_, Infallible>(true) }).await.unwrap()
    }

    #[tokio::test]
    async fn a_pinned_blob_is_not_removed_until_the_last_pin_is_gone() {
        let pins = Pins::default();
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
    async fn what_is_no_longer_pinned_is_known_until_it_is_forgotten() {
        let (pins, digest) = (Pins::default(), Digest::sha256(b"x"));
        let mut set = pins.set();
        set.pin(digest.clone()).await;
        assert_eq!((pins.all(), pins.released()), (vec![digest.clone()], HashSet::new()));
        drop(set);
        assert_eq!((pins.all(), pins.released()), (vec![], [digest].into()));
        pins.forget_released(&pins.released());
        assert!(pins.released().is_empty());
    }
}
