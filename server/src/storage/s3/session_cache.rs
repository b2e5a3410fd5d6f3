//! What this instance knows of sessions by itself, to spare calls. It may be outdated: conditional writes tell.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::bounded::Bounded;
use super::session_state::State;
use crate::storage::Version;
use crate::storage::session::SessionId;

/// Sessions that are remembered, at least.
const SESSIONS: usize = 1024;

/// Sessions of which nothing has to be read.
#[derive(Debug)]
pub(super) struct SessionCache {
    /// Created here, and empty when last heard of.
    fresh: Mutex<Bounded<SessionId, (State, Version)>>,
    /// Finished here: what is left of them is their state.
    finished: Mutex<Bounded<SessionId, ()>>,
}

impl Default for SessionCache {
    fn default() -> Self {
        Self { fresh: Mutex::new(Bounded::new(SESSIONS)), finished: Mutex::new(Bounded::new(SESSIONS)) }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SessionCache {
    pub fn created(&self, id: SessionId, state: State, version: Version) {
        locked(&self.fresh).insert(id, (state, version));
    }

    pub fn take_fresh(&self, id: SessionId) -> Option<(State, Version)> {
        locked(&self.fresh).remove(&id)
    }

    pub fn finished(&self, id: SessionId) {
        locked(&self.finished).insert(id, ());
    }

    pub fn take_finished(&self, id: SessionId) -> bool {
        locked(&self.finished).remove(&id).is_some()
    }
}
