//! The work on one upload whose publication was asked for: check, publish, say so.

use std::sync::Arc;
use std::time::Duration;

use api::FailureReason;
use bundle::model::Bundle;
use snafu::Snafu;
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::error::UploadError;
use super::record::Record;
use super::running::Mark;
use super::status::Status;
use super::{Uploads, publication};
use crate::audit::Change;
use crate::catalogue::PublishError;
use crate::catalogue::entry::Entry;
use crate::ingest::{IngestError, StoreSink};
use crate::storage::{Condition, StorageError, Version};

/// How often the work is tried where the store fails, and the first pause in between; it doubles.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_secs(1);

/// Why the work ended without a package.
#[derive(Debug, Snafu)]
enum JobError {
    /// Another instance works on it, or somebody gave it up.
    #[snafu(display("another instance goes on with it"))]
    Lost,
    /// A blob went away.
    #[snafu(display(
        "{missing} of the package's files and blobs are not in the registry any more: announce it again and send them"
    ))]
    Gone { missing: usize },
    /// The package is wrong, or can't be published.
    #[snafu(display("{source}"), context(false))]
    Ingest { source: IngestError },
    /// The store failed.
    #[snafu(display("{source}"), context(false))]
    Store { source: StorageError },
    /// What is kept of the upload can't be used.
    #[snafu(display("{source}"), context(false))]
    Upload { source: UploadError },
}

impl JobError {
    fn reason(&self) -> FailureReason {
        match self {
            Self::Ingest { source } => source.reason(),
            Self::Store { source: StorageError::StorageFull { .. } } => FailureReason::StorageFull,
            Self::Upload { source: UploadError::Content { .. } | UploadError::WrongSize { .. } } => {
                FailureReason::InvalidBundle
            }
            Self::Lost | Self::Gone { .. } | Self::Store { .. } | Self::Upload { .. } => FailureReason::FetchFailed,
        }
    }

    /// Whether it is the store that failed, not the package that is wrong.
    fn is_transient(&self) -> bool {
        matches!(self, Self::Store { .. } | Self::Ingest { .. } | Self::Upload { .. })
            && self.reason() == FailureReason::FetchFailed
    }
}

/// An upload that this process works on.
struct Job {
    uploads: Uploads,
    record: Arc<Record>,
    /// As it was written last.
    status: Mutex<(Status, Version)>,
    /// Set when somebody else took it over.
    lost: CancellationToken,
}

impl Uploads {
    /// Begins to work on an upload whose status says that this process owns it.
    pub(super) fn start(&self, mark: Mark, record: Arc<Record>, status: Status, version: Version) {
        let (uploads, id) = (self.clone(), record.id.clone());
        let job = Job {
            uploads: self.clone(),
            record,
            status: Mutex::new((status, version)),
            lost: CancellationToken::new(),
        };
        tokio::spawn(async move {
            let failed = tokio::spawn(job.run()).await.unwrap_or_else(|error| {
                tracing::error!(upload.id = %id, %error, "work on an upload stopped; this is a fault of the server");
                false
            });
            // Whatever went wrong on the way, a scan or the next request must be able to begin again; a sweep takes longer.
            drop(mark);
            if failed && let Err(error) = uploads.inner.catalogue.sweep().await {
                tracing::error!(%error, "what no package needs stays in the store until the next sweep");
            }
        });
    }
}

impl Job {
    /// Works to the end. Whether it failed, so that what it leaves is nobody's.
    async fn run(self) -> bool {
        let job = Arc::new(self);
        let beating = Arc::clone(&job);
        let heart = tokio::spawn(async move { beating.beat().await });
        let outcome = job.publish_in_the_end().await;
        heart.abort();
        job.conclude(outcome).await
    }

    /// Gives signs of life until somebody else has the upload.
    async fn beat(&self) {
        loop {
            tokio::time::sleep(self.uploads.inner.pace.beat).await;
            match self.change(Status::alive).await {
                Ok(()) => {}
                Err(JobError::Lost) => return self.lost.cancel(),
                Err(error) => tracing::warn!(upload.id = %self.record.id, %error, "no sign of life could be given"),
            }
        }
    }

    async fn change(&self, change: impl FnOnce(Status) -> Status) -> Result<(), JobError> {
        let mut current = self.status.lock().await;
        let next = change(current.0.clone());
        let condition = Condition::Unchanged(current.1.clone());
        match self.uploads.store().put_status(&self.record.id, &next, condition).await {
            Ok(version) => *current = (next, version),
            Err(StorageError::ConditionFailed { .. } | StorageError::NotFound { .. }) => return LostSnafu.fail(),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    async fn publish_in_the_end(&self) -> Result<Entry, JobError> {
        let _permit = self.uploads.inner.permits.acquire().await;
        let mut pause = PAUSE;
        for _ in 1..ATTEMPTS {
            match self.publish().await {
                Err(error) if error.is_transient() => {
                    tracing::warn!(upload.id = %self.record.id, %error, "an upload is tried again");
                }
                other => return other,
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        self.publish().await
    }

    async fn publish(&self) -> Result<Entry, JobError> {
        let (catalogue, coordinate) = (&self.uploads.inner.catalogue, &self.record.coordinate);
        // Published before a crash, or by somebody else with the same content.
        let there = catalogue.package(&coordinate.name, &coordinate.version).await?;
        if let Some(there) = there.filter(|there| publication::is_there(there, &self.record)) {
            return Ok(there);
        }
        self.uploads.hold_all(&self.record).await;
        let missing = self.uploads.store().missing(&self.record, true).await?.len();
        if missing > 0 {
            return GoneSnafu { missing }.fail();
        }
        let bundle = self.checked().await?;
        self.change(Status::storing).await?;
        let status = self.status.lock().await.0.clone();
        match publication::publish(catalogue, bundle, &self.record.id, &status, &self.lost).await {
            Ok(entry) => Ok(entry),
            Err(PublishError::Cancelled) => LostSnafu.fail(),
            Err(error) => Err(IngestError::from(error).into()),
        }
    }

    /// The bundle, read by the rules of bundles that stream.
    async fn checked(&self) -> Result<Bundle, JobError> {
        let catalogue = &self.uploads.inner.catalogue;
        let mut sink = StoreSink {
            storage: Arc::clone(catalogue.storage()),
            runtime: Handle::current(),
            pins: catalogue.pins().set(),
        };
        let (record, limits) = (Arc::clone(&self.record), self.uploads.store().limits);
        let read = spawn_blocking(move || record.parts.complete(&mut sink, &limits)).await;
        let read = read.map_err(|stopped| IngestError::Stopped { message: stopped.to_string() })?;
        read.map_err(|source| IngestError::Bundle { source: Box::new(source) }.into())
    }

    async fn conclude(&self, outcome: Result<Entry, JobError>) -> bool {
        let Uploads { inner } = &self.uploads;
        let id = &self.record.id;
        match &outcome {
            Err(JobError::Lost) => {
                self.uploads.release(id).await;
                return false;
            }
            Ok(entry) => {
                inner.metrics.ingested("Added");
                let by = self.status.lock().await.0.by.clone().unwrap_or_default();
                inner.audit.change(&Change {
                    action: "add",
                    who: &by,
                    package: &entry.name,
                    version: &entry.version,
                    digest: &entry.digest,
                    declaration: &publication::declared_as(id),
                });
            }
            Err(error) => {
                inner.metrics.ingested(&format!("{:?}", error.reason()));
                tracing::warn!(upload.id = %id, %error, "a package was not added");
            }
        }
        self.note(&outcome).await;
        outcome.is_err()
    }

    /// Says what became of the upload. Its blobs are the package's now, or nobody's.
    async fn note(&self, outcome: &Result<Entry, JobError>) {
        let id = &self.record.id;
        let mut pause = PAUSE;
        for _ in 0..ATTEMPTS {
            let said = match outcome {
                Ok(entry) => self.change(|status| status.added(entry.release_version)).await,
                Err(error) => self.change(|status| status.failed(error.reason(), error.to_string())).await,
            };
            match said {
                Ok(()) | Err(JobError::Lost) => break,
                Err(error) => tracing::error!(upload.id = %id, %error, "what became of an upload can't be noted"),
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        self.uploads.release(id).await;
    }
}
