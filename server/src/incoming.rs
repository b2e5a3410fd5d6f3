//! Bodies on their way into the store: put together into pieces that are worth a write, saved every now and then, and what
//! came of one that breaks off.

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use snafu::{Snafu, ensure};

use crate::digest::Algorithm;
use crate::storage::{self, BlobWriter, FinishedBlob, Session, SessionId, Storage, StorageError, keys};

/// Bytes that are handed to the store at once: small pieces are put together, so that each costs one change of threads.
const PIECE: usize = 512 << 10;
/// What arrives in a session is saved at least so often: what a crash costs.
const CHECKPOINT: u64 = 128 << 20;

/// A body as it arrives.
pub type Incoming<'a> = BoxStream<'a, Result<Bytes, Interruption>>;

/// Why a body ended before its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Snafu)]
pub enum Interruption {
    /// The connection broke, or what came was no body.
    #[snafu(display("the connection broke, or what came was no body"))]
    Broken,
    /// Too little came for too long.
    #[snafu(display("too little came for too long"))]
    Stalled,
}

/// How many bytes a body must bring.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Length {
    /// Any number.
    Any,
    /// So many.
    Exactly(u64),
    /// Not more than that.
    AtMost(u64),
}

impl Length {
    /// Whether it may be right after so many bytes.
    fn check(self, came: u64, ended: bool) -> Result<(), PourError> {
        match self {
            Self::Exactly(said) => ensure!(came <= said && !(ended && came < said), LengthSnafu { said, came }),
            Self::AtMost(said) => ensure!(came <= said, LengthSnafu { said, came }),
            Self::Any => {}
        }
        Ok(())
    }
}

/// Why a body did not get into the store, or not all of it.
#[derive(Debug, Snafu)]
pub enum PourError {
    /// There is no such session.
    #[snafu(display("there is no such session"))]
    Gone,
    /// Another request took the session over.
    #[snafu(display("another request has taken the session over"))]
    Taken,
    /// The body doesn't begin where the session is.
    #[snafu(display("{size} bytes have arrived"))]
    OutOfOrder {
        /// Bytes so far.
        size: u64,
    },
    /// More or fewer bytes came than were to come. Since the last save nothing is kept of them.
    #[snafu(display("{said} bytes were to come, {came} came"))]
    Length {
        /// Bytes that were to come.
        said: u64,
        /// Bytes that came.
        came: u64,
    },
    /// The body ended before its end.
    #[snafu(display("{why}; {size} bytes are kept"))]
    Interrupted {
        /// Why.
        why: Interruption,
        /// Bytes that the session has.
        size: u64,
    },
    /// The store failed.
    #[snafu(display("{source}"))]
    Store {
        /// Why.
        source: StorageError,
    },
}

/// What a store says of a session is told from what it says of anything else.
impl From<StorageError> for PourError {
    fn from(source: StorageError) -> Self {
        let session = |key: &str| key.starts_with(keys::UPLOADS);
        match source {
            StorageError::NotFound { key } if session(&key) => Self::Gone,
            StorageError::ConditionFailed { key } if session(&key) => Self::Taken,
            source => Self::Store { source },
        }
    }
}

/// Pours a body into a session from `first` on, wherever it is if that is not given, saving every now and then. What came
/// before an interruption is kept. The rest is left to [`Session::save`] or [`Session::finish`].
///
/// # Errors
/// Those of [`PourError`].
pub async fn into_session(
    storage: &dyn Storage,
    id: SessionId,
    first: Option<u64>,
    length: Length,
    mut body: Incoming<'_>,
) -> Result<Box<dyn Session>, PourError> {
    let mut session = storage.resume_session(id).await?;
    let begin = session.size();
    ensure!(first.is_none_or(|first| first == begin), OutOfOrderSnafu { size: begin });
    loop {
        let stop = session.size().saturating_add(CHECKPOINT);
        match pour(&mut session, length, begin, stop, &mut body).await {
            Ok(true) => return Ok(session),
            Ok(false) => {
                let size = session.save().await?;
                session = storage.resume_session(id).await?;
                ensure!(session.size() == size, TakenSnafu);
            }
            Err(PourError::Interrupted { why, .. }) => {
                let size = session.save().await?;
                return InterruptedSnafu { why, size }.fail();
            }
            Err(error) => return Err(error),
        }
    }
}

/// Pours a body into a blob. Nothing is kept of one that doesn't come whole.
///
/// # Errors
/// Those of [`PourError`].
pub async fn into_blob(
    storage: &dyn Storage,
    algorithm: Algorithm,
    length: Length,
    mut body: Incoming<'_>,
) -> Result<Box<dyn FinishedBlob>, PourError> {
    let mut writer = Counted { writer: storage.write_blob(algorithm).await?, size: 0 };
    pour(&mut writer, length, 0, u64::MAX, &mut body).await?;
    Ok(writer.writer.finish().await?)
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
    length: Length,
    begin: u64,
    stop: u64,
    body: &mut Incoming<'_>,
) -> Result<bool, PourError> {
    let mut next = gather(body).await;
    loop {
        let Gathered { bytes, end } = next;
        let came = vessel.size() - begin + bytes.len() as u64;
        length.check(came, matches!(end, Some(Ok(()))))?;
        match end {
            None if vessel.size() + bytes.len() as u64 >= stop => {
                vessel.write(bytes).await?;
                return Ok(false);
            }
            None => {
                let (written, gathered) = tokio::join!(vessel.write(bytes), gather(body));
                written?;
                next = gathered;
            }
            Some(end) => {
                if !bytes.is_empty() {
                    vessel.write(bytes).await?;
                }
                return end.map(|()| true).map_err(|why| PourError::Interrupted { why, size: vessel.size() });
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

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;
    use crate::storage::memory::MemoryStorage;

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

    #[tokio::test]
    async fn a_session_keeps_what_came_before_an_interruption_and_nothing_of_a_wrong_length() {
        let (storage, id) = (MemoryStorage::new(), SessionId::random());
        storage.create_session(id, Bytes::new()).await.unwrap();
        let into = async |first, length, body| match into_session(&storage, id, first, length, body).await {
            Ok(session) => Ok(session.save().await.unwrap()),
            Err(error) => Err(error.to_string()),
        };
        let cut = into(Some(0), Length::AtMost(9), body(&[3, 2], Some(Interruption::Stalled))).await;
        assert_eq!(cut, Err("too little came for too long; 5 bytes are kept".into()));
        assert_eq!(into(Some(4), Length::Any, body(&[1], None)).await, Err("5 bytes have arrived".into()));
        for (length, bytes) in [(Length::Exactly(3), 2), (Length::Exactly(3), 4), (Length::AtMost(3), 4)] {
            let said = format!("3 bytes were to come, {bytes} came");
            assert_eq!(into(Some(5), length, body(&[bytes], None)).await, Err(said));
        }
        assert_eq!(into(Some(5), Length::AtMost(3), body(&[2], None)).await, Ok(7));
        assert_eq!(into(None, Length::Exactly(3), body(&[1, 2], None)).await, Ok(10));
        storage.drop_session(id).await.unwrap();
        assert_eq!(into(None, Length::Any, body(&[], None)).await, Err("there is no such session".into()));
    }
}
