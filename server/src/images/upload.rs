//! Blobs on their way in: whole, in pieces, or from another repository.

use bytes::Bytes;

use super::{ImageError, Images};
use crate::digest::Digest;
use crate::incoming::{Incoming, Length, PourError, into_blob, into_session};
use crate::names::Repository;
use crate::storage::{FinishedBlob, Session, SessionId, StorageError};

/// A body up to this size goes straight into a blob: kept in a session it would be worth less than it costs.
const STRAIGHT: u64 = 64 << 20;

/// Which bytes of a blob a piece is, the last one included.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Span {
    /// First byte.
    pub first: u64,
    /// Last byte.
    pub last: u64,
}

impl Span {
    /// How many bytes.
    #[must_use]
    pub fn length(self) -> u64 {
        self.last.saturating_sub(self.first).saturating_add(1)
    }
}

impl Images {
    /// Starts a blob that arrives in pieces. What belongs to which repository is noted with the session.
    ///
    /// # Errors
    /// A store that fails.
    pub async fn begin_upload(&self, repository: &Repository) -> Result<SessionId, StorageError> {
        let id = SessionId::random();
        self.storage().create_session(id, Bytes::copy_from_slice(repository.as_str().as_bytes())).await?;
        Ok(id)
    }

    /// Bytes that pieces should have at least; 0 where that doesn't matter.
    #[must_use]
    pub fn least_piece(&self) -> u64 {
        self.storage().least_piece()
    }

    /// Bytes that arrived so far.
    ///
    /// # Errors
    /// No such session in that repository, a store that fails.
    pub async fn upload_size(&self, repository: &Repository, id: SessionId) -> Result<u64, ImageError> {
        match self.storage().view_session(id).await {
            Ok(view) if view.note == repository.as_str().as_bytes() => Ok(view.size),
            Ok(_) => Err(ImageError::UploadUnknown),
            Err(error) => Err(PourError::from(error).into()),
        }
    }

    /// Adds a piece and says how much has arrived in all. What came before an interruption is kept.
    ///
    /// # Errors
    /// No such session, a piece that doesn't begin where the last one ended, a body that breaks off or has another length
    /// than `span` says, a store that fails.
    pub async fn append(
        &self,
        repository: &Repository,
        id: SessionId,
        span: Option<Span>,
        body: Incoming<'_>,
    ) -> Result<u64, ImageError> {
        // Looked at before the session is taken over, so that a request out of order doesn't end one that goes well.
        in_order(span, self.upload_size(repository, id).await?)?;
        let session = self.pour_on(id, span, body).await?;
        Ok(session.save().await.map_err(PourError::from)?)
    }

    /// Ends a blob, with a last piece or without, under the digest that it must have.
    ///
    /// # Errors
    /// Those of [`Images::append`], and content with another digest: nothing is kept then.
    pub async fn finish_upload(
        &self,
        repository: &Repository,
        id: SessionId,
        digest: &Digest,
        span: Option<Span>,
        length: Option<u64>,
        body: Incoming<'_>,
    ) -> Result<(), ImageError> {
        let size = self.upload_size(repository, id).await?;
        in_order(span, size)?;
        let straight = size == 0 && length.is_some_and(|length| length <= STRAIGHT);
        let finished = if straight {
            into_blob(self.storage(), digest.algorithm(), length_of(span), body).await?
        } else {
            let session = self.pour_on(id, span, body).await?;
            session.finish(digest.algorithm()).await.map_err(PourError::from)?
        };
        let taken = self.take_in(repository, digest, finished).await;
        // Poured straight, it is still what it was before, and can be sent again to a store that failed.
        let again = straight && matches!(taken, Err(ImageError::Store { .. }));
        if !again && let Err(error) = self.storage().drop_session(id).await {
            tracing::warn!(%error, "an upload that has ended is left for later");
        }
        taken
    }

    /// Takes a blob in that comes whole, without a session.
    ///
    /// # Errors
    /// A body that breaks off or has another digest, a store that fails: nothing is kept.
    pub async fn upload_whole(
        &self,
        repository: &Repository,
        digest: &Digest,
        body: Incoming<'_>,
    ) -> Result<(), ImageError> {
        let finished = into_blob(self.storage(), digest.algorithm(), Length::Any, body).await?;
        self.take_in(repository, digest, finished).await
    }

    /// Forgets a session and what arrived in it.
    ///
    /// # Errors
    /// No such session in that repository, a store that fails.
    pub async fn cancel_upload(&self, repository: &Repository, id: SessionId) -> Result<(), ImageError> {
        self.upload_size(repository, id).await?;
        Ok(self.storage().drop_session(id).await?)
    }

    /// Links a blob of another repository. False if that one doesn't serve it, or the bytes are gone.
    ///
    /// # Errors
    /// A store that fails.
    pub async fn mount(&self, repository: &Repository, from: &Repository, digest: &Digest) -> Result<bool, ImageError> {
        let mut pins = self.catalogue.pins().set();
        pins.pin(digest.clone()).await;
        if !self.renew(from, digest).await? {
            return Ok(false);
        }
        self.link_blob(repository, digest).await?;
        Ok(true)
    }

    async fn pour_on(
        &self,
        id: SessionId,
        span: Option<Span>,
        body: Incoming<'_>,
    ) -> Result<Box<dyn Session>, ImageError> {
        let first = span.map(|span| span.first);
        Ok(into_session(self.storage(), id, first, length_of(span), body).await?)
    }

    /// Makes a blob visible in a repository, if it is the right one.
    async fn take_in(
        &self,
        repository: &Repository,
        wanted: &Digest,
        finished: Box<dyn FinishedBlob>,
    ) -> Result<(), ImageError> {
        if finished.digest() != wanted {
            return Err(ImageError::Digest { wanted: wanted.clone(), found: finished.digest().clone() });
        }
        let mut pins = self.catalogue.pins().set();
        pins.pin(wanted.clone()).await;
        finished.commit().await?;
        self.link_blob(repository, wanted).await
    }
}

fn length_of(span: Option<Span>) -> Length {
    span.map_or(Length::Any, |span| Length::Exactly(span.length()))
}

fn in_order(span: Option<Span>, size: u64) -> Result<(), ImageError> {
    match span {
        Some(span) if span.first != size => Err(ImageError::OutOfOrder { size }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_span_counts_both_ends() {
        assert_eq!(Span { first: 0, last: 0 }.length(), 1);
        assert_eq!(Span { first: 0, last: u64::MAX }.length(), u64::MAX);
    }
}
