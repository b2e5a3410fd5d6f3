//! Blobs on their way in: whole, in pieces, or from another repository.

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;

use super::{ImageError, Images, Interruption};
use crate::digest::Digest;
use crate::names::Repository;
use crate::storage::{self, BlobWriter, FinishedBlob, Session, SessionId, StorageError, keys};

/// Bytes that are handed to the store at once: small pieces are put together, so that each costs one change of threads.
const PIECE: usize = 512 << 10;
/// What arrives in a session is saved at least so often: what a crash costs.
const CHECKPOINT: u64 = 128 << 20;
/// A body up to this size goes straight into a blob: kept in a session it would be worth less than it costs.
const STRAIGHT: u64 = 64 << 20;

/// A body as it arrives.
pub type Incoming<'a> = BoxStream<'a, Result<Bytes, Interruption>>;

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
            Err(error) => Err(of_session(error)),
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
        session.save().await.map_err(of_session)
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
            self.pour_straight(digest, span, body).await?
        } else {
            let session = self.pour_on(id, span, body).await?;
            session.finish(digest.algorithm()).await.map_err(of_session)?
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
        let finished = self.pour_straight(digest, None, body).await?;
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

    /// Pours a body into a session, saving every now and then, and what came when it breaks off.
    async fn pour_on(
        &self,
        id: SessionId,
        span: Option<Span>,
        mut body: Incoming<'_>,
    ) -> Result<Box<dyn Session>, ImageError> {
        let mut session = self.storage().resume_session(id).await.map_err(of_session)?;
        let begin = session.size();
        in_order(span, begin)?;
        loop {
            let stop = session.size().saturating_add(CHECKPOINT);
            match pour(&mut session, span, begin, stop, &mut body).await {
                Ok(true) => return Ok(session),
                Ok(false) => {
                    let size = session.save().await.map_err(of_session)?;
                    session = self.storage().resume_session(id).await.map_err(of_session)?;
                    if session.size() != size {
                        return Err(ImageError::UploadTaken);
                    }
                }
                Err(ImageError::Interrupted { why, .. }) => {
                    let size = session.save().await.map_err(of_session)?;
                    return Err(ImageError::Interrupted { why, size });
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn pour_straight(
        &self,
        digest: &Digest,
        span: Option<Span>,
        mut body: Incoming<'_>,
    ) -> Result<Box<dyn FinishedBlob>, ImageError> {
        let mut writer = Counted { writer: self.storage().write_blob(digest.algorithm()).await?, size: 0 };
        pour(&mut writer, span, 0, u64::MAX, &mut body).await?;
        Ok(writer.writer.finish().await?)
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

/// What a body is poured into.
trait Vessel: Send {
    fn size(&self) -> u64;
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, storage::Result<()>>;
}

impl Vessel for Box<dyn Session> {
    fn size(&self) -> u64 {
        (**self).size()
    }

    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, storage::Result<()>> {
        (**self).write(bytes)
    }
}

struct Counted {
    writer: Box<dyn BlobWriter>,
    size: u64,
}

impl Vessel for Counted {
    fn size(&self) -> u64 {
        self.size
    }

    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, storage::Result<()>> {
        self.size += bytes.len() as u64;
        self.writer.write(bytes)
    }
}

/// Pours until the body ends (true) or the vessel holds `stop` bytes (false). While one piece is written the next one is
/// taken from the line. What was taken before an interruption is in the vessel.
async fn pour(
    vessel: &mut impl Vessel,
    span: Option<Span>,
    begin: u64,
    stop: u64,
    body: &mut Incoming<'_>,
) -> Result<bool, ImageError> {
    let mut next = gather(body).await;
    loop {
        let Gathered { bytes, end } = next;
        let came = vessel.size() - begin + bytes.len() as u64;
        if let Some(span) = span
            && (came > span.length() || matches!(end, Some(Ok(()))) && came < span.length())
        {
            return Err(ImageError::Length { said: span.length(), came });
        }
        match end {
            None if vessel.size() + bytes.len() as u64 >= stop => {
                vessel.write(bytes).await.map_err(of_session)?;
                return Ok(false);
            }
            None => {
                let (written, gathered) = tokio::join!(vessel.write(bytes), gather(body));
                written.map_err(of_session)?;
                next = gathered;
            }
            Some(end) => {
                if !bytes.is_empty() {
                    vessel.write(bytes).await.map_err(of_session)?;
                }
                return end.map(|()| true).map_err(|why| ImageError::Interrupted { why, size: vessel.size() });
            }
        }
    }
}

struct Gathered {
    bytes: Bytes,
    /// How the body ended, if it did.
    end: Option<Result<(), Interruption>>,
}

/// The next piece of a body. A frame that is large enough is passed on as it is.
async fn gather(body: &mut Incoming<'_>) -> Gathered {
    let mut together = BytesMut::new();
    loop {
        match body.next().await {
            Some(Ok(frame)) if together.is_empty() && frame.len() >= PIECE => {
                return Gathered { bytes: frame, end: None };
            }
            Some(Ok(frame)) => {
                if together.is_empty() {
                    together.reserve(PIECE + frame.len());
                }
                together.extend_from_slice(&frame);
                if together.len() >= PIECE {
                    return Gathered { bytes: together.freeze(), end: None };
                }
            }
            Some(Err(why)) => return Gathered { bytes: together.freeze(), end: Some(Err(why)) },
            None => return Gathered { bytes: together.freeze(), end: Some(Ok(())) },
        }
    }
}

fn in_order(span: Option<Span>, size: u64) -> Result<(), ImageError> {
    match span {
        Some(span) if span.first != size => Err(ImageError::OutOfOrder { size }),
        _ => Ok(()),
    }
}

/// What a store says of a session, in the words of an upload.
fn of_session(error: StorageError) -> ImageError {
    let session = |key: &str| key.starts_with(keys::UPLOADS);
    match error {
        StorageError::NotFound { key } if session(&key) => ImageError::UploadUnknown,
        StorageError::ConditionFailed { key } if session(&key) => ImageError::UploadTaken,
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream;

    fn body(frames: &[usize], end: Option<Interruption>) -> Incoming<'static> {
        let frames: Vec<_> = frames.iter().map(|size| Ok(Bytes::from(vec![1; *size]))).collect();
        stream::iter(frames).chain(stream::iter(end.map(Err))).boxed()
    }

    #[tokio::test]
    async fn small_frames_are_put_together_and_large_ones_passed_on() {
        let mut small = body(&[PIECE / 2, PIECE / 2, 5], None);
        let first = gather(&mut small).await;
        assert_eq!((first.bytes.len(), first.end), (PIECE, None));
        let rest = gather(&mut small).await;
        assert_eq!((rest.bytes.len(), rest.end), (5, Some(Ok(()))));
        let mut large = body(&[PIECE * 3], None);
        assert_eq!(gather(&mut large).await.bytes.len(), PIECE * 3);
    }

    #[tokio::test]
    async fn what_came_before_an_interruption_is_not_lost() {
        let mut broken = body(&[7, 8], Some(Interruption::Broken));
        let gathered = gather(&mut broken).await;
        assert_eq!((gathered.bytes.len(), gathered.end), (15, Some(Err(Interruption::Broken))));
    }

    #[test]
    fn the_length_of_a_span_counts_both_ends() {
        assert_eq!(Span { first: 0, last: 0 }.length(), 1);
        assert_eq!(Span { first: 0, last: u64::MAX }.length(), u64::MAX);
    }
}
