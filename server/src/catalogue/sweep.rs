//! Withdrawing packages, and removing what no package needs.

use std::collections::HashSet;

use snafu::Snafu;

use super::entry::{EntryError, Roots};
use super::needs::{Needs, Verdict};
use super::publish::PublishError;
use super::{Catalogue, ReadError};
use crate::storage::keys::{self, Key, Place};
use crate::storage::{Item, Listing, PAGE, StorageError};

/// Why a sweep stopped. Nothing that a package needs was removed.
#[derive(Debug, Snafu)]
pub enum SweepError {
    /// An entry can't be read, so nobody knows what it needs.
    #[snafu(display("nothing is removed from the store while a package can't be read: {source}"), context(false))]
    Unreadable {
        /// Why.
        source: ReadError,
    },
    /// An entry names something impossible.
    #[snafu(display("nothing is removed from the store while a package can't be understood: {source}"), context(false))]
    Odd {
        /// Why.
        source: EntryError,
    },
    /// A tag could not be moved back.
    #[snafu(display("{source}"), context(false))]
    Tag {
        /// Why.
        source: PublishError,
    },
    /// The store failed.
    #[snafu(display("{source}"), context(false))]
    Store {
        /// Why.
        source: StorageError,
    },
}

/// A declaration that has a package in the store.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Restored {
    /// Its id.
    pub id: String,
    /// Hash of its source.
    pub source: String,
    /// Release version of its package.
    pub release_version: u64,
    /// Key of its package's entry.
    pub entry: Key,
}

impl Restored {
    fn of(roots: &Roots) -> Self {
        Self {
            id: roots.declaration.id.clone(),
            source: roots.declaration.source.clone(),
            release_version: roots.release_version,
            entry: roots.entry.clone(),
        }
    }
}

impl Catalogue {
    /// Removes what no package needs and moves tags back to what the packages say. Returns the declarations that have
    /// a package.
    ///
    /// # Errors
    /// A store that fails, an entry that can't be read: nothing is removed then that might be needed.
    pub async fn sweep(&self) -> Result<Vec<Restored>, SweepError> {
        let mut last_order = self.inner.turn.lock().await;
        self.sweep_in_turn(&mut last_order).await
    }

    /// What a start needs: removes what a crash left, and says which declarations have a package. A package that can't be
    /// read is named and left alone, and nothing is removed then.
    ///
    /// # Errors
    /// A store that fails.
    pub async fn restore(&self) -> Result<Vec<Restored>, SweepError> {
        match self.sweep().await {
            Err(error @ (SweepError::Unreadable { .. } | SweepError::Odd { .. })) => {
                tracing::error!(%error, "the store was not tidied");
            }
            other => return other,
        }
        let mut last_order = self.inner.turn.lock().await;
        let readable = self.packages().await?;
        let roots: Vec<_> = readable.iter().filter_map(|entry| entry.roots().ok()).collect();
        *last_order = roots.iter().map(|roots| roots.order).fold(*last_order, u64::max);
        Ok(roots.iter().map(Restored::of).collect())
    }

    /// Removes packages from the catalogue, and what nobody else needs of them from the store.
    ///
    /// # Errors
    /// A store that fails; what was not removed goes with a later sweep.
    pub async fn withdraw(&self, entries: &[Key]) -> Result<(), SweepError> {
        let mut last_order = self.inner.turn.lock().await;
        for key in entries {
            self.storage().delete(key).await?;
        }
        self.sweep_in_turn(&mut last_order).await.map(drop)
    }

    async fn sweep_in_turn(&self, last_order: &mut u64) -> Result<Vec<Restored>, SweepError> {
        let packages = self.all_roots().await?;
        *last_order = packages.iter().map(|roots| roots.order).fold(*last_order, u64::max);
        let mut restored: Vec<_> = packages.iter().map(Restored::of).collect();
        let needs = Needs::of(packages);
        restored.retain(|found| !needs.superseded.contains(&found.entry));
        for key in &needs.superseded {
            self.storage().delete(key).await?;
        }
        // Tags and links before the bytes they lead to.
        let mut tags = HashSet::new();
        self.sweep_under(keys::REPOSITORIES, &needs, &mut tags).await?;
        self.sweep_under(keys::BLOBS, &needs, &mut tags).await?;
        self.complete_tags(&needs, &tags).await?;
        Ok(restored)
    }

    async fn all_roots(&self) -> Result<Vec<Roots>, SweepError> {
        let mut packages = Vec::new();
        for key in self.keys(keys::PACKAGES).await? {
            packages.push(self.read(&key).await?.0.roots()?);
        }
        Ok(packages)
    }

    async fn sweep_under(&self, prefix: &str, needs: &Needs, tags: &mut HashSet<Key>) -> Result<(), SweepError> {
        let mut after: Option<String> = None;
        loop {
            let listing = Listing { prefix, folders: false, after: after.as_deref(), limit: PAGE };
            let page = self.storage().list(listing).await?;
            for item in &page.items {
                // What isn't of the tree is nobody's to judge.
                if let Some(place) = Place::of(item.name()) {
                    self.treat(&place, needs.verdict(&place), tags).await?;
                }
            }
            if !page.more {
                return Ok(());
            }
            after = page.items.last().map(Item::name).map(ToOwned::to_owned);
        }
    }

    async fn treat(&self, place: &Place, verdict: Verdict, tags: &mut HashSet<Key>) -> Result<(), SweepError> {
        let key = place.key();
        match (verdict, place) {
            (Verdict::Keep, _) => {}
            (Verdict::PointAt(target), _) => match self.point_tag(&key, &target).await {
                Ok(()) => drop(tags.insert(key)),
                // A tag that can't be moved must not stay where it is; removing it needs no room.
                Err(error) if error.is_storage_full() => self.storage().delete(&key).await?,
                Err(error) => return Err(error.into()),
            },
            (Verdict::Remove, Place::Blob(digest)) => {
                self.pins().unless_pinned(digest, self.storage().delete(&key)).await?;
            }
            (Verdict::Remove, _) => self.storage().delete(&key).await?,
        }
        Ok(())
    }

    /// Makes the tags that are missing. While there is no room for one, the image is there by its digest alone, and a
    /// later sweep makes it.
    async fn complete_tags(&self, needs: &Needs, seen: &HashSet<Key>) -> Result<(), SweepError> {
        for (key, target) in needs.missing_tags(seen) {
            match self.point_tag(key, target).await {
                Err(error) if error.is_storage_full() => tracing::error!(%key, %error, "a tag is missing for now"),
                other => other?,
            }
        }
        Ok(())
    }
}
