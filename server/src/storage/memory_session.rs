//! Blobs that arrive in pieces, in memory.

use std::io;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures::future::{BoxFuture, FutureExt, ready};

use super::memory::{FinishedMemoryBlob, MemoryStorage};
use super::session::{Session, SessionId, SessionView};
use super::{FinishedBlob, Result, StorageError, keys};
use crate::digest::{Algorithm, Hasher};

/// What is there of a session.
#[derive(Debug)]
pub(super) struct Pieces {
    note: Bytes,
    saved: BytesMut,
    /// How often it was taken over.
    turn: u64,
    since: Instant,
}

impl Pieces {
    pub(super) fn new(note: Bytes) -> Self {
        Self { note, saved: BytesMut::new(), turn: 0, since: Instant::now() }
    }

    pub(super) fn view(&self) -> SessionView {
        SessionView { note: self.note.clone(), size: self.saved.len() as u64 }
    }

    pub(super) fn age(&self) -> Duration {
        self.since.elapsed()
    }
}

/// A session that somebody works on.
pub(super) struct MemorySession {
    storage: MemoryStorage,
    id: SessionId,
    turn: u64,
    before: u64,
    new: BytesMut,
}

impl MemorySession {
    pub(super) fn resume(storage: &MemoryStorage, id: SessionId) -> Result<Self> {
        let mut sessions = storage.sessions();
        let not_found = || StorageError::NotFound { key: keys::session_state(id).to_string() };
        let pieces = sessions.get_mut(&id).ok_or_else(not_found)?;
        pieces.turn += 1;
        let (turn, before) = (pieces.turn, pieces.saved.len() as u64);
        Ok(Self { storage: storage.clone(), id, turn, before, new: BytesMut::new() })
    }

    /// Does something with the session if it is still ours.
    fn in_turn<T>(&self, work: impl FnOnce(&mut Pieces) -> T) -> Result<T> {
        let key = || keys::session_state(self.id).to_string();
        match self.storage.sessions().get_mut(&self.id) {
            None => Err(StorageError::NotFound { key: key() }),
            Some(pieces) if pieces.turn != self.turn => Err(StorageError::ConditionFailed { key: key() }),
            Some(pieces) => Ok(work(pieces)),
        }
    }
}

impl Session for MemorySession {
    fn size(&self) -> u64 {
        self.before + self.new.len() as u64
    }

    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<()>> {
        let ours = self.in_turn(|_| ());
        if ours.is_ok() {
            self.new.extend_from_slice(&bytes);
        }
        ready(ours).boxed()
    }

    fn save(self: Box<Self>) -> BoxFuture<'static, Result<u64>> {
        let saved = self.in_turn(|pieces| {
            pieces.saved.extend_from_slice(&self.new);
            pieces.since = Instant::now();
            pieces.saved.len() as u64
        });
        ready(saved).boxed()
    }

    fn finish(self: Box<Self>, algorithm: Algorithm) -> BoxFuture<'static, Result<Box<dyn FinishedBlob>>> {
        let taken = self.in_turn(|pieces| {
            // What was finished can't be resumed.
            pieces.turn += 1;
            std::mem::take(&mut pieces.saved)
        });
        let finished = taken.and_then(|mut bytes| {
            bytes.extend_from_slice(&self.new);
            if bytes.len() as u64 != self.size() {
                let source = io::Error::other("the upload was finished before");
                return Err(StorageError::Io { key: keys::session_state(self.id).to_string(), source });
            }
            let mut hasher = Hasher::new(algorithm);
            hasher.update(&bytes);
            let digest = hasher.finish();
            let finished = FinishedMemoryBlob { storage: self.storage.clone(), digest, bytes: bytes.freeze() };
            Ok(Box::new(finished) as Box<dyn FinishedBlob>)
        });
        ready(finished).boxed()
    }
}
