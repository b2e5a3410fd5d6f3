//! Pieces of repository documents, kept as long as the packages stay what they are.
//!
//! A stock has the pieces of one form of the packages: how they are changed for older clusters, and the host in their
//! addresses. A change of the catalogue makes new pieces of what changed alone.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bundle::universe::{Addresses, DcosVersion, RepositoryVersion, Shape, needed_version, repository_package};
use futures::{StreamExt, stream};
use tokio::task::spawn_blocking;

use super::repository_fragment::{Document, Fragment, Frame, Shown};
use crate::catalogue::entry::Entry;
use crate::catalogue::{Catalogue, Listed, Snapshot};
use crate::storage::keys::{self, Key};
use crate::storage::{StorageError, Version};

/// Entries that are read and compressed at the same time.
const BUILDERS: usize = 4;
/// Stocks that are kept, and the bytes of their pieces together.
const STOCKS: usize = 8;
const KEPT_BYTES: usize = 192 << 20;
/// Documents that are kept of one state of the catalogue. They are lists of pieces.
const DOCUMENTS: usize = 64;

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

/// Which pieces are the same.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Form {
    shape: Shape,
    host: String,
}

/// A piece and the state of the entry that it was made from; `None` where that can't be shown.
type Piece = (Version, Option<Arc<Shown>>);

/// The pieces of one form.
#[derive(Debug, Default)]
struct Stock {
    pieces: HashMap<Key, Piece>,
    bytes: usize,
}

impl Stock {
    /// Whether it has the pieces of these packages and no others.
    fn is_of(&self, snapshot: &Snapshot) -> bool {
        let has = |package: &Arc<Listed>| self.pieces.get(&package.key).is_some_and(|piece| piece.0 == package.state);
        self.pieces.len() == snapshot.packages.len() && snapshot.packages.iter().all(has)
    }

    /// The pieces of these packages, as far as they are there, and which are missing.
    fn find(&self, snapshot: &Snapshot) -> (HashMap<Key, Piece>, Vec<Arc<Listed>>) {
        let (mut found, mut missing) = (HashMap::new(), Vec::new());
        for package in &snapshot.packages {
            match self.pieces.get(&package.key) {
                Some(piece) if piece.0 == package.state => drop(found.insert(package.key.clone(), piece.clone())),
                _ => missing.push(Arc::clone(package)),
            }
        }
        (found, missing)
    }

    fn of(pieces: HashMap<Key, Piece>) -> Self {
        let weight = |piece: &Piece| piece.1.as_ref().map_or(0, |shown| shown.fragment.weight());
        let bytes = pieces.values().map(weight).sum();
        Self { pieces, bytes }
    }
}

#[derive(Debug, Default)]
struct Kept {
    /// The one that was used longest ago first.
    stocks: VecDeque<(Form, Arc<Stock>)>,
    /// State of the catalogue that the documents are of.
    generation: u64,
    documents: VecDeque<(String, Arc<Document>)>,
}

impl Kept {
    fn stock(&mut self, form: &Form) -> Arc<Stock> {
        let Some(index) = self.stocks.iter().position(|(known, _)| known == form) else { return Arc::default() };
        let Some(found) = self.stocks.remove(index) else { return Arc::default() };
        let stock = Arc::clone(&found.1);
        self.stocks.push_back(found);
        stock
    }

    fn put_stock(&mut self, form: Form, stock: Arc<Stock>) {
        self.stocks.retain(|(known, _)| *known != form);
        self.stocks.push_back((form, stock));
        let bytes = |kept: &Self| kept.stocks.iter().map(|(_, stock)| stock.bytes).sum::<usize>();
        while self.stocks.len() > STOCKS || (self.stocks.len() > 1 && bytes(self) > KEPT_BYTES) {
            self.stocks.pop_front();
        }
    }

    fn document(&self, generation: u64, key: &str) -> Option<Arc<Document>> {
        let known = self.documents.iter().filter(|_| self.generation == generation);
        known.into_iter().find(|(known, _)| known == key).map(|(_, document)| Arc::clone(document))
    }

    fn put_document(&mut self, generation: u64, key: String, document: Arc<Document>) {
        if generation < self.generation {
            return;
        }
        if generation > self.generation {
            self.generation = generation;
            self.documents.clear();
        }
        self.documents.push_back((key, document));
        while self.documents.len() > DOCUMENTS {
            self.documents.pop_front();
        }
    }
}

/// The documents of one catalogue.
#[derive(Clone)]
pub(super) struct Documents {
    catalogue: Catalogue,
    kept: Arc<Mutex<Kept>>,
    /// Held while pieces are made, so that nobody makes the same ones.
    building: Arc<tokio::sync::Mutex<()>>,
}

impl Documents {
    pub(super) fn new(catalogue: Catalogue) -> Self {
        Self { catalogue, kept: Arc::default(), building: Arc::default() }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nothing was made yet.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.kept().stocks.is_empty()
    }

    /// A document of the catalogue as it is now; `None` where there is no package of the name.
    ///
    /// # Errors
    /// A store that fails.
    pub(super) async fn get(&self, wanted: Wanted) -> Result<Option<Arc<Document>>, StorageError> {
        let snapshot = self.catalogue.snapshot().await?;
        let named = |name: &String| snapshot.packages.iter().any(|package| package.name == *name);
        if wanted.name.as_ref().is_some_and(|name| !named(name)) {
            return Ok(None);
        }
        let Wanted { name, version, cluster, host, .. } = &wanted;
        let key = format!("{name:?} {version:?} {cluster:?} {host}");
        if let Some(document) = self.kept().document(snapshot.generation, &key) {
            return Ok(Some(document));
        }
        let this = self.clone();
        // Goes on to its end, whether or not somebody still waits for it.
        let built = tokio::spawn(async move { this.build(&snapshot, key, &wanted).await });
        built.await.unwrap_or_else(|error| Err(stopped(&error))).map(Some)
    }

    async fn build(&self, snapshot: &Snapshot, key: String, wanted: &Wanted) -> Result<Arc<Document>, StorageError> {
        let Wanted { name, version, cluster, scheme, host } = wanted;
        let _alone = self.building.lock().await;
        // Somebody else may have put it together meanwhile.
        if let Some(document) = self.kept().document(snapshot.generation, &key) {
            return Ok(document);
        }
        let form = Form { shape: Shape::of(*version, cluster.as_ref()), host: host.clone() };
        let stock = self.kept().stock(&form);
        let (stock, complete) = self.filled(&form, scheme, stock, snapshot).await;
        let chosen = snapshot.packages.iter().filter_map(|package| stock.pieces.get(&package.key)?.1.clone());
        let chosen = chosen.filter(|shown| name.as_ref().is_none_or(|name| shown.name == *name));
        let frame = Frame::new().map_err(|error| StorageError::from_io(keys::PACKAGES, error))?;
        let shown = chosen.filter(|shown| shown.is_in(*version, cluster.as_ref())).collect();
        let document = Arc::new(Document::new(frame, shown));
        let mut kept = self.kept();
        kept.put_stock(form, stock);
        // One that lacks packages because they could not be read is put together again next time.
        if complete {
            kept.put_document(snapshot.generation, key, Arc::clone(&document));
        }
        Ok(document)
    }

    /// The stock with the pieces that it lacks, and whether it has all.
    async fn filled(&self, form: &Form, scheme: &str, stock: Arc<Stock>, snapshot: &Snapshot) -> (Arc<Stock>, bool) {
        if stock.is_of(snapshot) {
            return (stock, true);
        }
        let (mut pieces, missing) = stock.find(snapshot);
        let form = Arc::new((form.clone(), format!("{scheme}://{}", form.host)));
        let mut complete = true;
        let mut made =
            stream::iter(missing).map(|package| self.piece(package, Arc::clone(&form))).buffer_unordered(BUILDERS);
        while let Some(made) = made.next().await {
            match made {
                Some((key, piece)) => drop(pieces.insert(key, piece)),
                None => complete = false,
            }
        }
        (Arc::new(Stock::of(pieces)), complete)
    }

    /// Makes the piece of a package, away from the threads that answer requests. `None` where it can't be read for now, or
    /// isn't what it was any more.
    async fn piece(&self, package: Arc<Listed>, form: Arc<(Form, String)>) -> Option<(Key, Piece)> {
        let entry = match self.catalogue.read(&package.key).await {
            Ok((entry, version)) if version == package.state => entry,
            Ok(_) => return None,
            Err(error) if error.is_gone() => return None,
            Err(error) => {
                tracing::error!(key = %package.key, %error, "left out of /repo");
                return None;
            }
        };
        let state = package.state.clone();
        match spawn_blocking(move || shown(&entry, &form.0, &form.1)).await {
            Ok(shown) => Some((package.key.clone(), (state, shown))),
            Err(error) => {
                tracing::error!(key = %package.key, %error, "left out of /repo");
                None
            }
        }
    }
}

/// A package as a piece; `None` where it would make the whole document unreadable.
fn shown(entry: &Entry, form: &Form, origin: &str) -> Option<Arc<Shown>> {
    let Entry { name, version, metadata, release_version, images, .. } = entry;
    let addresses = Addresses { origin, image_host: &form.host, images };
    let made = repository_package(metadata.as_bytes(), *release_version, &addresses)
        .map_err(|error| error.to_string())
        .and_then(|package| {
            let text = form.shape.apply(&package).to_string();
            let fragment = Fragment::new(text.as_bytes()).map_err(|error| error.to_string())?;
            let is_5 = entry.packaging_version == "5.0";
            Ok(Shown { name: name.clone(), is_5, needs: needed_version(&package), fragment })
        });
    let made = made.inspect_err(|error| {
        tracing::error!(package.name = name, package.version = version, error, "left out of /repo");
    });
    made.ok().map(Arc::new)
}

fn stopped(error: &tokio::task::JoinError) -> StorageError {
    StorageError::from_io(keys::PACKAGES, io::Error::other(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(host: &str) -> Form {
        Form { shape: Shape::default(), host: host.to_owned() }
    }

    fn sized(bytes: usize) -> Arc<Stock> {
        Arc::new(Stock { bytes, ..Stock::default() })
    }

    fn document() -> Arc<Document> {
        Arc::new(Document::new(Frame::new().unwrap(), Vec::new()))
    }

    #[test]
    fn documents_of_an_earlier_state_are_not_found() {
        let mut kept = Kept::default();
        kept.put_document(1, "a".into(), document());
        assert!(kept.document(1, "a").is_some());
        assert!(kept.document(2, "a").is_none());
        kept.put_document(2, "b".into(), document());
        assert!(kept.document(1, "a").is_none() && kept.document(2, "a").is_none());
        kept.put_document(1, "a".into(), document());
        assert_eq!(kept.documents.len(), 1);
    }

    #[test]
    fn the_stock_that_was_used_longest_ago_goes_first() {
        let mut kept = Kept::default();
        for number in 0..STOCKS {
            kept.put_stock(form(&number.to_string()), sized(1));
        }
        assert_eq!(kept.stock(&form("0")).bytes, 1);
        kept.put_stock(form("more"), sized(1));
        assert_eq!((kept.stock(&form("0")).bytes, kept.stock(&form("1")).bytes), (1, 0));
        kept.put_stock(form("large"), sized(KEPT_BYTES));
        assert_eq!((kept.stocks.len(), kept.stock(&form("large")).bytes), (1, KEPT_BYTES));
    }
}
