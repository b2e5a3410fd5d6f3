//! Reading all entries, and moving those that are none out of the way.
//!
//! What a damaged entry needed of the store is not known, so nothing of it may be lost before somebody has looked: the
//! entry goes to `quarantine/`, and while something is there, or an entry can't be read for now, nothing is removed but
//! links and tags of packages that were withdrawn or replaced. The quarantine of a name and version is emptied by
//! publishing it again; anything else there is for an administrator to look at and to delete.

use std::time::Instant;

use futures::{StreamExt, stream};

use super::entry::Roots;
use super::snapshot::READS;
use super::{Catalogue, ENTRY_LIMIT, Entries, ReadError, parse};
use crate::names::CoordinateCode;
use crate::storage::keys::{self, Key};
use crate::storage::{Condition, Listing, StorageError, Version};

/// All entries as they were found.
#[derive(Debug)]
pub(super) struct Survey {
    /// When it began: what is published later isn't in it.
    pub(super) began: Instant,
    /// What the readable ones need, and their states.
    pub(super) packages: Vec<(Roots, Version)>,
    /// Whether they are all there are.
    pub(super) complete: bool,
}

impl Catalogue {
    /// Reads all entries; puts the damaged ones into quarantine unless that is only a dry run.
    ///
    /// # Errors
    /// A listing that fails.
    pub(super) async fn survey(&self) -> Result<Survey, StorageError> {
        let began = Instant::now();
        let Entries { states, has_foreign } = self.entries().await?;
        let mut survey = Survey { began, packages: Vec::new(), complete: !has_foreign };
        if has_foreign {
            tracing::error!("no blob is removed while nobody knows what something among the entries needs");
        }
        let mut reads = stream::iter(states.into_keys()).map(|key| self.roots(key)).buffered(READS);
        while let Some((key, roots)) = reads.next().await {
            match roots {
                Ok(roots) => survey.packages.push(roots),
                Err(error) if error.is_gone() => {}
                Err(error) => {
                    survey.complete = false;
                    tracing::error!(%error, "a package is left out of the catalogue");
                    if error.is_damage()
                        && !self.options().dry_run
                        && let Err(error) = self.quarantine(&key).await
                    {
                        tracing::error!(%key, %error, "a damaged entry can't be moved to the quarantine");
                    }
                }
            }
        }
        let first = Listing { prefix: keys::QUARANTINE, folders: false, after: None, limit: 1 };
        if let Some(item) = self.storage().list(first).await?.items.first() {
            survey.complete = false;
            let message = "no blob is removed from the store while something is in quarantine: publish the package again, or look at what is there and delete it";
            tracing::warn!(quarantine = item.name(), "{message}");
        }
        Ok(survey)
    }

    async fn roots(&self, key: Key) -> (Key, Result<(Roots, Version), ReadError>) {
        let read = self.read(&key).await;
        let roots = read.and_then(|(entry, state)| Ok((entry.roots()?, state)));
        (key, roots)
    }

    /// Moves a damaged entry out of the catalogue, unless it is a good one by now.
    pub(super) async fn quarantine(&self, key: &Key) -> Result<(), StorageError> {
        let to = keys::quarantined(key);
        match self.storage().get(key, ENTRY_LIMIT).await {
            Ok((bytes, _)) if parse(key, &bytes).is_ok() => return Ok(()),
            Ok((bytes, state)) => {
                self.storage().delete(&to).await?;
                match self.storage().put(&to, bytes, Condition::Absent).await {
                    // Somebody else moves it too.
                    Ok(_) | Err(StorageError::ConditionFailed { .. }) => {}
                    Err(error) => return Err(error),
                }
                self.storage().delete_unchanged(key, &state).await?;
            }
            Err(error) if error.is_not_found() => return Ok(()),
            // Too large to be read, or not to be read at all.
            Err(_) => self.storage().rename(key, &to).await?,
        }
        self.note_removed(key).await;
        tracing::error!(%key, quarantine = %to, "a damaged entry was moved to the quarantine");
        Ok(())
    }

    /// Empties the quarantine of a coordinate that has been published again.
    pub(super) async fn release(&self, code: &CoordinateCode) -> Result<(), StorageError> {
        self.storage().delete(&keys::quarantined(&keys::entry(code))).await
    }
}
