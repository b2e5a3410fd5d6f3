//! A walk through the store: keeps what is needed, notes what is wrong, removes the rest as far as it reaches.
//!
//! The order is that of what leads to what: tags and links before the bytes. A link that somebody wrote or renewed since it
//! was listed stays, and so do its bytes.

use std::collections::HashSet;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};

use super::Catalogue;
use super::entry::{BlobLink, Link, Pushed};
use super::judge::{Found, References, Verdict, references, unread, verdict};
use super::links::{Held, limit};
use super::needs::Needs;
use super::pages::{Listed, Pages};
use super::reach::Reach;
use super::repair::Wrong;
use super::snapshot::READS;
use crate::digest::Digest;
use crate::images::MANIFEST_LIMIT;
use crate::names::Repository;
use crate::storage::keys::{self, Key, Place};
use crate::storage::{Condition, StorageError, Version};

/// How links of packages are compared with what they must hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Compare {
    /// By their content; at the start.
    Content,
    /// By their size, which the listing brings.
    Size,
}

/// What a walk removed, or would have.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Removed {
    /// Blobs.
    pub blobs: u64,
    /// Bytes of those.
    pub bytes: u64,
    /// Links, tags and claims of numbers.
    pub small: u64,
}

/// One walk.
pub(super) struct Walk<'a> {
    catalogue: &'a Catalogue,
    needs: &'a Needs,
    reach: Reach,
    compare: Compare,
    /// What packages need and was found right.
    pub(super) seen: HashSet<Place>,
    /// Blobs that links lead to which aren't the packages'.
    linked: HashSet<Digest>,
    /// Manifests that the repository which is looked at keeps.
    manifests: HashSet<Digest>,
    /// What was removed.
    pub(super) removed: Removed,
    /// Links and tags of packages that don't hold what the packages say.
    pub(super) wrong: Vec<Wrong>,
    /// Whether something that is to go or to be changed at once was touched too lately for that.
    pub(super) waits: bool,
}

impl<'a> Walk<'a> {
    pub(super) fn new(catalogue: &'a Catalogue, needs: &'a Needs, reach: Reach, compare: Compare) -> Self {
        Self {
            catalogue,
            needs,
            reach,
            compare,
            seen: HashSet::new(),
            linked: HashSet::new(),
            manifests: HashSet::new(),
            removed: Removed::default(),
            wrong: Vec::new(),
            waits: false,
        }
    }

    fn pages<'p>(&self, prefix: &'p str) -> Pages<'p>
    where
        'a: 'p,
    {
        Pages::new(self.catalogue.storage().as_ref(), prefix)
    }

    /// Walks through repositories: all, or those under a prefix.
    pub(super) async fn repositories(&mut self, prefix: &str) -> Result<(), StorageError> {
        let mut current: Option<(Repository, Vec<Listed>)> = None;
        let mut pages = self.pages(prefix);
        while let Some(page) = pages.next().await? {
            for listed in page {
                let Some(repository) = repository(&listed.place) else { continue };
                match &mut current {
                    Some((name, all)) if name == repository => all.push(listed),
                    _ => {
                        let next = (repository.clone(), vec![listed]);
                        if let Some((_, all)) = current.replace(next) {
                            self.repository(all).await?;
                        }
                    }
                }
            }
        }
        match current {
            Some((_, all)) => self.repository(all).await,
            None => Ok(()),
        }
    }

    /// Walks through claims of numbers.
    pub(super) async fn claims(&mut self, prefix: &str) -> Result<(), StorageError> {
        let mut pages = self.pages(prefix);
        while let Some(page) = pages.next().await? {
            for listed in page {
                if matches!(listed.place, Place::Release(..)) && !self.needs.has(&listed.place) {
                    self.remove(&listed.place, &listed.state, listed.age).await?;
                }
            }
        }
        Ok(())
    }

    /// Walks through the bytes. To be called behind [`Walk::repositories`].
    pub(super) async fn blobs(&mut self) -> Result<(), StorageError> {
        let mut pages = self.pages(keys::BLOBS);
        while let Some(page) = pages.next().await? {
            let mut left_over = Vec::new();
            for Listed { place, state, age, .. } in page {
                let Place::Blob(digest) = &place else { continue };
                if self.needs.has(&place) {
                    self.seen.insert(place);
                } else if !self.linked.contains(digest) && self.reach.covers(&place, age) {
                    left_over.push((digest.clone(), state));
                }
            }
            let this = &*self;
            let mut removals = stream::iter(left_over)
                .map(|(digest, state)| async move { this.blob(&digest, &state).await })
                .buffer_unordered(READS);
            let mut removed = this.removed;
            while let Some(size) = removals.try_next().await? {
                removed.blobs += u64::from(size.is_some());
                removed.bytes += size.unwrap_or_default();
            }
            drop(removals);
            self.removed = removed;
        }
        Ok(())
    }

    /// Notes links and tags of packages that were not found. To be called behind a walk through all repositories.
    pub(super) fn note_missing(&mut self) {
        let missing = self.needs.missing(&self.seen).into_iter();
        self.wrong.extend(missing.map(|place| Wrong { place: place.clone(), seen: None }));
    }

    /// Makes right what is wrong so far. To be called in the turn in which the walk began.
    pub(super) async fn make_right(&mut self) -> Result<(), StorageError> {
        for wrong in std::mem::take(&mut self.wrong) {
            self.catalogue.make_right(&wrong, self.needs).await?;
        }
        Ok(())
    }

    async fn repository(&mut self, listed: Vec<Listed>) -> Result<(), StorageError> {
        let this = &*self;
        let mut found: Vec<Found> = stream::iter(listed)
            .map(|listed| this.look(listed))
            .buffered(READS)
            .try_filter_map(|found| std::future::ready(Ok(found)))
            .try_collect()
            .await?;
        self.adopt(&mut found).await?;
        let references = References::of(&found, self.needs);
        // Tags lead to links. What a manifest says of another one goes with the manifest.
        found.sort_by_key(|found| match found.place {
            Place::Tag(..) => 0,
            Place::Referrer(..) => 2,
            _ => 1,
        });
        self.manifests.clear();
        for found in &found {
            self.treat(found, verdict(found, self.needs, &references)).await?;
        }
        Ok(())
    }

    /// Reads what the listing doesn't tell; nothing if it is gone.
    async fn look(&self, listed: Listed) -> Result<Option<Found>, StorageError> {
        let Listed { place, size, mut state, mut age } = listed;
        let wanted = self.needs.held(&place);
        if matches!((&place, wanted), (Place::Referrer(..), None)) {
            // Its manifest decides, not what it says.
            return Ok(Some(Found { place, state, age, held: None }));
        }
        let told = match (&place, wanted) {
            (Place::Tag(..), _) => None,
            (_, Some(wanted)) if self.compare == Compare::Content || !is_size_of(wanted, size) => None,
            (_, Some(wanted)) => Some(wanted.clone()),
            (Place::BlobLink(..), None) => by_size(size),
            (_, None) => None,
        };
        let held = match told {
            Some(held) => Some(held),
            None => match self.catalogue.storage().get(&place.key(), limit(&place)).await {
                Ok((bytes, version)) => {
                    if version != state {
                        // Touched since it was listed.
                        (state, age) = (version, None);
                    }
                    Held::at(&place, &bytes)
                }
                Err(StorageError::NotFound { .. }) => return Ok(None),
                Err(StorageError::TooLarge { .. }) => None,
                Err(error) => return Err(error),
            },
        };
        if held.is_none() {
            tracing::error!(key = %place.key(), "a link or tag is damaged");
        }
        Ok(Some(Found { place, state, age, held }))
    }

    /// Takes manifests that pushed ones refer to for pushed ones, now that no package needs them, so that what they refer to
    /// stays.
    async fn adopt(&self, found: &mut [Found]) -> Result<(), StorageError> {
        loop {
            let mut adopted = false;
            for index in unread(found, self.needs) {
                let Some(found) = found.get_mut(index) else { continue };
                let (Some(digest), Some(Held::Manifest(link))) = (found.digest(), &found.held) else { continue };
                let references = match self.catalogue.storage().get(&keys::blob(digest), MANIFEST_LIMIT).await {
                    Ok((manifest, _)) => references(&manifest),
                    Err(error) if error.is_not_found() => Vec::new(),
                    // As next to a damaged link, nothing is taken for unneeded then.
                    Err(error @ StorageError::Io { .. }) => {
                        tracing::warn!(%digest, %error, "a manifest can't be read; all that it may refer to stays");
                        found.held = None;
                        adopted = true;
                        continue;
                    }
                    Err(error) => return Err(error),
                };
                let held = Held::Manifest(Link { pushed: Some(Pushed { references, subject: None }), ..link.clone() });
                if !self.reach.dry_run {
                    found.state = self.write(&found.place.key(), &held, &found.state).await?;
                }
                found.held = Some(held);
                adopted = true;
            }
            if !adopted {
                return Ok(());
            }
        }
    }

    /// Writes a link that is still as it was. Who changed it meanwhile knows better.
    async fn write(&self, key: &Key, held: &Held, state: &Version) -> Result<Version, StorageError> {
        let bytes = held.document(key)?;
        match self.catalogue.storage().put(key, bytes, Condition::Unchanged(state.clone())).await {
            Err(StorageError::ConditionFailed { .. } | StorageError::NotFound { .. }) => Ok(state.clone()),
            other => other,
        }
    }

    async fn treat(&mut self, found: &Found, verdict: Verdict) -> Result<(), StorageError> {
        match verdict {
            Verdict::Keep => self.kept(found),
            Verdict::Settle => {
                self.kept(found);
                if self.reach.is_settled(found.age) {
                    let seen = Some((found.state.clone(), found.held.clone()));
                    self.wrong.push(Wrong { place: found.place.clone(), seen });
                } else {
                    self.waits = true;
                }
            }
            Verdict::Remove => {
                if !self.remove(&found.place, &found.state, found.age).await? {
                    self.kept(found);
                }
            }
            Verdict::Follow => self.follow(found).await?,
            Verdict::Expire => {
                let old = self.reach.is_old(found.age);
                if !old || !self.remove_now(&found.place, &found.state).await? {
                    self.kept(found);
                }
            }
        }
        Ok(())
    }

    /// Removes a referrer's entry whose manifest the repository doesn't have (any more).
    async fn follow(&mut self, found: &Found) -> Result<(), StorageError> {
        let Place::Referrer(repository, _, manifest) = &found.place else { return Ok(()) };
        if self.manifests.contains(manifest) {
            return Ok(());
        }
        // A push writes the link first: pushed since the links were listed, it is there now.
        let link = keys::manifest_link(repository, manifest);
        let gone = self.reach.dry_run || self.catalogue.storage().size(&link).await.is_err_and(|e| e.is_not_found());
        if gone {
            self.remove(&found.place, &found.state, found.age).await?;
        }
        Ok(())
    }

    fn kept(&mut self, found: &Found) {
        if let Place::ManifestLink(_, digest) = &found.place {
            self.manifests.insert(digest.clone());
        }
        if self.needs.has(&found.place) {
            self.seen.insert(found.place.clone());
        } else {
            self.linked.extend(found.digest().cloned());
        }
    }

    /// Removes something small as far as the walk reaches; false if it stays.
    async fn remove(&mut self, place: &Place, state: &Version, age: Option<Duration>) -> Result<bool, StorageError> {
        if !self.reach.covers(place, age) {
            self.waits |= self.reach.wants(place);
            return Ok(false);
        }
        self.remove_now(place, state).await
    }

    async fn remove_now(&mut self, place: &Place, state: &Version) -> Result<bool, StorageError> {
        let removed = self.reach.dry_run || self.catalogue.storage().delete_unchanged(&place.key(), state).await?;
        self.removed.small += u64::from(removed);
        Ok(removed)
    }

    /// Removes a blob, unless something is pinned or changed; its size if it is gone. One that can't be looked at stays: it
    /// must not keep everything else from being collected.
    async fn blob(&self, digest: &Digest, state: &Version) -> Result<Option<u64>, StorageError> {
        match self.remove_blob(digest, state).await {
            Err(error @ StorageError::Io { .. }) => {
                tracing::warn!(%digest, %error, "a blob that nobody needs can't be read; it stays");
                Ok(None)
            }
            other => other,
        }
    }

    async fn remove_blob(&self, digest: &Digest, state: &Version) -> Result<Option<u64>, StorageError> {
        let (storage, key) = (self.catalogue.storage(), keys::blob(digest));
        let size = match storage.size(&key).await {
            Ok(size) => size,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        let remove =
            async { Ok::<_, StorageError>(self.reach.dry_run || storage.delete_unchanged(&key, state).await?) };
        let removed = if storage.is_shared() {
            // Age and state protect what somebody counts on.
            remove.await?
        } else {
            // What somebody brought since the walk began may have been linked behind its back.
            self.catalogue.pins().unless_pinned_since(digest, self.reach.began, remove).await?
        };
        if removed {
            tracing::debug!(%digest, size, dry_run = self.reach.dry_run, "a blob that nobody needs is removed");
        }
        Ok(removed.then_some(size))
    }
}

fn repository(place: &Place) -> Option<&Repository> {
    match place {
        Place::ManifestLink(repository, _)
        | Place::BlobLink(repository, _)
        | Place::Tag(repository, _)
        | Place::Referrer(repository, ..) => Some(repository),
        Place::Blob(_) | Place::Entry(_) | Place::Release(..) => None,
    }
}

fn is_size_of(held: &Held, size: u64) -> bool {
    held.bytes().is_ok_and(|bytes| bytes.len() as u64 == size)
}

/// A blob's link, told by its size.
fn by_size(size: u64) -> Option<Held> {
    [false, true].map(|pushed| Held::Blob(BlobLink { pushed })).into_iter().find(|held| is_size_of(held, size))
}
