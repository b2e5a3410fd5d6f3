//! Blobs that arrive in pieces, in the folder `uploads/<id>/`: `data` is what arrived, `state` says how much of it counts.
//!
//! The state is written after the bytes that it speaks of are durable, so that it never promises more than there is; what
//! lies behind it in `data` is cut off when the session is resumed.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use data_encoding::BASE64;
use futures::future::{BoxFuture, FutureExt};
use serde::{Deserialize, Serialize};

use super::file::{Inner, blocking};
use super::file_state::age;
use super::file_write::{FinishedFileBlob, Place, make_folders};
use super::session::{Session, SessionId, SessionView};
use super::{FinishedBlob, Result, StorageError, keys};
use crate::digest::{Algorithm, Hasher};

/// Most bytes of a state.
const STATE_LIMIT: u64 = 64 << 10;
/// Bytes that are hashed at once where the digest wanted isn't the one computed on the way.
const CHUNK: usize = 1 << 20;

/// Who works on which session: a number that grows with every taking over. One process has the folder, so memory will do.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<HashMap<SessionId, Arc<Mutex<u64>>>>);

impl Sessions {
    fn turn(&self, id: SessionId) -> Arc<Mutex<u64>> {
        Arc::clone(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(id).or_default())
    }

    fn forget(&self, id: SessionId) {
        let turn = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        // Whoever works on it can't go on.
        if let Some(turn) = turn {
            *turn.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        }
    }
}

#[derive(Serialize, Deserialize)]
struct State {
    /// Base64 of the note.
    note: String,
    size: u64,
    /// State of the hash over these bytes.
    hash: String,
}

fn name(id: SessionId) -> String {
    keys::session_state(id).to_string()
}

impl Inner {
    fn session_state(&self, id: SessionId) -> Result<(State, Hasher)> {
        let failed = |error| StorageError::from_io(name(id), error);
        let file = File::open(self.path(&name(id))).map_err(failed)?;
        let mut bytes = Vec::new();
        file.take(STATE_LIMIT).read_to_end(&mut bytes).map_err(failed)?;
        let damaged = |message: String| failed(io::Error::new(io::ErrorKind::InvalidData, message));
        let state: State = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        let hasher = Hasher::resume(&state.hash).ok_or_else(|| damaged("the state of the hash is none".to_owned()))?;
        Ok((state, hasher))
    }

    pub(super) fn create_session(&self, id: SessionId, note: &[u8]) -> Result<()> {
        let failed = |error| StorageError::from_io(name(id), error);
        let hash = Hasher::new(Algorithm::Sha256).save();
        let state = State { note: BASE64.encode(note), size: 0, hash };
        let bytes = serde_json::to_vec(&state).map_err(|error| failed(error.into()))?;
        let (state, data) = (self.path(&name(id)), self.path(keys::session_data(id).as_str()));
        let _present = self.folders.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(folder) = state.parent() {
            make_folders(self, folder).map_err(failed)?;
        }
        // An empty session that a power cut takes is no loss; what arrives in it is synced when it is saved.
        OpenOptions::new().write(true).create_new(true).open(data).map_err(failed)?;
        fs::write(state, bytes).map_err(failed)
    }

    pub(super) fn view_session(&self, id: SessionId) -> Result<SessionView> {
        let (state, _) = self.session_state(id)?;
        // Without them it has ended, and only its state is left.
        let data = fs::metadata(self.path(keys::session_data(id).as_str()));
        data.map_err(|error| StorageError::from_io(name(id), error))?;
        let note = BASE64.decode(state.note.as_bytes()).unwrap_or_default();
        Ok(SessionView { note: note.into(), size: state.size })
    }

    pub(super) fn stale_sessions(&self, older_than: Duration) -> Result<Vec<SessionId>> {
        let failed = |error| StorageError::from_io(keys::UPLOADS, error);
        let folders = match fs::read_dir(self.path(keys::UPLOADS)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(failed)?,
        };
        let mut stale = Vec::new();
        for folder in folders {
            let folder = folder.map_err(failed)?;
            let Some(id) = folder.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            // A session without a state is what a crash left of one; its data tells how old it is.
            let found = fs::metadata(self.path(&name(id))).or_else(|_| folder.metadata());
            if found.is_ok_and(|found| age(&found).is_some_and(|age| age > older_than)) {
                stale.push(id);
            }
        }
        Ok(stale)
    }

    pub(super) fn drop_session(&self, id: SessionId) -> Result<()> {
        self.sessions.forget(id);
        for key in [keys::session_data(id), keys::session_state(id)] {
            self.delete(key.as_str()).map_err(|error| StorageError::from_io(key.as_str(), error))?;
        }
        Ok(())
    }
}

/// A session that somebody works on.
pub(super) struct FileSession {
    inner: Arc<Inner>,
    id: SessionId,
    turn: Arc<Mutex<u64>>,
    number: u64,
    note: String,
    size: u64,
    /// Away while a write runs; gone for good after one failed.
    open: Option<(File, Hasher)>,
}

impl FileSession {
    pub(super) fn resume(inner: Arc<Inner>, id: SessionId) -> Result<Self> {
        let failed = |error| StorageError::from_io(name(id), error);
        // Asked first, so that an id that nobody has leaves nothing in memory.
        inner.session_state(id)?;
        let turn = inner.sessions.turn(id);
        let mut current = turn.lock().unwrap_or_else(PoisonError::into_inner);
        // Read in the turn: whoever had it may just have saved.
        let (state, hasher) = inner.session_state(id)?;
        *current += 1;
        let number = *current;
        let path = inner.path(keys::session_data(id).as_str());
        let mut file = OpenOptions::new().read(true).write(true).open(path).map_err(failed)?;
        if file.metadata().map_err(failed)?.len() < state.size {
            return Err(failed(io::Error::new(io::ErrorKind::InvalidData, "fewer bytes are there than were saved")));
        }
        file.set_len(state.size).map_err(failed)?;
        file.seek(SeekFrom::End(0)).map_err(failed)?;
        drop(current);
        Ok(Self { inner, id, turn, number, note: state.note, size: state.size, open: Some((file, hasher)) })
    }

    fn take(&mut self) -> Result<(File, Hasher)> {
        self.open.take().ok_or_else(|| StorageError::Io {
            key: name(self.id),
            source: io::Error::other("an earlier write of this upload failed"),
        })
    }
}

/// Does something while nobody can take the session over; fails if somebody has.
fn in_turn<T>(id: SessionId, turn: &Mutex<u64>, number: u64, work: impl FnOnce() -> io::Result<T>) -> Result<T> {
    let current = turn.lock().unwrap_or_else(PoisonError::into_inner);
    if *current != number {
        return Err(StorageError::ConditionFailed { key: name(id) });
    }
    work().map_err(|error| StorageError::from_io(name(id), error))
}

impl Session for FileSession {
    fn size(&self) -> u64 {
        self.size
    }

    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<()>> {
        async move {
            let (mut file, mut hasher) = self.take()?;
            let (id, turn, number) = (self.id, Arc::clone(&self.turn), self.number);
            let length = bytes.len() as u64;
            let work = move || {
                in_turn(id, &turn, number, || file.write_all(&bytes))?;
                hasher.update(&bytes);
                Ok((file, hasher))
            };
            self.open = Some(blocking(keys::UPLOADS, work).await?);
            self.size += length;
            Ok(())
        }
        .boxed()
    }

    fn save(mut self: Box<Self>) -> BoxFuture<'static, Result<u64>> {
        async move {
            let (file, hasher) = self.take()?;
            let work = move || {
                let Self { inner, id, turn, number, note, size, .. } = *self;
                in_turn(id, &turn, number, || {
                    file.sync_data()?;
                    let state = serde_json::to_vec(&State { note, size, hash: hasher.save() })?;
                    let (place, _) = Place::write(&inner, &state)?;
                    place.rename(&inner, &name(id))
                })?;
                Ok(size)
            };
            blocking(keys::UPLOADS, work).await
        }
        .boxed()
    }

    fn finish(mut self: Box<Self>, algorithm: Algorithm) -> BoxFuture<'static, Result<Box<dyn FinishedBlob>>> {
        async move {
            let (mut file, mut hasher) = self.take()?;
            let work = move || {
                let Self { inner, id, turn, number, size, .. } = *self;
                let place = in_turn(id, &turn, number, || {
                    file.sync_all()?;
                    if hasher.algorithm() != algorithm {
                        hasher = hash_again(&mut file, algorithm)?;
                    }
                    // In the turn: who takes the session over next must find nothing that he could cut off.
                    Place::take(&inner, &inner.path(keys::session_data(id).as_str()))
                })?;
                inner.sessions.forget(id);
                let finished = FinishedFileBlob { inner, place, digest: hasher.finish(), size };
                Ok(Box::new(finished) as Box<dyn FinishedBlob>)
            };
            blocking(keys::UPLOADS, work).await
        }
        .boxed()
    }
}

fn hash_again(file: &mut File, algorithm: Algorithm) -> io::Result<Hasher> {
    let mut hasher = Hasher::new(algorithm);
    file.seek(SeekFrom::Start(0))?;
    let mut chunk = vec![0; CHUNK];
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(hasher),
            count => hasher.update(&chunk[..count]),
        }
    }
}
