//! Repository documents, built once for each state of the catalogue.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bundle::coordinate::Coordinate;
use bundle::universe::{DcosVersion, RepositoryVersion};
use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::repository::document;
use crate::catalogue::Catalogue;
use crate::digest::Digest;
use crate::storage::keys::{self, Key, Place};
use crate::storage::{StorageError, Version};

/// Documents that are built at the same time.
const BUILDERS: usize = 2;
/// Documents that are kept, and their bytes together.
const KEPT: usize = 32;
const KEPT_BYTES: usize = 128 << 20;
/// How long a document is good for that lacks packages because they could not be read.
const INCOMPLETE: Duration = Duration::from_secs(5);
/// Most bytes of an entry that is looked at.
const ENTRY_LIMIT: u64 = 64 << 20;

/// What a document depends on besides the catalogue.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// Only the packages of this name.
    pub name: Option<String>,
    pub version: RepositoryVersion,
    pub cluster: Option<DcosVersion>,
    pub scheme: &'static str,
    pub host: String,
}

/// A document as it is sent.
#[derive(Debug)]
pub(super) struct Document {
    pub body: Bytes,
    /// Digest of the body.
    pub tag: String,
}

/// The documents of one catalogue.
#[derive(Clone)]
pub(super) struct Documents {
    catalogue: Catalogue,
    seen: Arc<tokio::sync::Mutex<Seen>>,
    builders: Arc<Semaphore>,
    kept: Arc<Mutex<Kept>>,
}

/// The catalogue when it was last looked at.
#[derive(Default)]
struct Seen {
    /// When that look began.
    began: Option<Instant>,
    /// Without a version where it could not be read.
    entries: Vec<(Key, Option<Version>)>,
    names: Arc<BTreeSet<String>>,
    /// Grows with every change.
    generation: u64,
}

/// What a look at the catalogue found.
struct Look {
    generation: u64,
    names: Arc<BTreeSet<String>>,
    entries: usize,
}

#[derive(Default)]
struct Kept {
    generation: u64,
    /// The oldest first.
    documents: VecDeque<(String, Arc<Document>)>,
    /// When the documents are forgotten, where one of them is incomplete.
    until: Option<Instant>,
}

impl Documents {
    pub(super) fn new(catalogue: Catalogue) -> Self {
        let builders = Arc::new(Semaphore::new(BUILDERS));
        Self { catalogue, seen: Arc::default(), builders, kept: Arc::default() }
    }

    /// A document of the catalogue as it is now; `None` where there is no package of the name.
    ///
    /// # Errors
    /// A store that fails.
    pub(super) async fn get(&self, wanted: Wanted) -> Result<Option<Arc<Document>>, StorageError> {
        let Look { generation, names, entries } = self.look().await?;
        if wanted.name.as_ref().is_some_and(|name| !names.contains(name)) {
            return Ok(None);
        }
        let Wanted { name, version, cluster, host, .. } = &wanted;
        let key = format!("{name:?} {version:?} {cluster:?} {host}");
        if let Some(document) = self.kept().find(generation, &key) {
            return Ok(Some(document));
        }
        let permit = Arc::clone(&self.builders).acquire_owned().await;
        // Somebody else may have built it meanwhile.
        if let Some(document) = self.kept().find(generation, &key) {
            return Ok(Some(document));
        }
        let (this, runtime) = (self.clone(), Handle::current());
        let build = move || {
            // Held until the document is there, whether or not somebody still waits for it.
            let _permit = permit;
            let mut packages = runtime.block_on(this.catalogue.packages())?;
            let until = (packages.len() < entries).then(|| Instant::now() + INCOMPLETE);
            if let Some(name) = &wanted.name {
                packages.retain(|entry| entry.name == *name);
                if packages.is_empty() {
                    return Ok(None);
                }
            }
            let body = document(&packages, wanted.version, wanted.cluster.as_ref(), wanted.scheme, &wanted.host);
            let built = Arc::new(Document { tag: Digest::sha256(&body).to_string(), body: body.into() });
            this.kept().keep(generation, key, Arc::clone(&built), until);
            Ok(Some(built))
        };
        let stopped = |error| Err(StorageError::from_io(keys::PACKAGES, std::io::Error::other(error)));
        spawn_blocking(build).await.unwrap_or_else(stopped)
    }

    /// Generation and names of the catalogue as it is now. Requests that came before a look began share it.
    async fn look(&self) -> Result<Look, StorageError> {
        let came = Instant::now();
        let mut seen = self.seen.lock().await;
        if seen.began.is_none_or(|began| began < came) {
            let began = Instant::now();
            let entries = self.versions().await?;
            if entries != seen.entries {
                seen.generation += 1;
                seen.names = Arc::new(entries.iter().filter_map(|(key, _)| name(key)).collect());
                seen.entries = entries;
            }
            seen.began = Some(began);
        }
        let (generation, names) = (seen.generation, Arc::clone(&seen.names));
        Ok(Look { generation, names, entries: seen.entries.len() })
    }

    async fn versions(&self) -> Result<Vec<(Key, Option<Version>)>, StorageError> {
        let mut versions = Vec::new();
        for key in self.catalogue.keys().await? {
            match self.catalogue.storage().get(&key, ENTRY_LIMIT).await {
                Ok((_, version)) => versions.push((key, Some(version))),
                // Withdrawn since it was listed.
                Err(error) if error.is_not_found() => {}
                // The catalogue leaves it out, and says so in the log.
                Err(_) => versions.push((key, None)),
            }
        }
        Ok(versions)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn find(&self, generation: u64, key: &str) -> Option<Arc<Document>> {
        let good = self.generation == generation && self.until.is_none_or(|until| Instant::now() < until);
        self.documents.iter().filter(|_| good).find(|(known, _)| known == key).map(|(_, document)| Arc::clone(document))
    }

    fn keep(&mut self, generation: u64, key: String, document: Arc<Document>, until: Option<Instant>) {
        if generation < self.generation {
            return;
        }
        if generation > self.generation || self.until.is_some_and(|until| until <= Instant::now()) {
            *self = Self { generation, ..Self::default() };
        }
        self.until = [self.until, until].into_iter().flatten().min();
        self.documents.push_back((key, document));
        let bytes = |kept: &Self| kept.documents.iter().map(|(_, document)| document.body.len()).sum::<usize>();
        while self.documents.len() > KEPT || bytes(self) > KEPT_BYTES {
            self.documents.pop_front();
        }
    }
}

/// The name of the package whose entry this is.
fn name(key: &Key) -> Option<String> {
    let Some(Place::Entry(code)) = Place::of(key.as_str()) else { return None };
    Coordinate::from_code(code.as_str()).ok().map(|coordinate| coordinate.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sized(bytes: usize) -> Arc<Document> {
        Arc::new(Document { body: vec![0; bytes].into(), tag: String::new() })
    }

    #[test]
    fn documents_of_an_earlier_state_are_not_found() {
        let mut kept = Kept::default();
        kept.keep(1, "a".into(), sized(1), None);
        assert!(kept.find(1, "a").is_some());
        assert!(kept.find(2, "a").is_none());
        kept.keep(2, "b".into(), sized(1), None);
        assert!(kept.find(1, "a").is_none() && kept.find(2, "a").is_none());
        kept.keep(1, "a".into(), sized(1), None);
        assert_eq!(kept.documents.len(), 1);
    }

    #[test]
    fn what_is_kept_is_bounded_in_number_and_bytes() {
        let mut kept = Kept::default();
        for number in 0..KEPT + 5 {
            kept.keep(1, number.to_string(), sized(1), None);
        }
        assert_eq!(kept.documents.len(), KEPT);
        assert!(kept.find(1, "4").is_none() && kept.find(1, "5").is_some());
        kept.keep(1, "large".into(), sized(KEPT_BYTES), None);
        assert!(kept.find(1, "large").is_some() && kept.documents.len() == 1);
    }

    #[test]
    fn an_incomplete_document_is_forgotten_soon() {
        let mut kept = Kept::default();
        kept.keep(1, "a".into(), sized(1), Some(Instant::now()));
        assert!(kept.find(1, "a").is_none());
        kept.keep(1, "b".into(), sized(1), None);
        assert!(kept.find(1, "a").is_none() && kept.find(1, "b").is_some());
    }
}
