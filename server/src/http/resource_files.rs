//! Which files a package has, remembered as long as its entry stays what it is.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::catalogue::{Catalogue, ReadError};
use crate::names::CoordinateCode;
use crate::storage::keys::{self, Key};
use crate::storage::{StorageError, Version};

/// Entries that are looked at at the same time.
const LOOKS: usize = 8;
/// Entries that are remembered, and their files together.
const ENTRIES: usize = 1024;
const FILES: usize = 200_000;
/// Most bytes of an entry that is looked at.
const ENTRY_LIMIT: u64 = 64 << 20;

/// Digest and name of each file.
type Names = BTreeSet<(String, String)>;

/// What each entry has, and the state of it that this was read from.
type Known = HashMap<Key, (Version, Arc<Names>)>;

/// The files of one catalogue's packages.
#[derive(Clone)]
pub(super) struct Files {
    catalogue: Catalogue,
    looks: Arc<Semaphore>,
    known: Arc<Mutex<Known>>,
}

impl Files {
    pub(super) fn new(catalogue: Catalogue) -> Self {
        Self { catalogue, looks: Arc::new(Semaphore::new(LOOKS)), known: Arc::default() }
    }

    /// Whether a package of the coordinate has this file.
    ///
    /// # Errors
    /// A store that fails so that nobody can say.
    pub(super) async fn has(&self, code: &CoordinateCode, digest: &str, name: &str) -> Result<bool, StorageError> {
        let _permit = self.looks.acquire().await;
        let key = keys::entry(code);
        let version = match self.catalogue.storage().get(&key, ENTRY_LIMIT).await {
            Ok((_, version)) => version,
            Err(error) if error.is_not_found() => return Ok(false),
            Err(error) => return Err(error),
        };
        let names = match self.known(&key, &version) {
            Some(names) => names,
            None => self.learn(key).await?,
        };
        Ok(names.contains(&(digest.to_owned(), name.to_owned())))
    }

    fn known(&self, key: &Key, version: &Version) -> Option<Arc<Names>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(key).filter(|(of, _)| of == version).map(|(_, names)| Arc::clone(names))
    }

    /// Reads an entry, away from the threads that answer requests.
    async fn learn(&self, key: Key) -> Result<Arc<Names>, StorageError> {
        let (this, runtime) = (self.clone(), Handle::current());
        let learn = move || match runtime.block_on(this.catalogue.read(&key)) {
            Ok((entry, version)) => {
                let names: Names = entry.files.into_iter().map(|file| (file.digest, file.name)).collect();
                let names = Arc::new(names);
                remember(
                    &mut this.known.lock().unwrap_or_else(PoisonError::into_inner),
                    key,
                    (version, Arc::clone(&names)),
                );
                Ok(names)
            }
            Err(ReadError::Store { source }) if !source.is_not_found() => Err(source),
            Err(ReadError::Store { .. }) => Ok(Arc::default()),
            Err(error) => {
                tracing::error!(%error, "the files of a package are not served");
                Ok(Arc::default())
            }
        };
        let stopped = |error| Err(StorageError::from_io(keys::PACKAGES, std::io::Error::other(error)));
        spawn_blocking(learn).await.unwrap_or_else(stopped)
    }
}

fn remember(known: &mut Known, key: Key, found: (Version, Arc<Names>)) {
    let files: usize = known.values().map(|(_, names)| names.len()).sum();
    if known.len() >= ENTRIES || files + found.1.len() > FILES {
        known.clear();
    }
    known.insert(key, found);
}
