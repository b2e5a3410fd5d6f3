//! The catalogue in memory: what is small of every package, and a number that grows with each change.
//!
//! Memory holds about a kilobyte for a package (5,000 packages: under 10 MB), never its metadata or what its images consist of; who needs
//! those reads the entry. A look at the store is one listing: an entry is read when its state is another one than before.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use tokio::sync::Mutex;

use super::Catalogue;
use super::entry::{Declared, Entry};
use crate::names::Repository;
use crate::storage::keys::Key;
use crate::storage::{StorageError, Version};

/// How old a look at a shared store may be, and how long one that could not read everything is good for.
const OLDEST: Duration = Duration::from_secs(1);
/// Entries that are read at the same time.
pub(super) const READS: usize = 16;

/// The catalogue at one time.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Another number for each state that this process saw, growing. Two processes number differently.
    pub generation: u64,
    /// The packages that can be read, sorted by name, then release version, newest first.
    pub packages: Vec<Arc<Listed>>,
    /// How many entries there are besides that can't be read.
    pub unreadable: usize,
}

impl Snapshot {
    /// What a declaration has in the catalogue, its latest publication.
    #[must_use]
    pub fn declared(&self, id: &str) -> Option<&Arc<Listed>> {
        self.packages.iter().filter(|package| package.declaration.id == id).max_by_key(|package| package.rank())
    }

    /// The latest publication of every declaration.
    pub(super) fn latest(&self) -> impl Iterator<Item = &Listed> {
        let mut packages: Vec<_> = self.packages.iter().map(AsRef::as_ref).collect();
        packages.sort_by_key(|package: &&Listed| package.rank());
        let by_id: HashMap<&str, &Listed> =
            packages.into_iter().map(|package| (package.declaration.id.as_str(), package)).collect();
        by_id.into_values()
    }

    /// Whether a declaration has more than one publication.
    pub(super) fn has_superseded(&self) -> bool {
        let ids: HashSet<&str> = self.packages.iter().map(|package| package.declaration.id.as_str()).collect();
        ids.len() < self.packages.len()
    }
}

/// What is small of a package.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Listed {
    /// Key of its entry, for [`Catalogue::read`].
    pub key: Key,
    /// State of its entry: another one whenever anything of the package changed.
    pub state: Version,
    /// Name of the package.
    pub name: String,
    /// Version of the package.
    pub version: String,
    /// Number that orders the versions of one name.
    pub release_version: u64,
    /// Who wants it.
    pub declaration: Declared,
    /// Grows from one publication to the next.
    pub order: u64,
    /// Repositories of its images, each once.
    pub repositories: Vec<String>,
}

impl Listed {
    /// Orders publications. Two clocks may give two of them one order; then the key decides, everywhere alike.
    fn rank(&self) -> (u64, &Key) {
        (self.order, &self.key)
    }

    fn new(key: Key, state: Version, entry: &Entry) -> Self {
        let repositories: BTreeSet<&str> = entry.images.iter().map(|image| image.repository.as_str()).collect();
        Self {
            key,
            state,
            name: entry.name.clone(),
            version: entry.version.clone(),
            release_version: entry.release_version,
            declaration: entry.declaration.clone(),
            order: entry.order,
            repositories: repositories.into_iter().map(ToOwned::to_owned).collect(),
        }
    }
}

/// How new a look at the store must be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Freshness {
    /// At most [`OLDEST`]; where no other process writes, what was seen and written stays right.
    Recent,
    /// Begun now.
    Now,
}

/// What is known of an entry.
#[derive(Debug)]
enum Seen {
    Readable(Arc<Listed>),
    /// In this state, it is none.
    Damaged(Version),
    /// It could not be read for now.
    Failed,
}

/// What was seen of the store.
#[derive(Debug, Default)]
pub(super) struct View(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// When the last look began.
    looked: Option<Instant>,
    entries: BTreeMap<Key, Seen>,
    snapshot: Arc<Snapshot>,
}

impl Known {
    fn is_good(&self, freshness: Freshness, shared: bool) -> bool {
        let Some(looked) = self.looked else { return false };
        let lasts = !shared && !self.entries.values().any(|seen| matches!(seen, Seen::Failed));
        freshness == Freshness::Recent && (lasts || looked.elapsed() < OLDEST)
    }

    /// Makes the snapshot of what is known now.
    fn renew(&mut self) {
        let readable = self.entries.values().filter_map(|seen| match seen {
            Seen::Readable(listed) => Some(Arc::clone(listed)),
            Seen::Damaged(_) | Seen::Failed => None,
        });
        let mut packages: Vec<_> = readable.collect();
        let unreadable = self.entries.len() - packages.len();
        packages.sort_by(|a, b| a.name.cmp(&b.name).then(b.release_version.cmp(&a.release_version)));
        self.snapshot = Arc::new(Snapshot { generation: self.snapshot.generation + 1, packages, unreadable });
    }
}

impl Catalogue {
    /// The catalogue as it is now: at most a second old where other processes work on the store, never older than what
    /// this process wrote. Costs a listing at most, and reading the entries that changed.
    ///
    /// # Errors
    /// A listing that fails.
    pub async fn snapshot(&self) -> Result<Arc<Snapshot>, StorageError> {
        self.look(Freshness::Recent).await
    }

    /// Entries of packages that have an image in a repository, and of those that could not be read for now, as they are now.
    ///
    /// # Errors
    /// A listing that fails.
    pub async fn with_images_in(&self, repository: &Repository) -> Result<Vec<Key>, StorageError> {
        self.look(Freshness::Now).await?;
        let known = self.inner.view.0.lock().await;
        let has_images = |seen: &Seen| match seen {
            Seen::Readable(package) => package.repositories.iter().any(|name| name == repository.as_str()),
            Seen::Failed => true,
            Seen::Damaged(_) => false,
        };
        let found = known.entries.iter().filter(|(_, seen)| has_images(seen));
        Ok(found.map(|(key, _)| key.clone()).collect())
    }

    pub(super) async fn look(&self, freshness: Freshness) -> Result<Arc<Snapshot>, StorageError> {
        let came = Instant::now();
        let mut known = self.inner.view.0.lock().await;
        // Requests that came before a look began share it.
        let shared_look = known.looked.is_some_and(|looked| looked >= came);
        if !shared_look && !known.is_good(freshness, self.storage().is_shared()) {
            let began = Instant::now();
            self.compare(&mut known).await?;
            known.looked = Some(began);
        }
        Ok(Arc::clone(&known.snapshot))
    }

    /// Lists the entries and reads those that are new or in another state.
    async fn compare(&self, known: &mut Known) -> Result<(), StorageError> {
        let there = self.entries().await?.states;
        let before = known.entries.len();
        known.entries.retain(|key, _| there.contains_key(key));
        let mut changed = known.entries.len() != before;
        let news: Vec<_> = there
            .into_iter()
            .filter(|(key, state)| match known.entries.get(key) {
                Some(Seen::Readable(listed)) => listed.state != *state,
                Some(Seen::Damaged(damaged)) => damaged != state,
                Some(Seen::Failed) | None => true,
            })
            .collect();
        let mut reads = stream::iter(news).map(|(key, state)| self.see(key, state)).buffer_unordered(READS);
        while let Some((key, seen)) = reads.next().await {
            let failed = matches!(seen, Some(Seen::Failed));
            let before = match seen {
                Some(seen) => known.entries.insert(key, seen),
                None => known.entries.remove(&key),
            };
            // What still can't be read is no news.
            changed |= !(failed && matches!(before, Some(Seen::Failed)));
        }
        drop(reads);
        if changed {
            known.renew();
        }
        Ok(())
    }

    /// Reads an entry; nothing if it is gone.
    async fn see(&self, key: Key, listed: Version) -> (Key, Option<Seen>) {
        let seen = match self.read(&key).await {
            Ok((entry, state)) => Some(Seen::Readable(Arc::new(Listed::new(key.clone(), state, &entry)))),
            Err(error) if error.is_gone() => None,
            Err(error) => {
                tracing::error!(%error, "a package is left out of the catalogue");
                Some(if error.is_damage() { Seen::Damaged(listed) } else { Seen::Failed })
            }
        };
        (key, seen)
    }

    /// Notes an entry that this process wrote.
    pub(super) async fn note_written(&self, key: &Key, state: Version, entry: &Entry) {
        let mut known = self.inner.view.0.lock().await;
        known.entries.insert(key.clone(), Seen::Readable(Arc::new(Listed::new(key.clone(), state, entry))));
        known.renew();
    }

    /// Notes an entry that this process removed.
    pub(super) async fn note_removed(&self, key: &Key) {
        let mut known = self.inner.view.0.lock().await;
        if known.entries.remove(key).is_some() {
            known.renew();
        }
    }
}
