//! From a declared source to a published package: fetched, checked and stored in one pass, visible whole or not at all.

pub mod addresses;
pub mod fetch;
pub mod policy;
mod sink;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use api::{DeclarationSpec, FailureReason, PackageSource, Progress, State};
use bundle::model::Bundle;
use bundle::stream::{Limits, ReadError};
use snafu::Snafu;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio_util::sync::CancellationToken;

use crate::catalogue::entry::{Declared, Entry};
use crate::catalogue::{Catalogue, Intent, Number, PublishError, ReadError as CatalogueError};
use crate::digest::{Algorithm, Digest, Hasher};
use crate::storage::StorageError;
use fetch::{Fetch, FetchError};
use policy::SourcePolicy;
pub use sink::StoreSink;
use sink::{ChannelReader, Gather, SinkError};

/// Pieces of a transfer that wait for the reader, at most.
const WAITING_PIECES: usize = 8;

/// Why a declaration's package is not in the catalogue.
#[derive(Debug, Snafu)]
pub enum IngestError {
    /// The source could not be read.
    #[snafu(display("{source}"), context(false))]
    Fetch {
        /// Why.
        source: FetchError,
    },
    /// The bytes are others than promised.
    #[snafu(display("the file has sha256 {found}, the declaration says {expected}; one of them is wrong"))]
    Mismatch {
        /// Of the bytes.
        found: String,
        /// Of the declaration.
        expected: String,
    },
    /// The bundle is wrong, or the store failed while it was read.
    #[snafu(display("{source}"))]
    Bundle {
        /// Why.
        source: Box<ReadError<SinkError>>,
    },
    /// It could not be published.
    #[snafu(display("{source}"), context(false))]
    Publish {
        /// Why.
        source: PublishError,
    },
    /// Somebody withdrew or replaced the declaration.
    #[snafu(display("the declaration was withdrawn or replaced"))]
    Cancelled,
    /// The reading thread stopped.
    #[snafu(display("reading the bundle stopped: {message}"))]
    Stopped {
        /// Why.
        message: String,
    },
}

impl IngestError {
    /// The reason in the API's words.
    #[must_use]
    pub fn reason(&self) -> FailureReason {
        match self {
            Self::Fetch { source } => match source {
                FetchError::NotAllowed { .. } => FailureReason::NotAllowed,
                FetchError::Unauthorized { .. } => FailureReason::AuthenticationFailed,
                FetchError::TooLarge { .. } => FailureReason::InvalidBundle,
                _ => FailureReason::FetchFailed,
            },
            Self::Mismatch { .. } => FailureReason::DigestMismatch,
            Self::Bundle { source } => match source.as_ref() {
                ReadError::Invalid { .. } | ReadError::Sink { source: SinkError::Input { .. } } => {
                    FailureReason::InvalidBundle
                }
                ReadError::Unsupported { .. } => FailureReason::UnsupportedPackagingVersion,
                ReadError::Sink { source: SinkError::Store { source } } => store_reason(source),
                ReadError::Input { .. } | ReadError::Sink { .. } => FailureReason::FetchFailed,
            },
            Self::Publish { source } => match source {
                PublishError::AlreadyDeclared { .. } => FailureReason::AlreadyDeclared,
                PublishError::Store { source } | PublishError::Read { source: CatalogueError::Store { source } } => {
                    store_reason(source)
                }
                PublishError::Conflict { .. } | PublishError::Read { .. } => FailureReason::Conflict,
                PublishError::Cancelled
                | PublishError::Lacking { .. }
                | PublishError::NumbersTaken { .. }
                | PublishError::Outrun { .. } => FailureReason::FetchFailed,
                PublishError::Entry { .. } | PublishError::Json { .. } | PublishError::TooLarge { .. } => {
                    FailureReason::InvalidBundle
                }
            },
            Self::Cancelled | Self::Stopped { .. } => FailureReason::FetchFailed,
        }
    }
}

/// A store that fails otherwise than by being full is worth another attempt, like a source that fails.
fn store_reason(error: &StorageError) -> FailureReason {
    match error {
        StorageError::StorageFull { .. } => FailureReason::StorageFull,
        _ => FailureReason::FetchFailed,
    }
}

/// How far an ingest is. Shared with who asks.
#[derive(Debug, Default)]
pub struct Meter {
    state: AtomicU8,
    done: AtomicU64,
    total: AtomicU64,
}

impl Meter {
    /// State on the way into the catalogue.
    #[must_use]
    pub fn state(&self) -> State {
        match self.state.load(Ordering::Relaxed) {
            0 => State::Pending,
            1 => State::Validating,
            _ => State::Storing,
        }
    }

    /// Bytes so far.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let total = self.total.load(Ordering::Relaxed);
        Progress { bytes_done: self.done.load(Ordering::Relaxed), bytes_total: (total > 0).then_some(total) }
    }

    fn enter(&self, state: State) {
        let number = match state {
            State::Pending => 0,
            State::Validating => 1,
            _ => 2,
        };
        self.state.store(number, Ordering::Relaxed);
    }
}

/// A bundle that was found right and whose content is in the store, protected as long as this lives.
pub struct Received {
    bundle: Bundle,
    number: Number,
    sink: StoreSink,
}

/// Takes packages in.
#[derive(Clone)]
pub struct Ingest {
    /// Where to.
    pub catalogue: Catalogue,
    /// From where.
    pub policy: Arc<SourcePolicy>,
    /// How much.
    pub limits: Limits,
}

impl Ingest {
    /// Fetches, checks and stores. On failure the caller sweeps: nothing of it is visible, but blobs are still there.
    ///
    /// # Errors
    /// [`IngestError`], whose `reason` is the API's.
    pub async fn receive(
        &self,
        spec: DeclarationSpec,
        meter: &Meter,
        cancelled: &CancellationToken,
    ) -> Result<Received, IngestError> {
        meter.enter(State::Validating);
        let expected = spec.url.sha256.clone();
        let number = match spec.release_version {
            Some(number) => Number::Exactly(number),
            None => Number::From(spec.release_version_from),
        };
        let open = Fetch::open(Arc::clone(&self.policy), spec.url, self.limits.total);
        let fetch = or_cancelled(cancelled, open).await??;
        meter.total.store(fetch.total().unwrap_or(0), Ordering::Relaxed);
        let (bundle, sink) = self.read(fetch, expected, meter, cancelled).await?;
        meter.enter(State::Storing);
        Ok(Received { bundle, number, sink })
    }

    /// Publishes what was received. As [`Self::receive`] on failure.
    ///
    /// # Errors
    /// [`IngestError`], whose `reason` is the API's.
    pub async fn publish(
        &self,
        received: Received,
        declaration: Declared,
        cancelled: &CancellationToken,
    ) -> Result<Entry, IngestError> {
        let Received { bundle, number, sink } = received;
        let intent = Intent { number, source: PackageSource::Url, declaration };
        let published = self.catalogue.publish(bundle, intent, cancelled).await;
        let entry = published.map_err(|error| match error {
            PublishError::Cancelled => IngestError::Cancelled,
            error => error.into(),
        })?;
        // Until here the pins protected the blobs; from here on the entry does.
        drop(sink);
        Ok(entry)
    }

    async fn read(
        &self,
        fetch: Fetch,
        expected: Option<String>,
        meter: &Meter,
        cancelled: &CancellationToken,
    ) -> Result<(Bundle, StoreSink), IngestError> {
        let (sender, receiver) = mpsc::channel(WAITING_PIECES);
        let complete = Arc::new(AtomicBool::new(false));
        let reading = self.start_reading(ChannelReader::new(receiver, Arc::clone(&complete)));
        let mut pump = Pump { fetch, hasher: Hasher::new(Algorithm::Sha256), meter };
        let pumped = or_cancelled(cancelled, pump.run(sender, &complete)).await;
        // The sender is gone now, so the thread ends in any case; its pins go with it.
        let (read, sink) = reading.await.map_err(|stopped| IngestError::Stopped { message: stopped.to_string() })?;
        pumped??;
        let refused = read.as_ref().is_err_and(is_verdict);
        if refused && expected.is_some() {
            // The reader stopped early. A file with another digest is another file, whatever is in it.
            or_cancelled(cancelled, pump.drain()).await??;
        }
        let found = pump.hasher.finish();
        if refused || read.is_ok() {
            compare(&found, expected)?;
        }
        let bundle = read.map_err(|source| IngestError::Bundle { source: Box::new(source) })?;
        Ok((bundle, sink))
    }

    fn start_reading(&self, input: ChannelReader) -> JoinHandle<(Result<Bundle, ReadError<SinkError>>, StoreSink)> {
        let mut sink = StoreSink {
            storage: Arc::clone(self.catalogue.storage()),
            runtime: Handle::current(),
            pins: self.catalogue.pins().set(),
        };
        let limits = self.limits;
        spawn_blocking(move || (bundle::stream::read(input, &mut sink, &limits), sink))
    }
}

/// Whether it is the bundle that is wrong, not the store or the line.
fn is_verdict(error: &ReadError<SinkError>) -> bool {
    matches!(
        error,
        ReadError::Invalid { .. } | ReadError::Unsupported { .. } | ReadError::Sink { source: SinkError::Input { .. } }
    )
}

fn compare(found: &Digest, expected: Option<String>) -> Result<(), IngestError> {
    match expected {
        Some(expected) if expected != found.hex() => MismatchSnafu { found: found.hex(), expected }.fail(),
        _ => Ok(()),
    }
}

async fn or_cancelled<T>(cancelled: &CancellationToken, work: impl Future<Output = T>) -> Result<T, IngestError> {
    tokio::select! {
        biased;
        () = cancelled.cancelled() => Err(IngestError::Cancelled),
        done = work => Ok(done),
    }
}

/// Moves bytes from the line to the reader, hashing and counting them.
struct Pump<'a> {
    fetch: Fetch,
    hasher: Hasher,
    meter: &'a Meter,
}

impl Pump<'_> {
    /// Until the end of the file, or until the reader has gone.
    async fn run(&mut self, sender: mpsc::Sender<bytes::Bytes>, complete: &AtomicBool) -> Result<(), FetchError> {
        let mut gather = Gather::default();
        while let Some(piece) = self.next().await? {
            if let Some(bytes) = gather.add(piece)
                && sender.send(bytes).await.is_err()
            {
                return Ok(());
            }
        }
        let rest = gather.rest();
        if !rest.is_empty() && sender.send(rest).await.is_err() {
            return Ok(());
        }
        complete.store(true, Ordering::Release);
        Ok(())
    }

    /// To the end of the file, for its digest alone.
    async fn drain(&mut self) -> Result<(), FetchError> {
        while self.next().await?.is_some() {}
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<bytes::Bytes>, FetchError> {
        let piece = self.fetch.chunk().await?;
        if let Some(bytes) = &piece {
            self.hasher.update(bytes);
            self.meter.done.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        }
        Ok(piece)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    fn reason(source: SinkError) -> FailureReason {
        IngestError::Bundle { source: Box::new(ReadError::Sink { source }) }.reason()
    }

    #[test]
    fn broken_content_is_the_bundles_fault_and_a_broken_store_is_not() {
        let broken = || io::Error::new(io::ErrorKind::InvalidData, "the archive is truncated");
        assert_eq!(reason(broken().into()), FailureReason::InvalidBundle);
        let store = StorageError::Io { key: "k".into(), source: broken() };
        assert_eq!(reason(store.into()), FailureReason::FetchFailed);
        let full = StorageError::StorageFull { key: "k".into() };
        assert_eq!(reason(full.into()), FailureReason::StorageFull);
    }
}
