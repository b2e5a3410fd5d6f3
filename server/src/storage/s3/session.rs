//! Blobs that arrive in pieces, through any instance. Every taking over and every saving is a conditional write of the
//! session's state, so that whoever had it before fails at his next one.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::future::{BoxFuture, FutureExt};

use super::failure::Failure;
use super::inner::Inner;
use super::leftovers::Leftover;
use super::parts::Parts;
use super::session_state::State;
use super::small::Outcome;
use super::staged::FinishedS3Blob;
use crate::digest::{Algorithm, Digest, Hasher};
use crate::storage::session::{Session, SessionId, SessionView};
use crate::storage::{Condition, FinishedBlob, Item, Listing, PAGE, Result, StorageError, Version, keys};

/// Bytes from the beginning of a state that hold its line, whatever number of parts.
const STATE_LINE: u64 = 1 << 20;

fn name(id: SessionId) -> String {
    keys::session_state(id).to_string()
}

impl Inner {
    pub async fn create_session(&self, id: SessionId, note: &[u8]) -> Result<()> {
        let (key, state) = (name(id), State::new(note));
        match self.write(&key, &state.write(&key, &[])?, &Condition::Absent).await? {
            Outcome::Written(version) => {
                self.sessions.created(id, state, version);
                Ok(())
            }
            Outcome::Lost(_) => Err(StorageError::ConditionFailed { key }),
        }
    }

    pub async fn view_session(&self, id: SessionId) -> Result<SessionView> {
        Ok(self.session_state(&name(id)).await?.view())
    }

    /// The state without the bytes behind it.
    async fn session_state(&self, key: &str) -> Result<State> {
        let content = self.fetch_beginning(key, STATE_LINE).await?;
        let content = content.ok_or_else(|| StorageError::NotFound { key: key.to_owned() })?;
        Ok(State::read(key, &content)?.0)
    }

    async fn claim(&self, key: &str, state: &State, rest: &[u8], version: Version) -> Result<Option<Version>> {
        match self.write(key, &state.write(key, rest)?, &Condition::Unchanged(version)).await? {
            Outcome::Written(version) => Ok(Some(version)),
            Outcome::Lost(Some(_)) => Ok(None),
            Outcome::Lost(None) => Err(StorageError::NotFound { key: key.to_owned() }),
        }
    }

    pub async fn resume_session(self: &Arc<Self>, id: SessionId) -> Result<S3Session> {
        let key = name(id);
        if let Some((mut state, version)) = self.sessions.take_fresh(id) {
            state.begin_turn();
            if let Some(version) = self.claim(&key, &state, &[], version).await? {
                return S3Session::new(Arc::clone(self), id, state, BytesMut::new(), version);
            }
        }
        let object = self.fetch(&key, u64::MAX).await?;
        let object = object.ok_or_else(|| StorageError::NotFound { key: key.clone() })?;
        let (mut state, rest) = State::read(&key, &object.content)?;
        state.begin_turn();
        let claimed = self.claim(&key, &state, &rest, object.version).await?;
        let version = claimed.ok_or(StorageError::ConditionFailed { key })?;
        S3Session::new(Arc::clone(self), id, state, rest, version)
    }

    pub async fn drop_session(&self, id: SessionId) -> Result<()> {
        let key = name(id);
        self.sessions.take_fresh(id);
        if self.sessions.take_finished(id) {
            return self.remove_small(&key).await;
        }
        let upload = match self.session_state(&key).await {
            Ok(state) => state.upload.map(|upload| (keys::data(state.data), upload)),
            Err(StorageError::NotFound { .. }) => return Ok(()),
            // One that can't be read is dropped all the same; its parts go with other leftovers.
            Err(StorageError::Io { .. }) => None,
            Err(error) => return Err(error),
        };
        self.remove_small(&key).await?;
        match upload {
            Some((data, upload)) => {
                self.bucket.abort_multipart(&data, &upload).await.map_err(|failure| failure.at(data))
            }
            None => Ok(()),
        }
    }

    pub async fn stale_sessions(&self, older_than: Duration) -> Result<Vec<SessionId>> {
        let mut stale = Vec::new();
        self.each_object(keys::UPLOADS, |key, _, age| {
            if age.is_some_and(|age| age >= older_than) {
                stale.extend(session_of(&key));
            }
        })
        .await?;
        Ok(stale)
    }

    /// Multipart uploads that sessions go on with.
    pub async fn uploads_of_sessions(&self) -> Result<HashSet<String>> {
        let (mut needed, mut after): (HashSet<String>, Option<String>) = (HashSet::new(), None);
        loop {
            let listing = Listing { prefix: keys::UPLOADS, folders: false, after: after.as_deref(), limit: PAGE };
            let page = self.page(&listing).await?;
            for key in page.items.iter().map(Item::name).filter(|key| session_of(key).is_some()) {
                match self.session_state(key).await {
                    Ok(state) => needed.extend(state.upload),
                    Err(StorageError::NotFound { .. } | StorageError::Io { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            if !page.more {
                return Ok(needed);
            }
            after = page.items.last().map(|item| item.name().to_owned());
        }
    }
}

fn session_of(key: &str) -> Option<SessionId> {
    keys::session_of(key.strip_suffix("state")?)
}

/// A session that this process has taken over.
pub(super) struct S3Session {
    inner: Arc<Inner>,
    id: SessionId,
    state: State,
    version: Version,
    hasher: Hasher,
    size: u64,
    parts: Parts,
    /// The upload, while no saved state names it.
    unsaved: Leftover,
}

impl S3Session {
    fn new(inner: Arc<Inner>, id: SessionId, state: State, rest: BytesMut, version: Version) -> Result<Self> {
        let (hasher, unsaved) = (state.hasher(&name(id))?, Leftover::new(Arc::clone(&inner), state.data));
        let (upload, arrived) = (state.upload.clone(), state.parts.clone());
        let parts = Parts::resume(Arc::clone(&inner), state.data, upload, arrived, rest);
        Ok(Self { inner, id, size: state.size, state, version, hasher, parts, unsaved })
    }

    async fn save_now(mut self) -> Result<u64> {
        self.parts.settle().await?;
        self.save_state().await?;
        Ok(self.size)
    }

    /// Sends the last part and says in the state that it was the last: whoever takes the session over from here on can end it
    /// too, but with the same content alone, and whoever had it before can't. So all objects that are made of the upload, by
    /// whomever, are the same. An upload that no state names is nobody else's.
    async fn end(&mut self) -> Result<()> {
        if self.state.ended || self.state.upload.is_none() {
            return Ok(());
        }
        self.parts.send_rest().await?;
        self.state.ended = true;
        self.save_state().await
    }

    async fn save_state(&mut self) -> Result<()> {
        let new_upload = self.parts.upload.clone().filter(|_| self.state.upload.is_none());
        self.state.advance(self.size, &self.hasher);
        (self.state.upload, self.state.parts) = (self.parts.upload.clone(), self.parts.arrived.clone());
        let key = name(self.id);
        // Until an answer says otherwise the state that is there may name the upload.
        self.unsaved.is_in_use();
        let saved = self.inner.claim(&key, &self.state, &self.parts.rest, self.version.clone()).await?;
        let Some(version) = saved else {
            self.unsaved.is_upload(new_upload.as_ref());
            return Err(StorageError::ConditionFailed { key });
        };
        self.version = version;
        Ok(())
    }

    async fn finish_now(mut self, algorithm: Algorithm) -> Result<FinishedS3Blob> {
        self.end().await.map_err(|error| gone(error, self.id))?;
        let digest = if self.hasher.algorithm() == algorithm {
            Ok(self.hasher.finish())
        } else if self.parts.upload.is_none() {
            let mut hasher = Hasher::new(algorithm);
            hasher.update(&self.parts.rest);
            Ok(hasher.finish())
        } else {
            Err(self.state.data)
        };
        let (inner, size, upload) = (self.inner, self.size, self.state.upload);
        let staged = self.parts.finish(self.unsaved).await.map_err(|error| gone(error, self.id))?;
        let mut staged = staged.of_session(upload.as_ref());
        let digest = match digest {
            Ok(digest) => digest,
            Err(data) => {
                staged.complete().await?;
                inner.hash_data(&keys::data(data), algorithm).await?
            }
        };
        Ok(FinishedS3Blob { session: Some(self.id), staged, digest, size })
    }
}

/// An upload that isn't there any more means that the session was dropped or finished elsewhere.
fn gone(error: StorageError, id: SessionId) -> StorageError {
    if error.is_not_found() { StorageError::NotFound { key: name(id) } } else { error }
}

impl Inner {
    /// Reads bytes back to compute another digest than the one that was computed on their way.
    async fn hash_data(&self, key: &str, algorithm: Algorithm) -> Result<Digest> {
        let found = self.bucket.get(key, None).await.map_err(|failure: Failure| failure.at(key))?;
        let (mut hasher, mut body) = (Hasher::new(algorithm), found.body);
        while let Some(bytes) = body.try_next().await.map_err(|error| self.broken_off(key, &error))? {
            hasher.update(&bytes);
        }
        Ok(hasher.finish())
    }
}

impl Session for S3Session {
    fn size(&self) -> u64 {
        self.size
    }

    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<()>> {
        async move {
            if self.state.ended && !bytes.is_empty() {
                return Err(StorageError::ConditionFailed { key: name(self.id) });
            }
            self.hasher.update(&bytes);
            self.size += bytes.len() as u64;
            let written = self.parts.write(bytes).await;
            if self.state.upload.is_none() {
                self.unsaved.is_upload(self.parts.upload.as_ref());
            }
            written.map_err(|error| gone(error, self.id))
        }
        .boxed()
    }

    fn save(self: Box<Self>) -> BoxFuture<'static, Result<u64>> {
        self.save_now().boxed()
    }

    fn finish(self: Box<Self>, algorithm: Algorithm) -> BoxFuture<'static, Result<Box<dyn FinishedBlob>>> {
        async move {
            let finished = self.finish_now(algorithm).await?;
            Ok(Box::new(finished) as Box<dyn FinishedBlob>)
        }
        .boxed()
    }
}
