//! Storage in a folder: one file per object, laid out as its key says.
//!
//! One process at a time, by an exclusive lock that says who holds it. Everything is written to `.tmp/`, synced, renamed
//! to its place, and the folder synced; what a crash left in `.tmp/` goes at the next start.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::StreamExt;
use futures::future::{BoxFuture, FutureExt};
use snafu::Snafu;
use tokio::task::spawn_blocking;

use super::file_list::page;
use super::file_read::{FileRest, chunks};
use super::file_root::{clear_temporary, make_root, name_holder, take_lock};
use super::file_session::{FileSession, Sessions};
use super::file_state::version;
use super::file_write::{FileBlob, Place, make_folders, sync_folder};
use super::session::{Session, SessionId, SessionView};
use super::{
    BlobWriter, ByteRange, Condition, Key, Listing, Page, Reading, Result, Storage, StorageError, Version, keys,
};
use crate::digest::Algorithm;

pub(super) const TEMPORARY: &str = ".tmp";

/// Why the folder can't be used.
#[derive(Debug, Snafu)]
pub enum OpenError {
    /// Somebody else uses it.
    #[snafu(display(
        "the store {} is in use by {holder}; one process at a time can use file storage",
        root.display()
    ))]
    InUse {
        /// The folder.
        root: PathBuf,
        /// What the holder wrote into the lock file.
        holder: String,
    },
    /// The system refused.
    #[snafu(display("the store {} can't be used: {source}; --storage needs a folder that this user may write", root.display()))]
    Unusable {
        /// The folder.
        root: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Objects in a folder.
#[derive(Clone, Debug)]
pub struct FileStorage {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) root: PathBuf,
    /// Held for reading while a file is put in its place, for writing while empty folders are removed.
    pub(super) folders: RwLock<()>,
    /// Folders whose name is known to be durable in their parent, and so on up to the root. That a folder is there says
    /// nothing: another thread, or a process that was killed, may have made it and not have synced it yet.
    pub(super) synced: Mutex<HashSet<PathBuf>>,
    /// Makes check and change of a conditional write, removal or renewal one step.
    conditions: Mutex<()>,
    /// Who works on which session.
    pub(super) sessions: Sessions,
    /// The lock lasts as long as this file is open.
    _lock: File,
}

impl FileStorage {
    /// Takes the folder for this process and removes what a crash left half-written.
    ///
    /// # Errors
    /// A folder that another process uses, or that can't be written.
    pub fn open(root: &Path) -> Result<Self, OpenError> {
        let unusable = |source| OpenError::Unusable { root: root.to_owned(), source };
        make_root(root).map_err(unusable)?;
        let mut lock = take_lock(root)?;
        clear_temporary(&root.join(TEMPORARY)).map_err(unusable)?;
        sync_folder(root).map_err(unusable)?;
        // The lock holds whatever is written in it, and a full disk must not keep the server from starting.
        if let Err(error) = name_holder(&mut lock) {
            tracing::warn!(%error, "the lock file of the store doesn't say who holds it");
        }
        let inner = Inner {
            root: root.to_owned(),
            folders: RwLock::new(()),
            synced: Mutex::default(),
            conditions: Mutex::new(()),
            sessions: Sessions::default(),
            _lock: lock,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    async fn run<T: Send + 'static>(
        &self,
        key: &str,
        work: impl FnOnce(&Inner) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let inner = Arc::clone(&self.inner);
        blocking(key, move || work(&inner)).await
    }
}

pub(super) async fn blocking<T: Send + 'static>(
    key: &str,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(stopped) => Err(StorageError::Io { key: key.to_owned(), source: io::Error::other(stopped) }),
    }
}

impl Inner {
    pub(super) fn path(&self, key: &str) -> PathBuf {
        self.root.join(key)
    }

    fn open_file(&self, key: &str) -> Result<(File, u64)> {
        let failed = |error| StorageError::from_io(key, error);
        let file = File::open(self.path(key)).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(StorageError::NotFound { key: key.to_owned() });
        }
        let size = metadata.len();
        Ok((file, size))
    }

    fn get(&self, key: &str, limit: u64) -> Result<(Bytes, Version)> {
        let failed = |error| StorageError::from_io(key, error);
        let (file, _) = self.open_file(key)?;
        let version = version(&file.metadata().map_err(failed)?);
        let mut bytes = Vec::new();
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > limit {
            return Err(StorageError::TooLarge { key: key.to_owned(), limit });
        }
        Ok((bytes.into(), version))
    }

    /// The state of what is there.
    fn state(&self, key: &str) -> Result<Option<Version>> {
        match fs::metadata(self.path(key)) {
            Ok(metadata) => Ok(metadata.is_file().then(|| version(&metadata))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StorageError::from_io(key, error)),
        }
    }

    fn alone(&self) -> MutexGuard<'_, ()> {
        self.conditions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, key: &str, bytes: &[u8], condition: &Condition) -> Result<Version> {
        let failed = |error| StorageError::from_io(key, error);
        let (place, version) = Place::write(self, bytes).map_err(failed)?;
        let _one = self.alone();
        let there = self.state(key)?;
        let holds = match condition {
            Condition::Absent => there.is_none(),
            Condition::Unchanged(version) => there.as_ref() == Some(version),
        };
        if !holds {
            return Err(StorageError::ConditionFailed { key: key.to_owned() });
        }
        place.rename(self, key).map_err(failed)?;
        Ok(version)
    }

    fn renew(&self, key: &str) -> Result<bool> {
        let _one = self.alone();
        match self.open_file(key) {
            Ok((file, _)) => {
                file.set_modified(SystemTime::now()).map_err(|error| StorageError::from_io(key, error))?;
                Ok(true)
            }
            Err(StorageError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn delete_unchanged(&self, key: &str, version: &Version) -> Result<bool> {
        let _one = self.alone();
        if self.state(key)?.is_some_and(|there| there != *version) {
            return Ok(false);
        }
        self.delete(key).map_err(|error| StorageError::from_io(key, error))?;
        Ok(true)
    }

    pub(super) fn delete(&self, key: &str) -> io::Result<()> {
        let path = self.path(key);
        let _alone = self.folders.write().unwrap_or_else(PoisonError::into_inner);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        }
        self.leave(&path)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let (path, target) = (self.path(from), self.path(to));
        let folder = target.parent().unwrap_or(&self.root);
        let _alone = self.folders.write().unwrap_or_else(PoisonError::into_inner);
        make_folders(self, folder)?;
        match fs::rename(&path, &target) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        }
        sync_folder(folder)?;
        self.leave(&path)
    }

    /// Makes it durable that a file has gone. Folders that became empty go too; the last one that stays is synced.
    fn leave(&self, path: &Path) -> io::Result<()> {
        let mut synced = self.synced.lock().unwrap_or_else(PoisonError::into_inner);
        let mut folder = path.parent();
        while let Some(empty) = folder.filter(|f| *f != self.root) {
            if fs::remove_dir(empty).is_err() {
                break;
            }
            synced.remove(empty);
            folder = empty.parent();
        }
        folder.map_or(Ok(()), sync_folder)
    }
}

impl Storage for FileStorage {
    fn is_shared(&self) -> bool {
        false
    }

    fn size<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<u64>> {
        let name = key.to_string();
        self.run(key.as_str(), move |inner| {
            let found = fs::metadata(inner.path(&name)).map_err(|error| StorageError::from_io(&name, error))?;
            if found.is_file() { Ok(found.len()) } else { Err(StorageError::NotFound { key: name }) }
        })
        .boxed()
    }

    fn read<'a>(&'a self, key: &'a Key, range: ByteRange) -> BoxFuture<'a, Result<Reading>> {
        let name = key.to_string();
        async move {
            let opened = self.run(key.as_str(), move |inner| {
                let (mut file, size) = inner.open_file(&name)?;
                let range = range.within(size).ok_or_else(|| StorageError::RangeOutside { key: name.clone(), size })?;
                if range.start > 0 {
                    file.seek(SeekFrom::Start(range.start)).map_err(|error| StorageError::from_io(&name, error))?;
                }
                // The first chunk comes with the opening: small objects cost one change of threads.
                let first = FileRest { key: name, file, left: range.end - range.start }.read_chunk()?;
                Ok((size, range, first))
            });
            let (size, range, first) = opened.await?;
            Ok(Reading { size, range, body: chunks(first).boxed() })
        }
        .boxed()
    }

    fn get<'a>(&'a self, key: &'a Key, limit: u64) -> BoxFuture<'a, Result<(Bytes, Version)>> {
        let name = key.to_string();
        self.run(key.as_str(), move |inner| inner.get(&name, limit)).boxed()
    }

    fn put<'a>(&'a self, key: &'a Key, bytes: Bytes, condition: Condition) -> BoxFuture<'a, Result<Version>> {
        let name = key.to_string();
        self.run(key.as_str(), move |inner| inner.put(&name, &bytes, &condition)).boxed()
    }

    fn write_blob(&self, algorithm: Algorithm) -> BoxFuture<'_, Result<Box<dyn BlobWriter>>> {
        let inner = Arc::clone(&self.inner);
        async move {
            let blob = blocking("a new blob", move || FileBlob::create(inner, algorithm)).await?;
            Ok(Box::new(blob) as Box<dyn BlobWriter>)
        }
        .boxed()
    }

    fn list<'a>(&'a self, listing: Listing<'a>) -> BoxFuture<'a, Result<Page>> {
        let prefix = listing.prefix.to_owned();
        let after = listing.after.map(ToOwned::to_owned);
        let (folders, limit) = (listing.folders, listing.limit);
        self.run(listing.prefix, move |inner| {
            let listing = Listing { prefix: &prefix, folders, after: after.as_deref(), limit };
            page(&inner.root, &listing).map_err(|error| StorageError::from_io(&prefix, error))
        })
        .boxed()
    }

    fn rename<'a>(&'a self, from: &'a Key, to: &'a Key) -> BoxFuture<'a, Result<()>> {
        let (name, target) = (from.to_string(), to.to_string());
        let work =
            move |inner: &Inner| inner.rename(&name, &target).map_err(|error| StorageError::from_io(&name, error));
        self.run(from.as_str(), work).boxed()
    }

    fn delete<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<()>> {
        let name = key.to_string();
        self.run(key.as_str(), move |inner| inner.delete(&name).map_err(|error| StorageError::from_io(&name, error)))
            .boxed()
    }

    fn renew<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<bool>> {
        let name = key.to_string();
        self.run(key.as_str(), move |inner| inner.renew(&name)).boxed()
    }

    fn delete_unchanged<'a>(&'a self, key: &'a Key, version: &'a Version) -> BoxFuture<'a, Result<bool>> {
        let (name, version) = (key.to_string(), version.clone());
        self.run(key.as_str(), move |inner| inner.delete_unchanged(&name, &version)).boxed()
    }

    fn create_session(&self, id: SessionId, note: Bytes) -> BoxFuture<'_, Result<()>> {
        self.run(keys::UPLOADS, move |inner| inner.create_session(id, &note)).boxed()
    }

    fn view_session(&self, id: SessionId) -> BoxFuture<'_, Result<SessionView>> {
        self.run(keys::UPLOADS, move |inner| inner.view_session(id)).boxed()
    }

    fn resume_session(&self, id: SessionId) -> BoxFuture<'_, Result<Box<dyn Session>>> {
        let inner = Arc::clone(&self.inner);
        let resume = move || FileSession::resume(inner, id).map(|session| Box::new(session) as Box<dyn Session>);
        blocking(keys::UPLOADS, resume).boxed()
    }

    fn drop_session(&self, id: SessionId) -> BoxFuture<'_, Result<()>> {
        self.run(keys::UPLOADS, move |inner| inner.drop_session(id)).boxed()
    }

    fn stale_sessions(&self, older_than: Duration) -> BoxFuture<'_, Result<Vec<SessionId>>> {
        self.run(keys::UPLOADS, move |inner| inner.stale_sessions(older_than)).boxed()
    }
}
