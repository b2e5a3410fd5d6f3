//! Uploads that are still being brought: their status is written anew now and then, so that it doesn't expire.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use api::State;

use super::error::UploadError;
use super::{UploadId, Uploads};
use crate::storage::{Condition, StorageError};

/// Within the time after which an upload expires, its status is written so often: each write costs a request to the store.
const TIMES: u32 = 24;

/// When this process wrote which status last, by its own clock.
#[derive(Debug, Default)]
pub struct Writes {
    last: HashMap<UploadId, Instant>,
}

impl Writes {
    /// Whether none was noted within that time.
    #[must_use]
    pub fn is_due(&self, id: &UploadId, every: Duration, now: Instant) -> bool {
        self.last.get(id).is_none_or(|last| now.saturating_duration_since(*last) >= every)
    }

    /// Notes one.
    pub fn note(&mut self, id: &UploadId, now: Instant) {
        self.last.insert(id.clone(), now);
    }

    /// Forgets all others.
    pub fn keep(&mut self, there: &HashSet<UploadId>) {
        self.last.retain(|id, _| there.contains(id));
    }
}

impl Uploads {
    pub(super) fn writes(&self) -> MutexGuard<'_, Writes> {
        self.inner.writes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_every(&self) -> Duration {
        self.inner.pace.expiry / TIMES
    }

    /// Lets an upload that waits for its blobs expire later, unless this process did so lately.
    ///
    /// # Errors
    /// A store that fails.
    pub(super) async fn keep_alive(&self, id: &UploadId) -> Result<(), UploadError> {
        if !self.writes().is_due(id, self.write_every(), Instant::now()) {
            return Ok(());
        }
        let Some((status, version)) = self.store().status(id).await? else { return Ok(()) };
        if status.state == State::Pending {
            match self.store().put_status(id, &status, Condition::Unchanged(version)).await {
                // Whoever else wrote it made it new.
                Ok(_) | Err(StorageError::ConditionFailed { .. } | StorageError::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.writes().note(id, Instant::now());
        Ok(())
    }

    /// Lets an upload expire later for as long as this is waited for.
    pub(super) async fn stay_alive(&self, id: &UploadId) -> Infallible {
        loop {
            tokio::time::sleep(self.write_every()).await;
            if let Err(error) = self.keep_alive(id).await {
                tracing::warn!(upload.id = %id, %error, "an upload that is being sent could not be kept from expiring");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_is_due_when_none_was_noted_for_so_long() {
        let (mut writes, id, start) = (Writes::default(), UploadId::of("a", "1", "x"), Instant::now());
        let every = Duration::from_secs(5);
        assert!(writes.is_due(&id, every, start));
        writes.note(&id, start);
        assert!(!writes.is_due(&id, every, start + Duration::from_secs(4)));
        assert!(writes.is_due(&id, every, start + every));
        writes.keep(&HashSet::new());
        assert!(writes.is_due(&id, every, start));
    }
}
