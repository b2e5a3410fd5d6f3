//! Which uploads this process works on.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::UploadId;

/// The uploads that this process works on, or is about to.
#[derive(Clone, Debug, Default)]
pub struct Running {
    ids: Arc<Mutex<HashSet<UploadId>>>,
}

/// Says that this process works on an upload until it is dropped, also with a request that ends before the work begins.
#[derive(Debug)]
pub struct Mark {
    running: Running,
    id: UploadId,
}

impl Running {
    fn ids(&self) -> MutexGuard<'_, HashSet<UploadId>> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Marks an upload; `None` where somebody has it already.
    #[must_use]
    pub fn mark(&self, id: &UploadId) -> Option<Mark> {
        self.ids().insert(id.clone()).then(|| Mark { running: self.clone(), id: id.clone() })
    }

    /// Whether somebody has it.
    #[must_use]
    pub fn has(&self, id: &UploadId) -> bool {
        self.ids().contains(id)
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        self.running.ids().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_has_one_mark_until_that_is_dropped() {
        let (running, id) = (Running::default(), UploadId::of("a", "1", "x"));
        let mark = running.mark(&id);
        assert!(mark.is_some() && running.has(&id));
        assert!(running.mark(&id).is_none());
        assert!(running.has(&id), "who got no mark takes none away");
        drop(mark);
        assert!(!running.has(&id) && running.mark(&id).is_some());
    }
}
