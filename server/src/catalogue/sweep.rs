//! Withdrawing packages, removing what no package needs, and making again what is missing.

use std::collections::HashSet;

use bytes::Bytes;
use snafu::Snafu;

use super::entry::{Entry, EntryError, Roots};
use super::needs::{Needs, Verdict};
use super::publish::{SMALL, json};
use super::snapshot::Freshness;
use super::survey::Survey;
use super::{Catalogue, ReadError, Turn};
use crate::storage::keys::{self, Key, Place};
use crate::storage::{Item, Listing, PAGE, StorageError};

/// Why a sweep stopped. Nothing that a package needs was removed.
#[derive(Debug, Snafu)]
pub enum SweepError {
    /// The entry of a package that is to be withdrawn can't be read for now.
    #[snafu(display("{source}"), context(false))]
    Unreadable {
        /// Why.
        source: ReadError,
    },
    /// An entry names something impossible.
    #[snafu(display("{source}"), context(false))]
    Odd {
        /// Why.
        source: EntryError,
    },
    /// A link or tag could not be put into words.
    #[snafu(display("a link or tag could not be written as JSON: {source}"), context(false))]
    Json {
        /// Why.
        source: serde_json::Error,
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

/// How links are compared with what they must hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Compare {
    /// By their bytes; at the start.
    Content,
    /// By their size, which the listing brings.
    Size,
}

/// What a sweep may touch.
#[derive(Debug)]
enum Reach {
    /// Every entry is known, and so is what is needed.
    Everything,
    /// Links and tags of packages that have gone.
    Only(HashSet<Place>),
}

impl Reach {
    fn covers(&self, place: &Place) -> bool {
        match self {
            Self::Everything => true,
            Self::Only(places) => places.contains(place),
        }
    }
}

/// One walk through the store.
struct Walk<'a> {
    needs: &'a Needs,
    reach: Reach,
    compare: Compare,
    /// What is needed and was found.
    seen: HashSet<Place>,
}

impl Catalogue {
    /// Removes what no package needs, moves tags back to what the packages say, and makes links and tags again that are
    /// missing or damaged. Returns the declarations that have a package of which nothing is missing.
    ///
    /// # Errors
    /// A store that fails: what was not removed goes with a later sweep.
    pub async fn sweep(&self) -> Result<Vec<Restored>, SweepError> {
        let mut turn = self.inner.turn.lock().await;
        self.sweep_in_turn(&mut turn, Compare::Size).await
    }

    /// What a start needs: removes what a crash left, and says which declarations have a package. A package that can't be
    /// read is named and left out, and so is a declaration whose package lacks a blob: declared again, it is fetched again.
    ///
    /// # Errors
    /// A listing that fails.
    pub async fn restore(&self) -> Result<Vec<Restored>, SweepError> {
        let mut turn = self.inner.turn.lock().await;
        match self.sweep_in_turn(&mut turn, Compare::Content).await {
            Ok(restored) => return Ok(restored),
            Err(error) => tracing::error!(%error, "the store was not tidied"),
        }
        let packages = self.survey().await?.packages;
        turn.order = packages.iter().map(|roots| roots.order).fold(turn.order, u64::max);
        let restored: Vec<_> = packages.iter().map(Restored::of).collect();
        let superseded: HashSet<Key> = Needs::of(packages).superseded.into_iter().map(|roots| roots.entry).collect();
        Ok(restored.into_iter().filter(|found| !superseded.contains(&found.entry)).collect())
    }

    /// What a declaration has in the store, its latest publication. Entries that can't be read are passed over.
    ///
    /// # Errors
    /// A listing that fails.
    pub async fn declared(&self, id: &str) -> Result<Option<Restored>, StorageError> {
        let snapshot = self.look(Freshness::Now).await?;
        let own = snapshot.packages.iter().filter(|package| package.declaration.id == id);
        Ok(own.max_by_key(|package| package.order).map(|package| Restored {
            id: id.to_owned(),
            source: package.declaration.source.clone(),
            release_version: package.release_version,
            entry: package.key.clone(),
        }))
    }

    /// Removes everything that a declaration has in the catalogue, and what nobody else needs of it from the store.
    /// `known` is where its package was put last. Adds what was withdrawn to `withdrawn`, also where it fails later.
    ///
    /// # Errors
    /// A store that fails; what was not removed goes with a later sweep.
    pub async fn withdraw(&self, id: &str, known: Option<&Key>, withdrawn: &mut Vec<Entry>) -> Result<(), SweepError> {
        let mut turn = self.inner.turn.lock().await;
        for key in self.keys().await? {
            match self.read(&key).await {
                Ok((entry, _)) if entry.declaration.id == id => {
                    // Noted first: while an entry can't be read, only what is noted is removed.
                    turn.gone.push(entry.roots()?);
                    self.storage().delete(&key).await?;
                    self.note_removed(&key).await;
                    withdrawn.push(entry);
                }
                // Its last trace; nobody needs it in quarantine.
                Err(error) if known == Some(&key) && error.is_damage() => {
                    self.storage().delete(&key).await?;
                    self.note_removed(&key).await;
                }
                Err(error) if known == Some(&key) => return Err(error.into()),
                // Another declaration's; the sweep says so.
                Ok(_) | Err(_) => {}
            }
        }
        self.sweep_in_turn(&mut turn, Compare::Size).await.map(drop)
    }

    async fn sweep_in_turn(&self, turn: &mut Turn, compare: Compare) -> Result<Vec<Restored>, SweepError> {
        let Survey { packages, complete } = self.survey().await?;
        turn.order = packages.iter().map(|roots| roots.order).fold(turn.order, u64::max);
        let found: Vec<_> = packages.iter().map(|roots| (Restored::of(roots), roots.blobs.clone())).collect();
        let mut needs = Needs::of(packages);
        let superseded = std::mem::take(&mut needs.superseded);
        let mut left_out: HashSet<Key> = superseded.iter().map(|roots| roots.entry.clone()).collect();
        turn.gone.extend(superseded);
        for key in &left_out {
            self.storage().delete(key).await?;
            self.note_removed(key).await;
        }
        let reach = if complete {
            Reach::Everything
        } else {
            Reach::Only(turn.gone.iter().flat_map(Roots::links_and_tags).collect())
        };
        let mut walk = Walk { needs: &needs, reach, compare, seen: HashSet::new() };
        // Tags and links before the bytes they lead to.
        self.sweep_under(keys::REPOSITORIES, &mut walk).await?;
        self.sweep_under(keys::RELEASES, &mut walk).await?;
        self.sweep_under(keys::BLOBS, &mut walk).await?;
        self.complete_links(&walk).await?;
        turn.gone.clear();
        for (restored, blobs) in &found {
            let missing = blobs.iter().find(|digest| !walk.seen.contains(&Place::Blob((*digest).clone())));
            if let Some(digest) = missing
                && left_out.insert(restored.entry.clone())
            {
                tracing::error!(entry = %restored.entry, %digest, "a package lacks a blob; declare it again to fetch it again");
            }
        }
        Ok(found.into_iter().map(|(restored, _)| restored).filter(|found| !left_out.contains(&found.entry)).collect())
    }

    async fn sweep_under(&self, prefix: &str, walk: &mut Walk<'_>) -> Result<(), SweepError> {
        let mut after: Option<String> = None;
        loop {
            let listing = Listing { prefix, folders: false, after: after.as_deref(), limit: PAGE };
            let page = self.storage().list(listing).await?;
            for item in &page.items {
                // What isn't of the tree is nobody's to judge.
                if let (Item::Object { size, .. }, Some(place)) = (item, Place::of(item.name())) {
                    self.treat(place, *size, walk).await?;
                }
            }
            if !page.more {
                return Ok(());
            }
            after = page.items.last().map(Item::name).map(ToOwned::to_owned);
        }
    }

    async fn treat(&self, place: Place, size: u64, walk: &mut Walk<'_>) -> Result<(), SweepError> {
        let key = place.key();
        match (walk.needs.verdict(&place), &place) {
            (Verdict::Keep, _) => {
                if let Some(link) = walk.needs.link(&place)
                    && !self.is_right(&key, size, &link?, walk.compare).await?
                {
                    // Missing, as far as the rest of the sweep is concerned.
                    return Ok(());
                }
                walk.seen.insert(place);
            }
            (Verdict::PointAt(_), _) if !walk.reach.covers(&place) => drop(walk.seen.insert(place)),
            (Verdict::PointAt(target), _) => match self.settle(&key, json(&target)?).await {
                Ok(()) => drop(walk.seen.insert(place)),
                // A tag that can't be moved must not stay where it is; removing it needs no room.
                Err(StorageError::StorageFull { .. }) => self.storage().delete(&key).await?,
                Err(error) => return Err(error.into()),
            },
            (Verdict::Remove, _) if !walk.reach.covers(&place) => {}
            (Verdict::Remove, Place::Blob(digest)) => {
                // A store may delete as soon as it is asked: it is asked in the turn.
                self.pins().unless_pinned(digest, async { self.storage().delete(&key).await }).await?;
            }
            (Verdict::Remove, _) => self.storage().delete(&key).await?,
        }
        Ok(())
    }

    async fn is_right(&self, key: &Key, size: u64, link: &Bytes, compare: Compare) -> Result<bool, StorageError> {
        if size != link.len() as u64 || compare == Compare::Size {
            return Ok(size == link.len() as u64);
        }
        Ok(self.storage().get(key, SMALL).await?.0 == link)
    }

    /// Makes the links and tags that are missing or damaged. While there is no room for one, the package is there without
    /// it, and a later sweep makes it.
    async fn complete_links(&self, walk: &Walk<'_>) -> Result<(), SweepError> {
        for (key, bytes) in walk.needs.missing(&walk.seen)? {
            match self.settle(&key, bytes).await {
                Err(error @ StorageError::StorageFull { .. }) => {
                    tracing::error!(%key, %error, "a link or tag is missing for now");
                }
                other => other?,
            }
        }
        Ok(())
    }
}
