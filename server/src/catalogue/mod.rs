//! The catalogue: packages in the store, and the links and tags made from them.
//!
//! It is derived from the entries each time; there is no index that is read, changed and written.

pub mod collector;
mod conflict;
pub mod describe;
pub mod entry;
mod judge;
pub mod links;
pub mod needs;
mod numbers;
mod options;
mod pages;
pub mod pins;
mod publish;
mod reach;
pub mod referrers;
mod repair;
pub mod snapshot;
mod survey;
mod sweep;
mod walk;
mod withdraw;

use std::collections::{BTreeMap, HashSet};
use std::future::ready;
use std::sync::{Arc, PoisonError, RwLock};

use futures::future::BoxFuture;
use futures::{StreamExt, TryStreamExt, stream};

use snafu::Snafu;
use tokio::sync::Mutex;

use crate::digest::Digest;
use crate::names::CoordinateCode;
use crate::storage::keys::{self, Key, Place};
use crate::storage::{self, Item, Storage, StorageError, Version};
use entry::{Entry, EntryError, Roots, code_of};
pub use numbers::Number;
pub use options::{OnConflict, Options};
use pins::Pins;
pub use publish::{Intent, PublishError};
pub use snapshot::{Listed, Snapshot};
use snapshot::{READS, View};
pub use sweep::{Restored, SweepError};
pub use walk::Removed;

/// Most bytes of an entry, checked when it is written too: one that could not be read again must never be.
const ENTRY_LIMIT: u64 = 64 << 20;

/// The packages of one store.
#[derive(Clone)]
pub struct Catalogue {
    inner: Arc<Inner>,
}

/// Something whose blobs no package names yet, although they must stay.
pub trait InFlight: Send + Sync + 'static {
    /// Those blobs, as they are now, whichever process brings them.
    fn roots(&self) -> BoxFuture<'_, Result<HashSet<Digest>, StorageError>>;
}

struct Inner {
    storage: Arc<dyn Storage>,
    options: Options,
    in_flight: RwLock<Vec<Arc<dyn InFlight>>>,
    pins: Pins,
    view: View,
    /// Entries of packages that lack a blob, as the last collection found them.
    lacking: RwLock<HashSet<Key>>,
    /// One publication, withdrawal or sweep at a time.
    turn: Mutex<Turn>,
}

/// What is under the prefix of entries.
#[derive(Debug, Default)]
struct Entries {
    /// Every entry with its state, in the order of the keys.
    states: BTreeMap<Key, Version>,
    /// Whether there is something that is no entry. What it may need of the store nobody knows.
    has_foreign: bool,
}

/// What one publication, withdrawal or sweep leaves to the next.
#[derive(Default)]
struct Turn {
    /// Order of the last publication.
    order: u64,
    /// What was in the catalogue, or on its way there, and is no longer. The next sweep that comes to its end removes its
    /// links and tags, also where it must not touch anything else.
    gone: Vec<Roots>,
    /// Whether something has gone of which nobody knows what it needed.
    unknown_gone: bool,
}

/// Why an entry can't be read.
#[derive(Debug, Snafu)]
pub enum ReadError {
    /// The store failed.
    #[snafu(display("{source}"), context(false))]
    Store {
        /// Why.
        source: StorageError,
    },
    /// What is there is no entry.
    #[snafu(display("{key} is damaged: {message}"))]
    Damaged {
        /// Its key.
        key: String,
        /// Why.
        message: String,
    },
    /// The name and version of an address are none.
    #[snafu(display("{source}"), context(false))]
    Name {
        /// Why.
        source: EntryError,
    },
}

impl ReadError {
    /// Whether nothing is there.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Store { source } if source.is_not_found())
    }

    /// Whether what is there is no entry, and won't be one later.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Damaged { .. } | Self::Name { .. } => true,
            Self::Store { source } => source.is_malformed(),
        }
    }
}

impl Catalogue {
    /// The catalogue of a store, with the options that are the default.
    #[must_use]
    pub fn new(storage: Arc<dyn Storage>) -> Self {
        Self::with(storage, Options::default())
    }

    /// The catalogue of a store.
    #[must_use]
    pub fn with(storage: Arc<dyn Storage>, options: Options) -> Self {
        let inner = Inner {
            pins: Pins::new(storage.is_shared()),
            storage,
            options,
            in_flight: RwLock::default(),
            view: View::default(),
            lacking: RwLock::default(),
            turn: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// How it behaves.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.inner.options
    }

    /// From now on no sweep removes what this names. To be called before [`Catalogue::restore`].
    pub fn protect(&self, in_flight: Arc<dyn InFlight>) {
        self.inner.in_flight.write().unwrap_or_else(PoisonError::into_inner).push(in_flight);
    }

    /// Whether the package of an entry lacks a blob, as far as it is known.
    #[must_use]
    pub fn is_lacking(&self, entry: &Key) -> bool {
        self.inner.lacking.read().unwrap_or_else(PoisonError::into_inner).contains(entry)
    }

    fn note_lacking(&self, entries: HashSet<Key>) {
        *self.inner.lacking.write().unwrap_or_else(PoisonError::into_inner) = entries;
    }

    /// A package that is published has everything.
    fn note_whole(&self, entry: &Key) {
        self.inner.lacking.write().unwrap_or_else(PoisonError::into_inner).remove(entry);
    }

    fn in_flight(&self) -> Vec<Arc<dyn InFlight>> {
        self.inner.in_flight.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The store.
    #[must_use]
    pub fn storage(&self) -> &Arc<dyn Storage> {
        &self.inner.storage
    }

    /// Pins of work in flight.
    #[must_use]
    pub fn pins(&self) -> &Pins {
        &self.inner.pins
    }

    /// Reads one entry.
    ///
    /// # Errors
    /// A store that fails, an entry that is damaged.
    pub async fn read(&self, key: &Key) -> Result<(Entry, Version), ReadError> {
        let (bytes, version) = self.inner.storage.get(key, ENTRY_LIMIT).await?;
        Ok((parse(key, &bytes)?, version))
    }

    /// Which entries there are, and their states: what everything of the catalogue begins with.
    ///
    /// # Errors
    /// A store that fails.
    async fn entries(&self) -> Result<Entries, StorageError> {
        let mut entries = Entries::default();
        storage::for_each_item(self.storage().as_ref(), keys::PACKAGES, |item| {
            if let Item::Object { key, version, .. } = item {
                if let Some(place @ Place::Entry(_)) = Place::of(&key) {
                    entries.states.insert(place.key(), version);
                } else {
                    tracing::warn!(key, "not an entry of a package; left alone");
                    entries.has_foreign = true;
                }
            }
            std::future::ready(Ok::<_, StorageError>(()))
        })
        .await?;
        Ok(entries)
    }

    /// What `of` makes of every package, in no order. Entries are read some at a time and not kept. One that is damaged is named
    /// in the log and left out, so that it doesn't take the whole catalogue down.
    ///
    /// # Errors
    /// A store that fails: without what could not be read for now, the answer would be a wrong one.
    pub async fn packages<T>(&self, of: impl Fn(&Entry) -> T) -> Result<Vec<T>, StorageError> {
        let read = async |key: Key| Ok(self.readable(&key).await?.as_ref().map(&of));
        let reads = stream::iter(self.entries().await?.states.into_keys()).map(read).buffer_unordered(READS);
        reads.try_filter_map(|made| ready(Ok(made))).try_collect().await
    }

    /// As [`Self::of_coordinate`]; `None` also for a name and version that no package can have.
    ///
    /// # Errors
    /// A store that fails.
    pub async fn package(&self, name: &str, version: &str) -> Result<Option<Entry>, StorageError> {
        match code_of(name, version) {
            Ok(code) => self.of_coordinate(&code).await,
            Err(_) => Ok(None),
        }
    }

    /// The package of a coordinate; `None` where there is none, or none that can be read.
    ///
    /// # Errors
    /// A store that fails: that is no answer to whether there is one.
    pub async fn of_coordinate(&self, code: &CoordinateCode) -> Result<Option<Entry>, StorageError> {
        self.readable(&keys::entry(code)).await
    }

    /// An entry; `None` where it is gone or damaged.
    async fn readable(&self, key: &Key) -> Result<Option<Entry>, StorageError> {
        match self.read(key).await {
            Ok((entry, _)) => Ok(Some(entry)),
            Err(error) if error.is_gone() => Ok(None),
            Err(error) if error.is_damage() => {
                tracing::error!(%error, "a package is left out of the catalogue");
                Ok(None)
            }
            Err(ReadError::Store { source }) => Err(source),
            Err(_) => Ok(None),
        }
    }

    /// How many packages there are.
    ///
    /// # Errors
    /// A store that fails.
    pub async fn count(&self) -> Result<u64, StorageError> {
        Ok(self.entries().await?.states.len() as u64)
    }

    /// Bytes of all blobs.
    ///
    /// # Errors
    /// A store that fails.
    pub async fn used_bytes(&self) -> Result<u64, StorageError> {
        self.storage().content_bytes().await
    }
}

/// The entry that is kept under a key.
fn parse(key: &Key, bytes: &[u8]) -> Result<Entry, ReadError> {
    let damaged = |message: String| ReadError::Damaged { key: key.to_string(), message };
    let entry: Entry = serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
    let right_place = entry.code().is_ok_and(|code| keys::entry(&code) == *key);
    if !right_place {
        return Err(damaged("it describes another package".to_owned()));
    }
    entry.roots().map_err(|error| damaged(error.to_string()))?;
    Ok(entry)
}
