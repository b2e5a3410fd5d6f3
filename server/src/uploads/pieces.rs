//! Blobs that arrive in pieces.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use snafu::{OptionExt, ensure};

use super::error::{BrokenSnafu, NoSuchBlobSnafu, TooLongSnafu, UploadError, WrongDigestSnafu, WrongOffsetSnafu};
use super::record::Record;
use super::{UploadId, Uploads};
use crate::digest::{Algorithm, Digest};
use crate::names::shorten;
use crate::storage::{Session, SessionId, StorageError};

/// After so many bytes what arrived is made durable, so that a crash costs no more than that.
const SAVE: u64 = 64 << 20;
/// How long a sender may send nothing.
const SILENCE: Duration = Duration::from_mins(1);

/// A blob of an upload.
struct Wanted {
    record: Arc<Record>,
    digest: Digest,
    size: u64,
    session: SessionId,
}

impl Uploads {
    /// Bytes that the registry has of a blob: all of it, or what arrived so far.
    ///
    /// # Errors
    /// No such upload or blob, a store that fails.
    pub async fn offset(&self, id: &UploadId, digest: &str) -> Result<u64, UploadError> {
        let wanted = self.wanted(id, digest).await?;
        Ok(match self.store().size(&wanted.digest).await? {
            Some(_) => wanted.size,
            None => self.store().arrived(id, &wanted.digest).await?,
        })
    }

    /// Adds bytes to a blob from `offset` on. With the last of them the blob is checked and kept. Returns the bytes that the
    /// registry has now.
    ///
    /// # Errors
    /// Another offset than the registry's, too many or other bytes than announced, a transfer that breaks, a store that
    /// fails.
    pub async fn append<E: std::fmt::Display>(
        &self,
        id: &UploadId,
        digest: &str,
        offset: u64,
        body: impl Stream<Item = Result<Bytes, E>> + Send + Unpin,
    ) -> Result<u64, UploadError> {
        let wanted = self.wanted(id, digest).await?;
        self.hold(&wanted.record).await;
        self.keep_alive(id).await?;
        if self.store().size(&wanted.digest).await?.is_some() {
            ensure!(offset == wanted.size, WrongOffsetSnafu { offset: wanted.size });
            return Ok(wanted.size);
        }
        // Looked at before the session is taken over, so that a request out of order doesn't end one that goes well.
        let arrived = self.store().arrived(id, &wanted.digest).await?;
        ensure!(offset == arrived, WrongOffsetSnafu { offset: arrived });
        tokio::select! {
            sent = self.pour(&wanted, offset, body) => sent,
            never = self.stay_alive(id) => match never {},
        }
    }

    async fn pour<E: std::fmt::Display>(
        &self,
        wanted: &Wanted,
        offset: u64,
        mut body: impl Stream<Item = Result<Bytes, E>> + Send + Unpin,
    ) -> Result<u64, UploadError> {
        let mut session = self.session(wanted).await?;
        ensure!(session.size() == offset, WrongOffsetSnafu { offset: session.size() });
        let mut unsaved = 0;
        loop {
            let broken = match tokio::time::timeout(SILENCE, body.next()).await {
                Ok(None) => break,
                Ok(Some(Ok(bytes))) => {
                    let (digest, size) = (&wanted.digest, wanted.size);
                    let fits = session.size() + bytes.len() as u64 <= size;
                    ensure!(fits, TooLongSnafu { digest: digest.clone(), size });
                    unsaved += bytes.len() as u64;
                    session.write(bytes).await.map_err(overtaken)?;
                    if unsaved >= SAVE {
                        unsaved = 0;
                        let saved = session.save().await.map_err(overtaken)?;
                        session = self.session(wanted).await?;
                        ensure!(session.size() == saved, WrongOffsetSnafu { offset: session.size() });
                    }
                    continue;
                }
                Ok(Some(Err(error))) => error.to_string(),
                Err(_) => format!("nothing came for {} s", SILENCE.as_secs()),
            };
            let offset = session.save().await.map_err(overtaken)?;
            return BrokenSnafu { offset, message: broken }.fail();
        }
        if session.size() < wanted.size {
            return session.save().await.map_err(overtaken);
        }
        self.finish(session, wanted).await
    }

    async fn finish(&self, session: Box<dyn Session>, wanted: &Wanted) -> Result<u64, UploadError> {
        let finished = session.finish(Algorithm::Sha256).await.map_err(overtaken)?;
        let found = finished.digest().clone();
        if found != wanted.digest {
            drop(finished);
            self.store().storage.drop_session(wanted.session).await?;
            return WrongDigestSnafu { expected: wanted.digest.clone(), found }.fail();
        }
        finished.commit().await?;
        self.store().storage.drop_session(wanted.session).await?;
        Ok(wanted.size)
    }

    /// Takes the blob's session over, or makes it.
    async fn session(&self, wanted: &Wanted) -> Result<Box<dyn Session>, UploadError> {
        let storage = &self.store().storage;
        match storage.resume_session(wanted.session).await {
            Err(error) if error.is_not_found() => {}
            other => return Ok(other?),
        }
        // Somebody else may make it at the same time; the one or the other is resumed.
        let made = storage.create_session(wanted.session, Bytes::from(wanted.digest.to_string())).await;
        let resumed = storage.resume_session(wanted.session).await;
        match (made, resumed) {
            (Err(error), Err(_)) => Err(error.into()),
            (_, resumed) => Ok(resumed?),
        }
    }

    async fn wanted(&self, id: &UploadId, digest: &str) -> Result<Wanted, UploadError> {
        let (status, _) = self.status_of(id).await?;
        let record = self.store().record(id, &status.content).await?;
        let unknown = || NoSuchBlobSnafu { digest: shorten(digest) };
        let digest: Digest = digest.parse().ok().with_context(unknown)?;
        let size = *record.blobs.get(&digest).with_context(unknown)?;
        Ok(Wanted { record, session: id.session(&digest), digest, size })
    }
}

/// Somebody else sends the same blob, or has just completed it.
fn overtaken(error: StorageError) -> UploadError {
    match error {
        StorageError::ConditionFailed { .. } | StorageError::NotFound { .. } => {
            UploadError::Conflict { message: "somebody else sends this blob too: ask for its offset again".to_owned() }
        }
        error => error.into(),
    }
}
