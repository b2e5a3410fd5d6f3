//! Storage in a bucket, for several instances at once. See `docs/decisions/0013-s3-pointers.md`.
//!
//! Small objects carry the nonce of their writer ([`envelope`]) and are written with conditions. A blob is a small object too,
//! a [`pointer`] to bytes elsewhere in the bucket, so that nothing is copied or moved when it becomes visible.

mod blob_read;
mod blob_write;
mod bounded;
mod calls;
mod client;
mod clock;
mod config;
mod credentials;
mod envelope;
mod failure;
mod inner;
mod leftovers;
mod list;
mod multipart_calls;
mod part_size;
mod parts;
mod pointer;
mod probe;
mod session;
mod session_cache;
mod session_state;
mod small;
mod staged;
mod upkeep;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use snafu::Snafu;
use tokio::task::JoinSet;
use url::Url;

use super::health::{Complaint, StorageHealth, Trouble};
use super::session::{Session, SessionId, SessionView};
use super::{
    BlobWriter, ByteRange, Condition, Key, Listing, Page, Reading, Result, Storage, StorageError, Version, keys,
};
use crate::digest::Algorithm;
use blob_write::S3Blob;
use calls::Bucket;
pub use client::ClientError;
pub use config::{CredentialsSource, Encryption, InvalidEncryption, InvalidLocation, Location, S3Config};
pub use credentials::InvalidCredentials;
use failure::damaged;
use inner::Inner;
pub use leftovers::Cleared;
use part_size::PART;
use small::Outcome;

/// How long an address is good that a reader is sent to.
const DIRECT: Duration = Duration::from_mins(15);

/// Why the bucket can't be used.
#[derive(Debug, Snafu)]
pub enum OpenError {
    /// A file that was named can't be used.
    #[snafu(display("{source}"), context(false))]
    Client {
        /// Which, and why.
        source: ClientError,
    },
    /// The store doesn't do what instances rely on.
    #[snafu(display("--require-coordination: {message}"))]
    Uncoordinated {
        /// What it does instead.
        message: String,
    },
    /// The store can't be asked, or refuses.
    #[snafu(display("{source}"), context(false))]
    Store {
        /// Why.
        source: StorageError,
    },
}

impl OpenError {
    /// Whether it may pass by itself, or by somebody's work elsewhere than on this process' flags.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        !matches!(self, Self::Uncoordinated { .. })
    }

    /// What is wrong, as conditions say it.
    #[must_use]
    pub fn trouble(&self) -> Trouble {
        match self {
            Self::Client { .. } => Trouble::SecretInvalid,
            Self::Uncoordinated { .. } => Trouble::S3CoordinationUnsafe,
            Self::Store { source: StorageError::Unavailable { trouble, .. } } => *trouble,
            Self::Store { .. } => Trouble::Unreachable,
        }
    }
}

/// Objects in a bucket.
pub struct S3Storage {
    inner: Arc<Inner>,
    /// Ends with the store.
    _upkeep: JoinSet<()>,
}

impl S3Storage {
    /// Connects, and finds out what the store is good for. Troubles are noted in `health`, then and later.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(config: S3Config, health: StorageHealth) -> Result<Self, OpenError> {
        let used = config.credentials.as_ref().map(client::read_credentials).transpose()?;
        let client = client::client(&config).await?;
        let bucket = Arc::new(Bucket {
            client: ArcSwap::from_pointee(client),
            name: config.location.bucket().to_owned(),
            root: config.location.root().to_owned(),
            encryption: config.encryption,
            health,
        });
        let found = probe::probe(&bucket).await?;
        if let Some(message) = found.unsafe_because {
            if config.require_coordination {
                return Err(OpenError::Uncoordinated { message });
            }
            tracing::warn!("{message}");
            bucket.health.stands(Trouble::S3CoordinationUnsafe, message);
        }
        let inner = Arc::new(Inner::new(bucket, found.conditional_removal, config.redirect));
        let mut upkeep = JoinSet::new();
        if let (Some(source), Some(used)) = (config.credentials, used) {
            upkeep.spawn(upkeep::watch_credentials(Arc::downgrade(&inner), source, used));
        }
        upkeep.spawn(upkeep::watch_health(Arc::downgrade(&inner)));
        upkeep.spawn(upkeep::clear(Arc::downgrade(&inner)));
        Ok(Self { inner, _upkeep: upkeep })
    }

    /// Removes uploads that nobody finished and bytes that nothing points to, if they are older than that by the store's
    /// clock. Done by itself from time to time. Bytes go when they are found a second time.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn clear_leftovers(&self, older_than: Duration) -> Result<Cleared> {
        self.inner.clear_leftovers(older_than).await
    }

    /// Whether the store removes an object only in the state that was named; where it doesn't, tombstones do.
    #[must_use]
    pub fn removes_conditionally(&self) -> bool {
        self.inner.conditional_removal
    }
}

fn found<T>(key: &Key, found: Option<T>) -> Result<T> {
    found.ok_or_else(|| StorageError::NotFound { key: key.to_string() })
}

/// An object that isn't there, as an answer.
fn absent(error: StorageError) -> Result<bool> {
    if error.is_not_found() { Ok(false) } else { Err(error) }
}

fn is_blob(key: &Key) -> bool {
    keys::stands_for_a_blob(key.as_str())
}

impl Storage for S3Storage {
    fn is_shared(&self) -> bool {
        true
    }

    fn complaint(&self) -> Option<Complaint> {
        self.inner.bucket.health.complaint()
    }

    fn direct_url<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Url>>> {
        async move {
            if !self.inner.redirect || !is_blob(key) {
                return Ok(None);
            }
            let data = self.inner.pointer(key.as_str()).await?.pointer.data_key();
            let url = self.inner.bucket.presigned(&data, DIRECT).await.map_err(|failure| failure.at(key.as_str()))?;
            url.parse().map(Some).map_err(|_| damaged(key.as_str(), "the store's address can't be read"))
        }
        .boxed()
    }

    fn was_there<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<bool>> {
        async move {
            if is_blob(key) {
                return self.inner.read_pointer(key.as_str()).await.map(|_| true).or_else(absent);
            }
            self.inner.was_there(key.as_str()).await
        }
        .boxed()
    }

    fn size<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<u64>> {
        async move {
            // What is said to be there must be there: memory won't do.
            if is_blob(key) {
                return Ok(self.inner.read_pointer(key.as_str()).await?.pointer.size);
            }
            found(key, self.inner.small_size(key.as_str()).await?)
        }
        .boxed()
    }

    fn read<'a>(&'a self, key: &'a Key, range: ByteRange) -> BoxFuture<'a, Result<Reading>> {
        async move {
            if is_blob(key) {
                return self.inner.read_blob(key, range).await;
            }
            let content = found(key, self.inner.fetch(key.as_str(), u64::MAX).await?)?.content;
            Reading::of_bytes(key, &content, range)
        }
        .boxed()
    }

    fn get<'a>(&'a self, key: &'a Key, limit: u64) -> BoxFuture<'a, Result<(Bytes, Version)>> {
        async move {
            if is_blob(key) {
                return self.inner.get_blob(key, limit).await;
            }
            let object = found(key, self.inner.fetch(key.as_str(), limit).await?)?;
            Ok((object.content, object.version))
        }
        .boxed()
    }

    fn put<'a>(&'a self, key: &'a Key, bytes: Bytes, condition: Condition) -> BoxFuture<'a, Result<Version>> {
        async move {
            match self.inner.write(key.as_str(), &bytes, &condition).await? {
                Outcome::Written(version) => Ok(version),
                Outcome::Lost(_) => Err(StorageError::ConditionFailed { key: key.to_string() }),
            }
        }
        .boxed()
    }

    fn write_blob(&self, algorithm: Algorithm) -> BoxFuture<'_, Result<Box<dyn BlobWriter>>> {
        async move { Ok(Box::new(S3Blob::new(Arc::clone(&self.inner), algorithm)) as Box<dyn BlobWriter>) }.boxed()
    }

    fn list<'a>(&'a self, listing: Listing<'a>) -> BoxFuture<'a, Result<Page>> {
        async move { self.inner.page(&listing).await }.boxed()
    }

    fn renew<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<bool>> {
        self.inner.renew_small(key.as_str()).boxed()
    }

    fn rename<'a>(&'a self, from: &'a Key, to: &'a Key) -> BoxFuture<'a, Result<()>> {
        async move {
            // A pointer moves; its bytes stay where they are.
            self.inner.pointers().remove(&from.to_string());
            self.inner.pointers().remove(&to.to_string());
            self.inner.move_small(from.as_str(), to.as_str()).await
        }
        .boxed()
    }

    fn delete<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<()>> {
        if is_blob(key) {
            return self.inner.remove_blob(key.as_str()).boxed();
        }
        self.inner.remove_small(key.as_str()).boxed()
    }

    fn delete_unchanged<'a>(&'a self, key: &'a Key, version: &'a Version) -> BoxFuture<'a, Result<bool>> {
        if is_blob(key) {
            return self.inner.remove_blob_unchanged(key.as_str(), version).boxed();
        }
        self.inner.remove_unchanged(key.as_str(), version).boxed()
    }

    fn content_bytes(&self) -> BoxFuture<'_, Result<u64>> {
        async move {
            let mut sum = 0;
            let of_blob = |key: &str| keys::data_id(key).is_some();
            self.inner.each_object(keys::DATA, |key, size, _| sum += if of_blob(&key) { size } else { 0 }).await?;
            Ok(sum)
        }
        .boxed()
    }

    /// A smaller piece is taken, but what is shorter than a part is read and written again with every piece that follows.
    fn least_piece(&self) -> u64 {
        PART as u64
    }

    fn create_session(&self, id: SessionId, note: Bytes) -> BoxFuture<'_, Result<()>> {
        async move { self.inner.create_session(id, &note).await }.boxed()
    }

    fn view_session(&self, id: SessionId) -> BoxFuture<'_, Result<SessionView>> {
        self.inner.view_session(id).boxed()
    }

    fn resume_session(&self, id: SessionId) -> BoxFuture<'_, Result<Box<dyn Session>>> {
        async move { Ok(Box::new(self.inner.resume_session(id).await?) as Box<dyn Session>) }.boxed()
    }

    fn drop_session(&self, id: SessionId) -> BoxFuture<'_, Result<()>> {
        self.inner.drop_session(id).boxed()
    }

    fn stale_sessions(&self, older_than: Duration) -> BoxFuture<'_, Result<Vec<SessionId>>> {
        self.inner.stale_sessions(older_than).boxed()
    }
}
