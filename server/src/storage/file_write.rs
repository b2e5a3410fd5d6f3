//! Durable writes: to a temporary file, sync, rename, sync of every folder that changed.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use uuid::Uuid;

use super::file::{Inner, TEMPORARY, blocking};
use super::file_state::version;
use super::{BlobWriter, FinishedBlob, Result, StorageError, Version, keys};
use crate::digest::{Algorithm, Digest, Hasher};

/// Makes the names in a folder durable.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// A temporary file; removed unless it was renamed.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    renamed: bool,
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.renamed {
            // What can't be removed now goes at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Place {
    fn create(inner: &Inner) -> io::Result<(Self, File)> {
        let path = Self::unused(inner);
        let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
        Ok((Self { path, renamed: false }, file))
    }

    /// A synced temporary file with these bytes, and the state that it will have in its place.
    pub(super) fn write(inner: &Inner, bytes: &[u8]) -> io::Result<(Self, Version)> {
        let (place, mut file) = Self::create(inner)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        let version = version(&file.metadata()?);
        Ok((place, version))
    }

    /// A file that is elsewhere in the store, from now on under a name that nobody knows.
    pub(super) fn take(inner: &Inner, file: &Path) -> io::Result<Self> {
        let path = Self::unused(inner);
        fs::rename(file, &path)?;
        Ok(Self { path, renamed: false })
    }

    fn unused(inner: &Inner) -> PathBuf {
        inner.root.join(TEMPORARY).join(Uuid::new_v4().simple().to_string())
    }

    /// Puts the file where its key says; the name is durable once this has returned.
    pub(super) fn rename(mut self, inner: &Inner, key: &str) -> io::Result<()> {
        let target = inner.path(key);
        let folder = target.parent().unwrap_or(&inner.root).to_owned();
        let _present = inner.folders.read().unwrap_or_else(PoisonError::into_inner);
        make_folders(inner, &folder)?;
        fs::rename(&self.path, &target)?;
        self.renamed = true;
        sync_folder(&folder)
    }
}

/// Makes a folder and what leads to it, each name synced in its parent. One thread at a time: who finds a folder that
/// another one has made must not go on before its name is durable.
pub(super) fn make_folders(inner: &Inner, folder: &Path) -> io::Result<()> {
    let mut synced = inner.synced.lock().unwrap_or_else(PoisonError::into_inner);
    make_synced(&inner.root, folder, &mut synced)
}

fn make_synced(root: &Path, folder: &Path, synced: &mut HashSet<PathBuf>) -> io::Result<()> {
    if folder == root || synced.contains(folder) && folder.is_dir() {
        return Ok(());
    }
    let Some(parent) = folder.parent() else { return Ok(()) };
    make_synced(root, parent, synced)?;
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => sync_folder(parent)?,
    }
    synced.insert(folder.to_owned());
    Ok(())
}

/// A blob on its way into a temporary file.
#[derive(Debug)]
pub(super) struct FileBlob {
    inner: Arc<Inner>,
    /// Away while a write runs; gone for good after one failed.
    open: Option<OpenBlob>,
}

#[derive(Debug)]
struct OpenBlob {
    place: Place,
    file: File,
    hasher: Hasher,
    size: u64,
}

const NAME: &str = "a new blob";

impl FileBlob {
    pub(super) fn create(inner: Arc<Inner>, algorithm: Algorithm) -> Result<Self> {
        let (place, file) = Place::create(&inner).map_err(|error| StorageError::from_io(NAME, error))?;
        let open = OpenBlob { place, file, hasher: Hasher::new(algorithm), size: 0 };
        Ok(Self { inner, open: Some(open) })
    }

    fn take(&mut self) -> Result<OpenBlob> {
        self.open.take().ok_or_else(|| StorageError::Io {
            key: NAME.to_owned(),
            source: io::Error::other("an earlier write of this blob failed"),
        })
    }
}

impl BlobWriter for FileBlob {
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<()>> {
        async move {
            let mut open = self.take()?;
            let work = move || {
                open.file.write_all(&bytes).map_err(|error| StorageError::from_io(NAME, error))?;
                open.hasher.update(&bytes);
                open.size += bytes.len() as u64;
                Ok(open)
            };
            self.open = Some(blocking(NAME, work).await?);
            Ok(())
        }
        .boxed()
    }

    fn finish(mut self: Box<Self>) -> BoxFuture<'static, Result<Box<dyn FinishedBlob>>> {
        async move {
            let open = self.take()?;
            let inner = Arc::clone(&self.inner);
            let work = move || {
                open.file.sync_all().map_err(|error| StorageError::from_io(NAME, error))?;
                let finished =
                    FinishedFileBlob { inner, place: open.place, digest: open.hasher.finish(), size: open.size };
                Ok(Box::new(finished) as Box<dyn FinishedBlob>)
            };
            blocking(NAME, work).await
        }
        .boxed()
    }
}

pub(super) struct FinishedFileBlob {
    pub(super) inner: Arc<Inner>,
    pub(super) place: Place,
    pub(super) digest: Digest,
    pub(super) size: u64,
}

impl FinishedBlob for FinishedFileBlob {
    fn digest(&self) -> &Digest {
        &self.digest
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn commit(self: Box<Self>) -> BoxFuture<'static, Result<()>> {
        async move {
            let key = keys::blob(&self.digest).to_string();
            let name = key.clone();
            let work =
                move || self.place.rename(&self.inner, &name).map_err(|error| StorageError::from_io(&name, error));
            blocking(&key, work).await
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_there_already_counts_only_once_it_was_synced_up_to_the_root() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("a/b");
        // As a process leaves it that was killed before it could sync.
        fs::create_dir_all(&folder).unwrap();
        let mut synced = HashSet::new();
        make_synced(root.path(), &folder, &mut synced).unwrap();
        assert_eq!(synced, HashSet::from([root.path().join("a"), folder]));
    }

    #[test]
    fn a_folder_that_has_gone_since_it_was_synced_is_made_anew() {
        let root = tempfile::tempdir().unwrap();
        let (folder, mut synced) = (root.path().join("a/b"), HashSet::new());
        make_synced(root.path(), &folder, &mut synced).unwrap();
        fs::remove_dir_all(root.path().join("a")).unwrap();
        make_synced(root.path(), &folder, &mut synced).unwrap();
        assert!(folder.is_dir());
    }
}
