//! Packages that somebody brings: announced, sent in pieces, checked like a bundle that streams, published.
//!
//! Everything is in the store, so that every instance can answer and go on. What is worked on has an owner, who gives
//! signs of life; when they stop, another instance begins again from the start. Publishing is the last write, and the same
//! publication twice is one, so that an upload is in the catalogue whole or not at all, wherever a process ends.

mod alive;
mod error;
pub mod export;
mod id;
mod job;
mod observe;
mod pieces;
mod publication;
pub mod record;
pub mod removal;
mod running;
mod scan;
mod status;
mod store;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use api::{MissingBlob, PackageContent, Progress, State, Upload};
use bundle::stream::Limits;
use snafu::{OptionExt, ensure};
use tokio::sync::Semaphore;

use crate::audit::Audit;
use crate::catalogue::Catalogue;
use crate::catalogue::pins::PinSet;
use crate::metrics::Metrics;
use crate::storage::{Condition, StorageError, Version};
use alive::Writes;
pub use error::UploadError;
use error::{InWorkSnafu, IncompleteSnafu, NoSuchUploadSnafu};
pub use id::{InvalidUploadId, UploadId};
use observe::Observed;
use record::Record;
use running::Running;
pub use status::{Pace, Status};
pub use store::CONTENT_LIMIT;
use store::{Missing, Store};

/// Packages that are checked and published at the same time; the others wait.
const AT_ONCE: usize = 4;
/// How often a status that others write at the same time is tried.
const ATTEMPTS: usize = 8;
/// How long is waited for another request that is just about to write a status.
const TURN: Duration = Duration::from_millis(20);

/// The uploads of one store.
#[derive(Clone)]
pub struct Uploads {
    inner: Arc<Inner>,
}

struct Inner {
    catalogue: Catalogue,
    store: Store,
    pace: Pace,
    /// This process, as the owner of work.
    me: String,
    /// What this process works on.
    running: Running,
    observed: Mutex<Observed>,
    /// When a status was written so that an upload stays.
    writes: Mutex<Writes>,
    /// Blobs of uploads that no package names yet: a sweep that runs already doesn't know of a new upload.
    held: tokio::sync::Mutex<HashMap<UploadId, Held>>,
    permits: Semaphore,
    audit: Audit,
    metrics: Metrics,
}

/// Blobs of an upload that this process keeps.
struct Held {
    _pins: PinSet,
    since: Instant,
}

/// A call that made an upload, or found it.
#[derive(Clone, Debug)]
pub struct Announced {
    /// The upload.
    pub upload: Upload,
    /// Whether there was none before.
    pub is_new: bool,
}

impl Uploads {
    /// The uploads of the catalogue's store. To be made before the catalogue's first sweep, which spares what they need then.
    #[must_use]
    pub fn new(catalogue: Catalogue, limits: Limits, pace: Pace, audit: Audit, metrics: Metrics) -> Self {
        let inner = Inner {
            store: Store::new(Arc::clone(catalogue.storage()), limits),
            catalogue,
            pace,
            me: uuid::Uuid::new_v4().to_string(),
            running: Running::default(),
            observed: Mutex::default(),
            writes: Mutex::default(),
            held: tokio::sync::Mutex::default(),
            permits: Semaphore::new(AT_ONCE),
            audit,
            metrics,
        };
        let inner = Arc::new(inner);
        inner.catalogue.protect(scan::needed(&inner));
        Self { inner }
    }

    fn store(&self) -> &Store {
        &self.inner.store
    }

    async fn status_of(&self, id: &UploadId) -> Result<(Status, Version), UploadError> {
        self.store().status(id).await?.context(NoSuchUploadSnafu)
    }

    /// Announces a package: says what the registry lacks of it, or that it is there already. What the registry has of it
    /// stays there while the upload does. The same announcement again goes on with the same upload, which expires later then.
    ///
    /// # Errors
    /// A content that can't be published, other content under the same name and version, a store that fails.
    pub async fn announce(&self, content: PackageContent) -> Result<Announced, UploadError> {
        let prepared = self.store().prepare(content).await?;
        if let Some(placed) = publication::judge(&self.inner.catalogue, &prepared.record).await? {
            // It may be there without an upload.
            let added = Status::pending(&prepared.record, String::new()).added(placed);
            return Ok(Announced { upload: described(&prepared.record.id, &added, None), is_new: false });
        }
        let (record, hex) = self.store().put_content(prepared).await?;
        let (status, is_new) = self.open(&record, &hex).await?;
        let upload = if status.state == State::Pending {
            self.hold_all(&record).await;
            self.keep_alive(&record.id).await?;
            let missing = self.store().missing(&record, true).await?;
            described(&record.id, &status, Some(&missing))
        } else {
            described(&record.id, &status, None)
        };
        Ok(Announced { upload, is_new })
    }

    /// Makes the upload `Pending` with this content, unless it is on its way already.
    async fn open(&self, record: &Record, hex: &str) -> Result<(Status, bool), UploadError> {
        let wanted = Status::pending(record, hex.to_owned());
        for _ in 0..ATTEMPTS {
            let (condition, is_new) = match self.store().status(&record.id).await? {
                None => (Condition::Absent, true),
                Some((there, _)) if there.is_in_work() => return Ok((there, false)),
                Some((there, _)) if there.state == State::Pending && there.content == hex => return Ok((there, false)),
                Some((_, version)) => (Condition::Unchanged(version), false),
            };
            match self.store().put_status(&record.id, &wanted, condition).await {
                Ok(_) => {
                    self.writes().note(&record.id, Instant::now());
                    return Ok((wanted, is_new));
                }
                Err(StorageError::ConditionFailed { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        InWorkSnafu.fail()
    }

    /// How far an upload is.
    ///
    /// # Errors
    /// No such upload, a store that fails.
    pub async fn view(&self, id: &UploadId) -> Result<Upload, UploadError> {
        let (status, version) = self.status_of(id).await?;
        if self.is_abandoned(id, &status, &version) {
            self.resume(id, status.clone(), version).await?;
        }
        if status.state != State::Pending {
            return Ok(described(id, &status, None));
        }
        let record = self.store().record(id, &status.content).await?;
        let missing = self.store().missing(&record, false).await?;
        Ok(described(id, &status, Some(&missing)))
    }

    /// Asks for the publication of a package whose blobs are all there. The rest goes on in the background. `by`: who asks.
    ///
    /// # Errors
    /// Blobs that are missing, other content under the same name and version, a store that fails.
    pub async fn complete(&self, id: &UploadId, by: &str) -> Result<Upload, UploadError> {
        for _ in 0..ATTEMPTS {
            let (status, version) = self.status_of(id).await?;
            if self.is_abandoned(id, &status, &version) {
                self.resume(id, status.clone(), version).await?;
                return Ok(described(id, &status, None));
            }
            if status.is_in_work() || status.state == State::Added {
                return Ok(described(id, &status, None));
            }
            let record = self.store().record(id, &status.content).await?;
            self.hold_all(&record).await;
            let missing = self.store().missing(&record, true).await?;
            let upload = || Box::new(described(id, &status, Some(&missing)));
            ensure!(missing.is_empty(), IncompleteSnafu { upload: upload() });
            let accepted = status.accepted(&self.inner.me, unix_seconds(), by);
            // Marked first: once it is written, a scan must not take it for abandoned.
            let Some(mark) = self.inner.running.mark(id) else {
                // Another request is about to write the status, or work has just ended: what it says then is looked at.
                tokio::time::sleep(TURN).await;
                continue;
            };
            match self.store().put_status(id, &accepted, Condition::Unchanged(version)).await {
                Ok(version) => {
                    self.start(mark, record, accepted.clone(), version);
                    return Ok(described(id, &accepted, None));
                }
                Err(StorageError::ConditionFailed { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        InWorkSnafu.fail()
    }

    /// Gives an upload up. That there is none is no error.
    ///
    /// # Errors
    /// A package that is being published just now, a store that fails.
    pub async fn abandon(&self, id: &UploadId) -> Result<(), UploadError> {
        let Some((status, version)) = self.store().status(id).await? else { return Ok(()) };
        ensure!(!status.is_in_work(), InWorkSnafu);
        ensure!(self.store().remove(id, &status, &version).await?, InWorkSnafu);
        self.release(id).await;
        Ok(())
    }

    /// Where every upload is that the store knows.
    ///
    /// # Errors
    /// A listing that fails.
    pub async fn statuses(&self) -> Result<Vec<Status>, StorageError> {
        Ok(self.store().statuses().await?.into_iter().map(|(_, status)| status).collect())
    }

    fn observed(&self) -> MutexGuard<'_, Observed> {
        self.inner.observed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_abandoned(&self, id: &UploadId, status: &Status, version: &Version) -> bool {
        let silent = self.is_silent(id, version);
        let running = self.inner.running.has(id);
        status.is_abandoned(&self.inner.me, running, silent)
    }

    /// Whether whoever wrote this status gave no sign of life since for too long, or can't be there any more.
    fn is_silent(&self, id: &UploadId, version: &Version) -> bool {
        let unchanged = self.observed().note(id, version, Instant::now());
        !self.store().storage.is_shared() || unchanged >= self.inner.pace.stopped
    }

    /// Keeps every blob of an upload from being collected by this process.
    async fn hold_all(&self, record: &Record) {
        let mut pins = self.inner.catalogue.pins().set();
        for digest in record.blobs.keys() {
            pins.pin(digest.clone()).await;
        }
        self.inner.held.lock().await.insert(record.id.clone(), Held { _pins: pins, since: Instant::now() });
    }

    /// As [`Self::hold_all`], where it wasn't done before.
    async fn hold(&self, record: &Record) {
        if !self.inner.held.lock().await.contains_key(&record.id) {
            self.hold_all(record).await;
        }
    }

    async fn release(&self, id: &UploadId) {
        self.inner.held.lock().await.remove(id);
    }

    /// As [`Self::release`], unless it was held since: then it is wanted again.
    async fn release_before(&self, id: &UploadId, began: Instant) {
        let mut held = self.inner.held.lock().await;
        if held.get(id).is_some_and(|held| held.since < began) {
            held.remove(id);
        }
    }

    /// Releases what was held before a listing began that found only these.
    async fn release_others(&self, there: &HashSet<UploadId>, began: Instant) {
        self.inner.held.lock().await.retain(|id, held| there.contains(id) || held.since >= began);
    }
}

/// An upload in the API's words. `missing` is left out once its publication was asked for.
fn described(id: &UploadId, status: &Status, missing: Option<&[Missing]>) -> Upload {
    let lacking: u64 = missing.unwrap_or_default().iter().map(|blob| blob.size - blob.offset.min(blob.size)).sum();
    let missing = missing.unwrap_or_default().iter().map(|blob| MissingBlob {
        digest: blob.digest.to_string(),
        size: blob.size,
        offset: blob.offset,
    });
    Upload {
        id: id.to_string(),
        name: status.name.clone(),
        version: status.version.clone(),
        digest: status.digest.clone(),
        state: status.state,
        reason: status.reason,
        message: status.message.clone(),
        progress: Progress { bytes_done: status.size.saturating_sub(lacking), bytes_total: Some(status.size) },
        missing: missing.collect(),
        release_version: status.release_version,
    }
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
