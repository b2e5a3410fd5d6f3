//! Blobs that arrive in pieces.

use std::sync::Arc;

use bytes::Bytes;
use snafu::{OptionExt, ensure};

use super::error::{NoSuchBlobSnafu, UploadError, WrongDigestSnafu, WrongOffsetSnafu};
use super::record::Record;
use super::{UploadId, Uploads};
use crate::digest::{Algorithm, Digest};
use crate::incoming::{Incoming, Length, PourError, into_session};
use crate::names::shorten;
use crate::storage::{Session, SessionId, StorageError};

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
    pub async fn append(
        &self,
        id: &UploadId,
        digest: &str,
        offset: u64,
        body: Incoming<'_>,
    ) -> Result<u64, UploadError> {
        let wanted = self.wanted(id, digest).await?;
        self.hold(&wanted.record).await;
        self.keep_alive(id).await?;
        if self.store().size(&wanted.digest).await?.is_some() {
            ensure!(offset == wanted.size, WrongOffsetSnafu { offset: wanted.size });
            return Ok(wanted.size);
        }
        // Looked at before the session is taken over, so that a request out of order doesn't end one that goes well.
        let arrived = self.session_size(&wanted).await?;
        ensure!(offset == arrived, WrongOffsetSnafu { offset: arrived });
        let length = Length::AtMost(wanted.size.saturating_sub(offset));
        let storage = self.store().storage.as_ref();
        let poured = tokio::select! {
            poured = into_session(storage, wanted.session, Some(offset), length, body) => poured,
            never = self.stay_alive(id) => match never {},
        };
        let session = poured.map_err(|error| of_blob(error, &wanted))?;
        if session.size() < wanted.size {
            return session.save().await.map_err(|error| of_blob(error.into(), &wanted));
        }
        self.finish(session, &wanted).await
    }

    async fn finish(&self, session: Box<dyn Session>, wanted: &Wanted) -> Result<u64, UploadError> {
        let finished = session.finish(Algorithm::Sha256).await.map_err(|error| of_blob(error.into(), wanted))?;
        let found = finished.digest().clone();
        if found != wanted.digest {
            drop(finished);
            self.store().storage.drop_session(wanted.session).await?;
            return WrongDigestSnafu { expected: wanted.digest.clone(), found }.fail();
        }
        let committed = finished.commit().await;
        // Where what had arrived is gone, the blob is sent again from its beginning.
        if committed.as_ref().map_or_else(StorageError::is_not_found, |()| true) {
            self.store().storage.drop_session(wanted.session).await?;
        }
        committed.map_err(|error| of_blob(error.into(), wanted))?;
        Ok(wanted.size)
    }

    /// Bytes that arrived in the blob's session, which is made where there is none.
    async fn session_size(&self, wanted: &Wanted) -> Result<u64, UploadError> {
        let storage = &self.store().storage;
        match storage.view_session(wanted.session).await {
            Err(error) if error.is_not_found() => {}
            other => return Ok(other?.size),
        }
        // Somebody else may make it at the same time; the one or the other is gone on with.
        let made = storage.create_session(wanted.session, Bytes::from(wanted.digest.to_string())).await;
        let viewed = storage.view_session(wanted.session).await;
        match (made, viewed) {
            (Err(error), Err(_)) => Err(error.into()),
            (_, viewed) => Ok(viewed?.size),
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

/// What came of pouring, in the words of an upload.
fn of_blob(error: PourError, wanted: &Wanted) -> UploadError {
    match error {
        // Somebody else sends the same blob, or has just completed it.
        PourError::Gone | PourError::Taken => {
            UploadError::Conflict { message: "somebody else sends this blob too: ask for its offset again".to_owned() }
        }
        PourError::OutOfOrder { size } => UploadError::WrongOffset { offset: size },
        PourError::Length { .. } => UploadError::TooLong { digest: wanted.digest.clone(), size: wanted.size },
        PourError::Interrupted { why, size } => UploadError::Broken { offset: size, why },
        PourError::Store { source } => source.into(),
    }
}
