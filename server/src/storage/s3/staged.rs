//! Bytes that are all in the bucket, and how they become a blob.

use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt};
use uuid::Uuid;

use super::failure::Failure;
use super::inner::Inner;
use super::leftovers::Leftover;
use super::pointer::{Known, Pointer};
use super::small::{Object, Outcome};
use crate::digest::Digest;
use crate::storage::{Condition, FinishedBlob, Result, SessionId, StorageError, keys};

/// How often it is tried to agree with others who write the same blob.
const TURNS: u32 = 16;

/// Bytes in the bucket that no pointer names. Dropped, they are removed where nobody else can have given them one.
pub(super) struct Staged {
    inner: Arc<Inner>,
    data: Uuid,
    /// `ETag`s of the parts, while the object still has to be made of them.
    parts: Vec<String>,
    leftover: Leftover,
    likely_new: bool,
}

impl Staged {
    pub fn new(inner: Arc<Inner>, data: Uuid, parts: Vec<String>, leftover: Leftover) -> Self {
        Self { inner, data, parts, leftover, likely_new: false }
    }

    /// What a session staged: a blob that clients have asked for before they sent it. `upload` is what the session's state
    /// names: who takes the session over may complete it too, of the same parts.
    pub fn of_session(mut self, upload: Option<&String>) -> Self {
        if upload.is_some() {
            self.leftover.is_shared_upload(upload);
        }
        self.likely_new = true;
        self
    }

    /// Makes an object of the parts, unless it is one.
    pub async fn complete(&mut self) -> Result<()> {
        let Some(upload) = self.leftover.upload().map(ToOwned::to_owned) else { return Ok(()) };
        let key = keys::data(self.data);
        self.leftover.may_be_an_object();
        match self.inner.bucket.complete_multipart(&key, &upload, &self.parts).await {
            Ok(()) => {}
            // It was made of the same parts already, by an attempt whose answer was lost or by who ends the session too:
            // there is no upload any more, but the object.
            Err(Failure::Missing) => {
                let made = self.inner.bucket.size(&key).await.map_err(|failure| failure.at(&key))?;
                made.ok_or(StorageError::NotFound { key })?;
            }
            Err(failure) => return Err(failure.at(key)),
        }
        self.leftover.is_no_upload_any_more();
        Ok(())
    }

    /// Makes them visible under their digest, unless others were quicker.
    async fn publish(mut self, digest: &Digest, size: u64) -> Result<()> {
        let key = keys::blob(digest);
        let key = key.as_str();
        // Where an object has to be made first, it is worth a call to know whether it is needed.
        if !self.parts.is_empty()
            && !self.likely_new
            && let Some(there) = self.inner.fetch(key, u64::MAX).await?
            && self.inner.keep(key, &there, size).await?
        {
            return Ok(());
        }
        self.complete().await?;
        let pointer = Pointer { data: self.data, size };
        let mut condition = Condition::Absent;
        for _ in 0..TURNS {
            // Until an answer says otherwise the pointer may be there and lead to them.
            self.leftover.is_in_use();
            let there = match self.inner.write(key, &pointer.content(), &condition).await? {
                Outcome::Written(version) => {
                    self.inner.pointers().insert(key.to_owned(), Known::new(pointer, version));
                    return Ok(());
                }
                // Ours, made new by somebody else since.
                Outcome::Lost(Some(there)) if there.content == pointer.content() => return Ok(()),
                Outcome::Lost(there) => there,
            };
            self.leftover.may_be_an_object();
            condition = match there {
                None => Condition::Absent,
                Some(there) if self.inner.keep(key, &there, size).await? => return Ok(()),
                Some(there) => Condition::Unchanged(there.version),
            };
        }
        Err(Failure::Conflict.at(key))
    }
}

impl Inner {
    /// Makes a blob new that is there already. False if it can't be kept: its bytes are gone, or it was removed just now.
    async fn keep(&self, key: &str, there: &Object, size: u64) -> Result<bool> {
        let Ok(pointer) = serde_json::from_slice::<Pointer>(&there.content) else { return Ok(false) };
        let found = self.bucket.size(&pointer.data_key()).await.map_err(|failure| failure.at(key))?;
        if pointer.size != size || found != Some(size) {
            return Ok(false);
        }
        let condition = Condition::Unchanged(there.version.clone());
        match self.write(key, &there.content, &condition).await? {
            Outcome::Written(version) => {
                self.pointers().insert(key.to_owned(), Known::new(pointer, version));
                Ok(true)
            }
            // Others write the same blob at this very moment; theirs is as good while it points to the same bytes.
            Outcome::Lost(Some(now)) => Ok(now.content == there.content),
            Outcome::Lost(None) => Ok(false),
        }
    }
}

/// A blob whose bytes are all in the bucket.
pub(super) struct FinishedS3Blob {
    /// The session that they arrived in.
    pub session: Option<SessionId>,
    pub staged: Staged,
    pub digest: Digest,
    pub size: u64,
}

impl FinishedBlob for FinishedS3Blob {
    fn digest(&self) -> &Digest {
        &self.digest
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn commit(self: Box<Self>) -> BoxFuture<'static, Result<()>> {
        async move {
            let inner = Arc::clone(&self.staged.inner);
            self.staged.publish(&self.digest, self.size).await?;
            if let Some(id) = self.session {
                // Of the session only the state is left.
                inner.sessions.finished(id);
            }
            Ok(())
        }
        .boxed()
    }
}
