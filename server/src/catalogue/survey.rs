//! Reading all entries, and moving those that are none out of the way.
//!
//! What a damaged entry needed of the store is not known, so nothing of it may be lost before somebody has looked: the
//! entry goes to `quarantine/`, and while something is there, or an entry can't be read for now, sweeps remove no blob,
//! and no link or tag but those of packages that were withdrawn or replaced. The quarantine of a name and version is
//! emptied by publishing it again; anything else there is for an administrator to look at and to delete.

use super::entry::Roots;
use super::{Catalogue, ReadError};
use crate::names::CoordinateCode;
use crate::storage::keys::{self, Key};
use crate::storage::{Listing, StorageError};

/// All entries as they were found.
#[derive(Debug)]
pub(super) struct Survey {
    /// What the readable ones need.
    pub(super) packages: Vec<Roots>,
    /// Whether they are all there are.
    pub(super) complete: bool,
}

impl Catalogue {
    /// Reads all entries and puts the damaged ones into quarantine. To be called in a turn: nobody may be writing an
    /// entry meanwhile.
    ///
    /// # Errors
    /// A listing that fails.
    pub(super) async fn survey(&self) -> Result<Survey, StorageError> {
        let mut survey = Survey { packages: Vec::new(), complete: true };
        for key in self.keys().await? {
            let roots = match self.read(&key).await {
                Ok((entry, _)) => entry.roots().map_err(ReadError::from),
                Err(error) => Err(error),
            };
            match roots {
                Ok(roots) => survey.packages.push(roots),
                Err(error) => {
                    survey.complete = false;
                    tracing::error!(%error, "a package is left out of the catalogue");
                    if error.is_damage()
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

    /// Moves a damaged entry out of the catalogue.
    pub(super) async fn quarantine(&self, key: &Key) -> Result<(), StorageError> {
        let to = keys::quarantined(key);
        self.storage().rename(key, &to).await?;
        self.note_removed(key).await;
        tracing::error!(%key, quarantine = %to, "a damaged entry was moved to the quarantine");
        Ok(())
    }

    /// Empties the quarantine of a coordinate that has been published again.
    pub(super) async fn release(&self, code: &CoordinateCode) -> Result<(), StorageError> {
        self.storage().delete(&keys::quarantined(&keys::entry(code))).await
    }
}
