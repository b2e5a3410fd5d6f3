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

/// Digest and name of each file.
type Names = BTreeSet<(String, String)>;

/// What each entry has, and the state of it that this was read from.
type Known = HashMap<Key, (Version, Arc<Names>)>;

/// State of every entry of one snapshot.
type States = (u64, Arc<HashMap<Key, Version>>);

/// The files of one catalogue's packages.
#[derive(Clone)]
pub(super) struct Files {
    catalogue: Catalogue,
    looks: Arc<Semaphore>,
    known: Arc<Mutex<Known>>,
    states: Arc<Mutex<States>>,
}

impl Files {
    pub(super) fn new(catalogue: Catalogue) -> Self {
        Self { catalogue, looks: Arc::new(Semaphore::new(LOOKS)), known: Arc::default(), states: Arc::default() }
    }

    /// Whether a package of the coordinate has this file. An entry is read when its state is another one than before.
    ///
    /// # Errors
    /// A store that fails so that nobody can say.
    pub(super) async fn has(&self, code: &CoordinateCode, digest: &str, name: &str) -> Result<bool, StorageError> {
        let (key, wanted) = (keys::entry(code), (digest.to_owned(), name.to_owned()));
        let state = self.states().await?.get(&key).cloned();
        if let Some(state) = &state {
            let names = match self.known(&key, state) {
                Some(names) => names,
                None => self.learn(key.clone()).await?,
            };
            if names.contains(&wanted) {
                return Ok(true);
            }
        }
        // Another instance may have published it just now: its /repo names it already.
        let may_be_new = self.catalogue.storage().is_shared();
        Ok(may_be_new && self.learn(key).await?.contains(&wanted))
    }

    async fn states(&self) -> Result<Arc<HashMap<Key, Version>>, StorageError> {
        let snapshot = self.catalogue.snapshot().await?;
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        if states.0 != snapshot.generation {
            let all = snapshot.packages.iter().map(|package| (package.key.clone(), package.state.clone()));
            *states = (snapshot.generation, Arc::new(all.collect()));
        }
        Ok(Arc::clone(&states.1))
    }

    fn known(&self, key: &Key, version: &Version) -> Option<Arc<Names>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(key).filter(|(of, _)| of == version).map(|(_, names)| Arc::clone(names))
    }

    /// Reads an entry, away from the threads that answer requests.
    async fn learn(&self, key: Key) -> Result<Arc<Names>, StorageError> {
        let _permit = self.looks.acquire().await;
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
