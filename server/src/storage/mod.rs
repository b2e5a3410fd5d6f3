//! Where bytes are kept. The trait is small; every backend passes the same tests (`tests/storage.rs`).
//!
//! Blobs are written as streams and appear under their digest at once, whole and durable. Small objects are written
//! with a condition, so that two writers agree on who won. Which keys there are is said in [`keys`] alone.

pub mod file;
mod file_list;
mod file_root;
mod file_session;
mod file_state;
mod file_write;
pub mod health;
pub mod keys;
pub mod memory;
mod memory_session;
pub mod s3;
pub mod session;

use std::io;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt, ready};
use futures::stream;
use futures::stream::{BoxStream, StreamExt};
use snafu::Snafu;
use url::Url;

use crate::digest::{Algorithm, Digest};
use health::{Complaint, Trouble};
pub use keys::Key;
pub use session::{Session, SessionId, SessionView};

/// Why storage could not do what it was asked for.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub))]
pub enum StorageError {
    /// Nothing is there under that key.
    #[snafu(display("{key} is not in the store"))]
    NotFound {
        /// The key.
        key: String,
    },
    /// The object isn't what the condition of a write says.
    #[snafu(display("{key} was written by somebody else in the meantime"))]
    ConditionFailed {
        /// The key.
        key: String,
    },
    /// The range lies outside the object.
    #[snafu(display("{key} has {size} bytes; the range lies outside"))]
    RangeOutside {
        /// The key.
        key: String,
        /// Bytes of the object.
        size: u64,
    },
    /// A small object is larger than the reader takes.
    #[snafu(display("{key} has more than {limit} bytes"))]
    TooLarge {
        /// The key.
        key: String,
        /// Most bytes the reader takes.
        limit: u64,
    },
    /// No room.
    #[snafu(display("the store is full: {key} could not be written; make room or enlarge the volume"))]
    StorageFull {
        /// The key, or what was written.
        key: String,
    },
    /// The store can't be asked at the moment, or doesn't let us in.
    #[snafu(display("{message}"))]
    Unavailable {
        /// What kind of trouble.
        trouble: Trouble,
        /// What happened and what would be right.
        message: String,
    },
    /// The medium failed.
    #[snafu(display("{key}: {source}"))]
    Io {
        /// The key, or what was touched.
        key: String,
        /// What the system said.
        source: io::Error,
    },
}

impl StorageError {
    /// Sorts an error of the system: a full medium is told from a broken one.
    #[must_use]
    pub fn from_io(key: impl Into<String>, source: io::Error) -> Self {
        let key = key.into();
        match source.kind() {
            io::ErrorKind::NotFound => Self::NotFound { key },
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::StorageFull { key },
            _ => Self::Io { key, source },
        }
    }

    /// Whether the object simply isn't there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }
}

/// What storage answers.
pub type Result<T, E = StorageError> = std::result::Result<T, E>;

/// Which part of an object is wanted, as an HTTP range says it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ByteRange {
    /// All of it.
    Whole,
    /// From this byte to the end.
    From(u64),
    /// From the first to the last byte named, both included; the last may lie behind the end.
    Between(u64, u64),
    /// The last so many bytes.
    Suffix(u64),
}

impl ByteRange {
    /// The bytes of an object of that size; `None` where the range lies outside.
    #[must_use]
    pub fn within(self, size: u64) -> Option<Range<u64>> {
        match self {
            Self::Whole => Some(0..size),
            Self::From(first) => (first < size).then_some(first..size),
            Self::Between(first, last) => {
                (first <= last && first < size).then(|| first..size.min(last.saturating_add(1)))
            }
            Self::Suffix(count) => (count > 0 && size > 0).then(|| size.saturating_sub(count)..size),
        }
    }
}

/// Bytes of an object on their way.
pub type Body = BoxStream<'static, Result<Bytes>>;

/// An object opened for reading.
pub struct Reading {
    /// Bytes of the whole object.
    pub size: u64,
    /// Which of them `body` brings.
    pub range: Range<u64>,
    /// The bytes.
    pub body: Body,
}

impl Reading {
    /// A part of bytes that are in memory.
    ///
    /// # Errors
    /// [`StorageError::RangeOutside`].
    pub fn of_bytes(key: &Key, bytes: &Bytes, range: ByteRange) -> Result<Self> {
        let size = bytes.len() as u64;
        let range = range.within(size).ok_or_else(|| StorageError::RangeOutside { key: key.to_string(), size })?;
        let to_index = |n: u64| usize::try_from(n).unwrap_or(bytes.len());
        let part = bytes.slice(to_index(range.start)..to_index(range.end));
        let chunks: Vec<_> = part.chunks(1 << 16).map(|chunk| Ok(part.slice_ref(chunk))).collect();
        Ok(Self { size, range, body: stream::iter(chunks).boxed() })
    }
}

/// State of an object, to be compared and to be given back with a conditional write. Another write or a renewal, even of the
/// same bytes, is another version.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Version(String);

impl Version {
    /// A version in the backend's own words.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The backend's own words.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What must hold for a write of a small object to happen.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Condition {
    /// There is no such object yet.
    Absent,
    /// The object is the one that was read with this version.
    Unchanged(Version),
}

/// One thing that a listing found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Item {
    /// An object.
    Object {
        /// Its key.
        key: String,
        /// Bytes of the object that the key names. For a blob of a backend that keeps blobs behind pointers, those of the
        /// pointer; see [`Storage::content_bytes`].
        size: u64,
        /// Its state.
        version: Version,
        /// How long ago it was written or renewed, by the store's own clock; unknown means that it may be new.
        age: Option<Duration>,
    },
    /// A folder, with `/` at its end (only where folders were asked for).
    Folder(String),
}

impl Item {
    /// The key or the folder's prefix.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Object { key, .. } => key,
            Self::Folder(prefix) => prefix,
        }
    }
}

/// What to list.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Listing<'a> {
    /// Only keys that start so; may end inside a name.
    pub prefix: &'a str,
    /// Stop at the next `/` and report the folder instead of what is in it.
    pub folders: bool,
    /// Only what sorts behind this.
    pub after: Option<&'a str>,
    /// At most so many items.
    pub limit: usize,
}

/// One page of a listing, sorted by the bytes of the names.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Page {
    /// What was found.
    pub items: Vec<Item>,
    /// Whether there is more behind the last item.
    pub more: bool,
}

/// A blob being written. Dropped before it is committed, it leaves nothing.
pub trait BlobWriter: Send {
    /// Adds bytes.
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<()>>;

    /// Ends the blob and says its digest; it is not visible yet.
    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<Box<dyn FinishedBlob>>>;
}

/// A blob that is complete but not visible. Dropped before it is committed, it leaves nothing.
pub trait FinishedBlob: Send {
    /// The digest of the bytes that were written.
    fn digest(&self) -> &Digest;

    /// How many bytes were written.
    fn size(&self) -> u64;

    /// Makes it visible under its digest. Once this has returned, it survives a power cut.
    fn commit(self: Box<Self>) -> BoxFuture<'static, Result<()>>;
}

/// A store of objects under keys.
pub trait Storage: Send + Sync + 'static {
    /// Whether other processes may work on the same store at the same time. Where they don't, pins in memory protect what
    /// is in flight; where they do, only the age of objects does.
    fn is_shared(&self) -> bool;

    /// What is wrong with the store as a whole, as far as it knows by itself.
    fn complaint(&self) -> Option<Complaint> {
        None
    }

    /// An address at which an object's bytes can be read without this process for a short time; `None` where there is none,
    /// or where that isn't wanted.
    fn direct_url<'a>(&'a self, _key: &'a Key) -> BoxFuture<'a, Result<Option<Url>>> {
        ready(Ok(None)).boxed()
    }

    /// Whether an object is there, or was some seconds ago: for what may be answered so late after a removal through another
    /// instance.
    fn was_there<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<bool>> {
        async move {
            match self.size(key).await {
                Ok(_) => Ok(true),
                Err(error) if error.is_not_found() => Ok(false),
                Err(error) => Err(error),
            }
        }
        .boxed()
    }

    /// Bytes of an object.
    fn size<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<u64>>;

    /// Opens an object; nothing is read ahead of the taker by more than some chunks.
    fn read<'a>(&'a self, key: &'a Key, range: ByteRange) -> BoxFuture<'a, Result<Reading>>;

    /// A small object with its version, at most `limit` bytes.
    fn get<'a>(&'a self, key: &'a Key, limit: u64) -> BoxFuture<'a, Result<(Bytes, Version)>>;

    /// Writes a small object if the condition holds; durable once this has returned.
    fn put<'a>(&'a self, key: &'a Key, bytes: Bytes, condition: Condition) -> BoxFuture<'a, Result<Version>>;

    /// Starts a blob.
    fn write_blob(&self, algorithm: Algorithm) -> BoxFuture<'_, Result<Box<dyn BlobWriter>>>;

    /// One page of keys.
    fn list<'a>(&'a self, listing: Listing<'a>) -> BoxFuture<'a, Result<Page>>;

    /// Makes an object new: its age starts again, its version is another one. False if it isn't there (any more).
    fn renew<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<bool>>;

    /// Moves a small object to another key, over what is there; durable once this has returned. The object isn't read, so
    /// that one that can't be read moves too. That it isn't there is no error.
    fn rename<'a>(&'a self, from: &'a Key, to: &'a Key) -> BoxFuture<'a, Result<()>>;

    /// Removes an object; that it isn't there is no error.
    fn delete<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<()>>;

    /// Removes an object that is still in the state that was read or listed. False if it is in another one: somebody wrote
    /// or renewed it; true if it is gone, whoever removed it.
    fn delete_unchanged<'a>(&'a self, key: &'a Key, version: &'a Version) -> BoxFuture<'a, Result<bool>>;

    /// Bytes that all blobs take in the store.
    fn content_bytes(&self) -> BoxFuture<'_, Result<u64>>;

    /// Starts a blob that arrives in pieces. `note` is kept with it, for whoever resumes it. Survives the process, though not
    /// a power cut before the first [`Session::save`].
    fn create_session(&self, id: SessionId, note: Bytes) -> BoxFuture<'_, Result<()>>;

    /// Bytes that every piece of a session but its last should have at least; 0 where any size is as good as another.
    fn least_piece(&self) -> u64 {
        0
    }

    /// How far a session is, without taking it over.
    fn view_session(&self, id: SessionId) -> BoxFuture<'_, Result<SessionView>>;

    /// Takes a session over, from whoever had it: the one who had it can neither write nor save any more.
    fn resume_session(&self, id: SessionId) -> BoxFuture<'_, Result<Box<dyn Session>>>;

    /// Forgets a session and what arrived in it; that it isn't there is no error.
    fn drop_session(&self, id: SessionId) -> BoxFuture<'_, Result<()>>;

    /// Sessions that were created or saved longer ago than that, by the store's own clock.
    fn stale_sessions(&self, older_than: Duration) -> BoxFuture<'_, Result<Vec<SessionId>>>;
}

/// Most items that one page brings.
pub const PAGE: usize = 1000;

/// Calls `each` for every object under a prefix, page by page.
///
/// # Errors
/// Those of the store and of `each`.
pub async fn for_each_item<E, F, Fut>(storage: &dyn Storage, prefix: &str, mut each: F) -> std::result::Result<(), E>
where
    E: From<StorageError>,
    F: FnMut(Item) -> Fut,
    Fut: Future<Output = std::result::Result<(), E>>,
{
    let mut after: Option<String> = None;
    loop {
        let page = storage.list(Listing { prefix, folders: false, after: after.as_deref(), limit: PAGE }).await?;
        after = page.items.last().map(|item| item.name().to_owned());
        for item in page.items {
            each(item).await?;
        }
        if !page.more {
            return Ok(());
        }
    }
}

/// As [`for_each_item`], for callers that want key and size alone.
///
/// # Errors
/// Those of the store and of `each`.
pub async fn for_each_object<E, F, Fut>(storage: &dyn Storage, prefix: &str, mut each: F) -> std::result::Result<(), E>
where
    E: From<StorageError>,
    F: FnMut(String, u64) -> Fut,
    Fut: Future<Output = std::result::Result<(), E>>,
{
    for_each_item(storage, prefix, |item| {
        let called = match item {
            Item::Object { key, size, .. } => Some(each(key, size)),
            Item::Folder(_) => None,
        };
        async move {
            match called {
                Some(called) => called.await,
                None => Ok(()),
            }
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_full_medium_is_told_from_a_broken_one() {
        let sorted = |kind: io::ErrorKind| StorageError::from_io("k", kind.into());
        assert!(matches!(sorted(io::ErrorKind::StorageFull), StorageError::StorageFull { .. }));
        assert!(matches!(sorted(io::ErrorKind::QuotaExceeded), StorageError::StorageFull { .. }));
        assert!(matches!(sorted(io::ErrorKind::PermissionDenied), StorageError::Io { .. }));
        assert!(sorted(io::ErrorKind::NotFound).is_not_found());
    }

    #[test]
    fn a_range_is_cut_to_the_object() {
        assert_eq!(ByteRange::Between(2, 100).within(10), Some(2..10));
        assert_eq!(ByteRange::Between(0, 0).within(10), Some(0..1));
        assert_eq!(ByteRange::From(9).within(10), Some(9..10));
        assert_eq!(ByteRange::Suffix(3).within(10), Some(7..10));
        assert_eq!(ByteRange::Suffix(30).within(10), Some(0..10));
        assert_eq!(ByteRange::Whole.within(0), Some(0..0));
    }

    #[test]
    fn a_range_outside_the_object_is_none() {
        for range in [ByteRange::From(10), ByteRange::Between(10, 12), ByteRange::Between(5, 4), ByteRange::Suffix(0)] {
            assert_eq!(range.within(10), None, "{range:?}");
        }
        assert_eq!(ByteRange::Suffix(1).within(0), None);
    }

    proptest! {
        #[test]
        fn a_range_never_leaves_the_object(first: u64, last: u64, size: u64) {
            for range in [ByteRange::From(first), ByteRange::Between(first, last), ByteRange::Suffix(last)] {
                if let Some(found) = range.within(size) {
                    prop_assert!(found.start < found.end && found.end <= size);
                }
            }
        }
    }
}
