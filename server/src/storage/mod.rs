//! Where bytes are kept. The trait is small; every backend passes the same tests (`tests/storage.rs`).
//!
//! Blobs are written as streams and appear under their digest at once, whole and durable. Small objects are written
//! with a condition, so that two writers agree on who won. Which keys there are is said in [`keys`] alone.

pub mod document;
mod error;
pub mod file;
mod file_list;
mod file_read;
mod file_root;
mod file_session;
mod file_state;
mod file_write;
pub mod health;
pub mod keys;
pub mod memory;
mod memory_session;
mod range;
pub mod s3;
pub mod session;

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt, ready};
use futures::stream;
use futures::stream::{BoxStream, StreamExt};
use url::Url;

use crate::digest::{Algorithm, Digest};
pub use error::{Result, StorageError};
use health::Complaint;
pub use keys::Key;
pub use range::ByteRange;
pub use session::{Session, SessionId, SessionView};

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
    fn content_bytes(&self) -> BoxFuture<'_, Result<u64>> {
        async move {
            let mut sum = 0;
            for_each_object(self, keys::BLOBS, |_, size| {
                sum += size;
                ready(Ok::<_, StorageError>(()))
            })
            .await?;
            Ok(sum)
        }
        .boxed()
    }

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
pub async fn for_each_item<S, E, F, Fut>(storage: &S, prefix: &str, mut each: F) -> std::result::Result<(), E>
where
    S: Storage + ?Sized,
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
pub async fn for_each_object<S, E, F, Fut>(storage: &S, prefix: &str, mut each: F) -> std::result::Result<(), E>
where
    S: Storage + ?Sized,
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
