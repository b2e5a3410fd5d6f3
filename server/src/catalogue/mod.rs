//! The catalogue: packages in the store, and the links and tags made from them.
//!
//! It is derived from the entries each time; there is no index that is read, changed and written.

pub mod describe;
pub mod entry;
pub mod needs;
pub mod pins;
mod publish;
mod survey;
mod sweep;

use std::sync::Arc;

use snafu::Snafu;
use tokio::sync::Mutex;

use crate::names::CoordinateCode;
use crate::storage::keys::{self, Key, Place};
use crate::storage::{self, Storage, StorageError, Version};
use entry::{Entry, EntryError, Roots};
use pins::Pins;
pub use publish::{Number, PublishError};
pub use sweep::{Restored, SweepError};

/// Most bytes of an entry, checked when it is written too: one that could not be read again must never be.
const ENTRY_LIMIT: u64 = 64 << 20;

/// The packages of one store.
#[derive(Clone)]
pub struct Catalogue {
    inner: Arc<Inner>,
}

struct Inner {
    storage: Arc<dyn Storage>,
    pins: Pins,
    /// One publication, withdrawal or sweep at a time.
    turn: Mutex<Turn>,
}

/// What one publication, withdrawal or sweep leaves to the next.
#[derive(Default)]
struct Turn {
    /// Order of the last publication.
    order: u64,
    /// What was in the catalogue, or on its way there, and is no longer. The next sweep that comes to its end removes its
    /// links and tags, also where it must not touch anything else.
    gone: Vec<Roots>,
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
        matches!(self, Self::Damaged { .. } | Self::Name { .. } | Self::Store { source: StorageError::TooLarge { .. } })
    }
}

impl Catalogue {
    /// The catalogue of a store.
    #[must_use]
    pub fn new(storage: Arc<dyn Storage>) -> Self {
        let inner = Inner { storage, pins: Pins::default(), turn: Mutex::default() };
        Self { inner: Arc::new(inner) }
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
        let damaged = |message: String| ReadError::Damaged { key: key.to_string(), message };
        let entry: Entry = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        let right_place = entry.code().is_ok_and(|code| keys::entry(&code, entry.release_version) == *key);
        if !right_place {
            return Err(damaged("it describes another package".to_owned()));
        }
        entry.roots().map_err(|error| damaged(error.to_string()))?;
        Ok((entry, version))
    }

    /// Keys of all entries under a prefix, in their order.
    ///
    /// # Errors
    /// A store that fails.
    pub async fn keys(&self, prefix: &str) -> Result<Vec<Key>, StorageError> {
        let mut keys = Vec::new();
        storage::for_each_object(self.storage().as_ref(), prefix, |key, _| {
            if let Some(place @ Place::Entry(..)) = Place::of(&key) {
                keys.push(place.key());
            } else {
                tracing::warn!(key, "not an entry of a package; left alone");
            }
            std::future::ready(Ok::<_, StorageError>(()))
        })
        .await?;
        Ok(keys)
    }

    /// Every package that can be read, sorted by name, then release version, newest first. Others are named in the log and
    /// left out, so that one of them doesn't take the whole catalogue down.
    ///
    /// # Errors
    /// A listing that fails.
    pub async fn packages(&self) -> Result<Vec<Entry>, StorageError> {
        let keys = self.keys(keys::PACKAGES).await?;
        let (mut entries, _) = self.readable(keys).await;
        entries.sort_by(|a, b| a.name.cmp(&b.name).then(b.release_version.cmp(&a.release_version)));
        Ok(entries)
    }

    /// The packages of one coordinate that can be read, newest first.
    ///
    /// # Errors
    /// A listing that fails, or a store that fails so that none can be read: that is no answer to whether there is one.
    pub async fn of_coordinate(&self, code: &CoordinateCode) -> Result<Vec<Entry>, StorageError> {
        let keys = self.keys(&keys::entries(code)).await?;
        let (mut entries, failed) = self.readable(keys).await;
        if let (true, Some(error)) = (entries.is_empty(), failed) {
            return Err(error);
        }
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.release_version));
        Ok(entries)
    }

    /// The entries that can be read, and what the store said last of those that can't be read for now.
    async fn readable(&self, keys: Vec<Key>) -> (Vec<Entry>, Option<StorageError>) {
        let (mut entries, mut failed) = (Vec::with_capacity(keys.len()), None);
        for key in keys {
            match self.read(&key).await {
                Ok((entry, _)) => entries.push(entry),
                // Withdrawn since it was listed.
                Err(ReadError::Store { source: StorageError::NotFound { .. } }) => {}
                Err(error) => {
                    tracing::error!(%error, "a package is left out of the catalogue");
                    match error {
                        ReadError::Store { source: StorageError::TooLarge { .. } } => {}
                        ReadError::Store { source } => failed = Some(source),
                        _ => {}
                    }
                }
            }
        }
        (entries, failed)
    }

    /// How many packages there are.
    ///
    /// # Errors
    /// A store that fails.
    pub async fn count(&self) -> Result<u64, StorageError> {
        Ok(self.keys(keys::PACKAGES).await?.len() as u64)
    }

    /// Bytes of all blobs.
    ///
    /// # Errors
    /// A store that fails.
    pub async fn used_bytes(&self) -> Result<u64, StorageError> {
        self.storage().content_bytes().await
    }
}
