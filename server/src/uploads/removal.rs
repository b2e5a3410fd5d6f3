//! Marks on packages that somebody wants to be removed where the operator does that.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::catalogue::Catalogue;
use crate::catalogue::entry::Entry;
use crate::storage::keys::{self, Key};
use crate::storage::{self, Condition, StorageError, document};

/// Most bytes of a mark.
const LIMIT: u64 = 64 << 10;

/// Which publication of a package is to go: a later one of the same name and version isn't meant.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mark {
    digest: String,
    release_version: u64,
    added_at: String,
}

impl Mark {
    fn of(entry: &Entry) -> Self {
        let Entry { digest, release_version, added_at, .. } = entry;
        Self { digest: digest.clone(), release_version: *release_version, added_at: added_at.clone() }
    }
}

/// All marks, as they are now.
#[derive(Debug, Default, Serialize)]
pub struct Removals(BTreeMap<String, Mark>);

impl Removals {
    /// Reads them.
    ///
    /// # Errors
    /// A store that fails.
    pub async fn read(catalogue: &Catalogue) -> Result<Self, StorageError> {
        let mut codes = Vec::new();
        storage::for_each_object(catalogue.storage().as_ref(), keys::REMOVALS, |key, _| {
            codes.extend(keys::removal_of(&key));
            std::future::ready(Ok::<_, StorageError>(()))
        })
        .await?;
        let mut marks = BTreeMap::new();
        for code in codes {
            let key = keys::removal(&code);
            if let Some(mark) = mark(catalogue, &key).await? {
                marks.insert(key.to_string(), mark);
            }
        }
        Ok(Self(marks))
    }

    /// Whether this publication is to go.
    #[must_use]
    pub fn has(&self, entry: &Entry) -> bool {
        key(entry).and_then(|key| self.0.get(key.as_str())).is_some_and(|mark| *mark == Mark::of(entry))
    }
}

/// Whether this publication is to go.
///
/// # Errors
/// A store that fails.
pub async fn is_marked(catalogue: &Catalogue, entry: &Entry) -> Result<bool, StorageError> {
    let Some(key) = key(entry) else { return Ok(false) };
    Ok(mark(catalogue, &key).await? == Some(Mark::of(entry)))
}

/// Marks a publication.
///
/// # Errors
/// A store that fails.
pub async fn set(catalogue: &Catalogue, entry: &Entry) -> Result<(), StorageError> {
    let Some(key) = key(entry) else { return Ok(()) };
    // Of an earlier publication.
    if !is_marked(catalogue, entry).await? {
        catalogue.storage().delete(&key).await?;
    }
    let bytes = document::write(&key, &Mark::of(entry))?;
    match catalogue.storage().put(&key, bytes, Condition::Absent).await {
        // Somebody else asked for the same.
        Err(StorageError::ConditionFailed { .. }) => Ok(()),
        other => other.map(drop),
    }
}

/// Takes the mark of a package away.
///
/// # Errors
/// A store that fails.
pub async fn clear(catalogue: &Catalogue, entry: &Entry) -> Result<(), StorageError> {
    match key(entry) {
        Some(key) => catalogue.storage().delete(&key).await,
        None => Ok(()),
    }
}

fn key(entry: &Entry) -> Option<Key> {
    entry.code().ok().map(|code| keys::removal(&code))
}

async fn mark(catalogue: &Catalogue, key: &Key) -> Result<Option<Mark>, StorageError> {
    match catalogue.storage().get(key, LIMIT).await {
        // A damaged mark marks nothing; asked for again, it is written anew.
        Ok((bytes, _)) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}
