//! Removing what nobody needs: at once what this process leaves, and by age what others may have left.
//!
//! Where only this process works on the store, pins protect what is on its way, and what a failed or withdrawn package
//! leaves goes at once. Where others work on it too, nobody knows what they count on: bytes go when they are old, and
//! whoever counts on something makes it new first ([`Catalogue::rely_on`]).

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, stream};
use snafu::Snafu;

use super::entry::{EntryError, Roots};
use super::needs::Needs;
use super::pins::PinSet;
use super::reach::{AtOnce, Reach};
use super::snapshot::{Freshness, Listed, READS};
use super::survey::Survey;
use super::walk::{Compare, Removed, Walk};
use super::{Catalogue, ReadError, Turn};
use crate::digest::Digest;
use crate::storage::keys::{self, Key, Place};
use crate::storage::{StorageError, Version};

/// Longest time for which a withdrawn package's links and tags wait on a shared store, so that nobody who publishes the
/// same ones at that moment loses them.
pub(super) const SETTLED: Duration = Duration::from_mins(2);

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

impl From<&Listed> for Restored {
    fn from(package: &Listed) -> Self {
        Self {
            id: package.declaration.id.clone(),
            source: package.declaration.source.clone(),
            release_version: package.release_version,
            entry: package.key.clone(),
        }
    }
}

/// Which part of the store is walked through.
#[derive(Clone, Debug)]
enum Part {
    All,
    /// Links, tags and claims under these prefixes alone.
    Small {
        repositories: Vec<String>,
        releases: Vec<String>,
    },
}

/// When what is wrong with links and tags is made right.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Repairs {
    /// Before the bytes are looked at: the walk has the turn, and what is needed was read in it.
    AtOnce,
    /// By whoever asked for the walk.
    Later,
}

/// What is known and needed at the beginning of a walk.
pub(super) struct Known {
    began: Instant,
    pub(super) needs: Needs,
    complete: bool,
    /// Every package with the blobs that it needs.
    found: Vec<(Restored, Vec<Digest>)>,
    /// Entries that a later publication replaced.
    superseded: Vec<(Roots, Version)>,
}

impl Known {
    fn superseded(&self) -> impl Iterator<Item = Roots> {
        self.superseded.iter().map(|(roots, _)| roots.clone())
    }
}

impl Catalogue {
    /// Removes what this process has left in the store: of publications that failed, of packages that were withdrawn or
    /// replaced. Moves tags back to what the packages say; on a shared store those that nobody has touched lately.
    ///
    /// # Errors
    /// A store that fails: what was not removed goes with a later sweep.
    pub async fn sweep(&self) -> Result<(), SweepError> {
        let mut turn = self.inner.turn.lock().await;
        self.sweep_in_turn(&mut turn).await
    }

    pub(super) async fn sweep_in_turn(&self, turn: &mut Turn) -> Result<(), SweepError> {
        let looked = Instant::now();
        let released = self.pins().released_before(looked);
        let left = turn.unknown_gone || !turn.gone.is_empty() || !released.is_empty();
        // All entries are read for a sweep, so not for nothing.
        if !left && !self.look(Freshness::Now).await?.has_superseded() {
            return Ok(());
        }
        let known = self.known().await?;
        turn.gone.extend(known.superseded());
        if turn.unknown_gone && !self.storage().is_shared() {
            return self.tidy(turn, known, Compare::Size).await.map(drop);
        }
        let mut places: HashSet<Place> = turn.gone.iter().flat_map(Roots::links_and_tags).collect();
        let part = if self.storage().is_shared() {
            small(&places)
        } else {
            if known.complete {
                let blobs = turn.gone.iter().flat_map(|roots| &roots.blobs).chain(&released);
                places.extend(blobs.cloned().map(Place::Blob));
            }
            Part::All
        };
        let (settled, began) = (self.settled(), known.began);
        let reach = Reach { at_once: AtOnce::Only(places), settled, grace: None, began, dry_run: false };
        let waits = self.walk(&known, reach, Compare::Size, &part, Repairs::AtOnce).await?.waits;
        // What waits goes with a later sweep.
        if !waits {
            turn.gone.clear();
        }
        turn.unknown_gone = false;
        if known.complete {
            self.pins().forget_released_before(looked);
        }
        Ok(())
    }

    /// What a start needs: which declarations have a package. Where no other process works on the store, it is tidied of
    /// what a crash left, and a declaration whose package lacks a blob is left out: declared again, it is fetched again. A
    /// package that can't be read is named in the log and left out.
    ///
    /// # Errors
    /// A listing that fails.
    pub async fn restore(&self) -> Result<Vec<Restored>, SweepError> {
        if !self.storage().is_shared() {
            let mut turn = self.inner.turn.lock().await;
            let tidied = match self.known().await {
                Ok(known) => self.tidy(&mut turn, known, Compare::Content).await,
                Err(error) => Err(error),
            };
            match tidied {
                Ok(restored) => return Ok(restored),
                Err(error) => tracing::error!(%error, "the store was not tidied"),
            }
        }
        let snapshot = self.look(Freshness::Now).await?;
        Ok(snapshot.latest().map(Restored::from).collect())
    }

    /// Removes everything that nobody needs and nothing pins, and says which declarations have a package that lacks nothing.
    async fn tidy(&self, turn: &mut Turn, known: Known, compare: Compare) -> Result<Vec<Restored>, SweepError> {
        turn.gone.extend(known.superseded());
        let at_once = if known.complete {
            AtOnce::Everything
        } else {
            AtOnce::Only(turn.gone.iter().flat_map(Roots::links_and_tags).collect())
        };
        let grace = known.complete.then_some(self.options().grace_period);
        let reach = Reach { at_once, settled: Duration::ZERO, grace, began: known.began, dry_run: false };
        let walk = self.walk(&known, reach, compare, &Part::All, Repairs::AtOnce).await?;
        turn.gone.clear();
        turn.unknown_gone = false;
        let lacking = lacking(&known.found, &walk);
        let whole = known.found.into_iter().map(|(restored, _)| restored);
        Ok(whole.filter(|restored| !lacking.contains(&restored.entry)).collect())
    }

    /// Removes what nobody has needed for the grace period, whoever left it, and makes right what is wrong. Publications
    /// and pushes go on meanwhile, here and elsewhere.
    ///
    /// # Errors
    /// A store that fails: what was not removed goes with a later collection.
    pub async fn collect(&self) -> Result<Removed, SweepError> {
        let dry_run = self.options().dry_run;
        let known = if dry_run { self.known_unchanged().await? } else { self.known().await? };
        let grace = known.complete.then_some(self.options().grace_period);
        let at_once = AtOnce::Only(HashSet::new());
        let reach = Reach { at_once, settled: self.settled(), grace, began: known.began, dry_run };
        let mut walk = self.walk(&known, reach, Compare::Size, &Part::All, Repairs::Later).await?;
        if !dry_run {
            walk.note_missing();
            self.repair(&walk.wrong).await?;
        }
        if known.complete && !dry_run {
            // What is left of it goes by its age from here on. A sweep that goes on needs them until it ends.
            let _turn = self.inner.turn.lock().await;
            self.pins().forget_released_before(known.began);
        }
        self.note_lacking(lacking(&known.found, &walk));
        Ok(walk.removed)
    }

    /// Reads what is needed, and removes entries that a later publication of their declaration replaced.
    async fn known(&self) -> Result<Known, SweepError> {
        let known = self.known_unchanged().await?;
        for (roots, state) in &known.superseded {
            if self.storage().delete_unchanged(&roots.entry, state).await? {
                self.note_removed(&roots.entry).await;
            }
        }
        Ok(known)
    }

    /// How long others must have left links and tags alone before they are taken away or changed.
    fn settled(&self) -> Duration {
        if self.storage().is_shared() { SETTLED.min(self.options().grace_period) } else { Duration::ZERO }
    }

    pub(super) async fn known_unchanged(&self) -> Result<Known, SweepError> {
        let Survey { began, packages, complete } = self.survey().await?;
        let mut states: HashMap<Key, Version> =
            packages.iter().map(|(roots, state)| (roots.entry.clone(), state.clone())).collect();
        let mut found: Vec<_> = packages.iter().map(|(roots, _)| (Restored::of(roots), roots.blobs.clone())).collect();
        let mut needs = Needs::of(packages.into_iter().map(|(roots, _)| roots).collect());
        let superseded: Vec<_> = std::mem::take(&mut needs.superseded)
            .into_iter()
            .filter_map(|roots| states.remove(&roots.entry).map(|state| (roots, state)))
            .collect();
        found.retain(|(restored, _)| states.contains_key(&restored.entry));
        for in_flight in self.in_flight() {
            needs.keep(in_flight.roots().await?);
        }
        Ok(Known { began, needs, complete, found, superseded })
    }

    async fn walk<'a>(
        &'a self,
        known: &'a Known,
        reach: Reach,
        compare: Compare,
        part: &Part,
        repairs: Repairs,
    ) -> Result<Walk<'a>, StorageError> {
        let mut walk = Walk::new(self, &known.needs, reach, compare);
        match part {
            Part::All => {
                // Tags and links before the bytes they lead to.
                walk.repositories(keys::REPOSITORIES).await?;
                if repairs == Repairs::AtOnce {
                    walk.note_missing();
                    walk.make_right().await?;
                }
                walk.claims(keys::RELEASES).await?;
                walk.blobs().await?;
            }
            Part::Small { repositories, releases } => {
                for prefix in repositories {
                    walk.repositories(prefix).await?;
                }
                if repairs == Repairs::AtOnce {
                    walk.make_right().await?;
                }
                for prefix in releases {
                    walk.claims(prefix).await?;
                }
            }
        }
        Ok(walk)
    }

    /// Counts on a blob that is in the store already: pins it, and makes it new, so that no collector takes it. False if it
    /// isn't there (any more).
    ///
    /// # Errors
    /// A store that fails.
    pub async fn rely_on(&self, digest: &Digest, pins: &mut PinSet) -> Result<bool, StorageError> {
        pins.pin(digest.clone()).await;
        self.storage().renew(&keys::blob(digest)).await
    }

    /// Makes new what is pinned, so that what takes longer than the grace period to arrive isn't collected by others.
    ///
    /// # Errors
    /// A store that fails.
    pub async fn renew_pinned(&self) -> Result<(), StorageError> {
        let renewals = stream::iter(self.pins().all())
            .map(|digest| async move { self.storage().renew(&keys::blob(&digest)).await });
        renewals.buffer_unordered(READS).try_for_each(|_| std::future::ready(Ok(()))).await
    }
}

/// The parts of a shared store that these places are in.
fn small(places: &HashSet<Place>) -> Part {
    let (mut repositories, mut releases) = (HashSet::new(), HashSet::new());
    for place in places {
        match place {
            Place::ManifestLink(repository, _)
            | Place::BlobLink(repository, _)
            | Place::Tag(repository, _)
            | Place::Referrer(repository, ..) => {
                repositories.insert(keys::own_content(repository));
            }
            Place::Release(name, _) => {
                releases.insert(keys::releases(name));
            }
            Place::Blob(_) | Place::Entry(_) => {}
        }
    }
    Part::Small { repositories: repositories.into_iter().collect(), releases: releases.into_iter().collect() }
}

/// Entries of packages that lack a blob.
fn lacking(found: &[(Restored, Vec<Digest>)], walk: &Walk<'_>) -> HashSet<Key> {
    let mut lacking = HashSet::new();
    for (restored, blobs) in found {
        let missing = blobs.iter().find(|digest| !walk.seen.contains(&Place::Blob((*digest).clone())));
        if let Some(digest) = missing {
            tracing::error!(entry = %restored.entry, %digest, "a package lacks a blob; declared again, it is fetched again");
            lacking.insert(restored.entry.clone());
        }
    }
    lacking
}
