//! A store that says of itself that other processes work on it too.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use server::digest::Algorithm;
use server::storage::health::Complaint;
use server::storage::{
    BlobWriter, ByteRange, Condition, Item, Key, Listing, Page, Reading, Result, Session, SessionId, SessionView,
    Storage, Version,
};
use url::Url;

/// By how much objects are older than their store says, by key and state.
#[derive(Clone, Default)]
pub struct Older(Arc<Mutex<HashMap<(String, Version), Duration>>>);

impl Older {
    /// Makes everything older that is in a store now.
    pub async fn age(&self, storage: &dyn Storage, by: Duration) {
        let mut after: Option<String> = None;
        loop {
            let listing = Listing { prefix: "", folders: false, after: after.as_deref(), limit: 1000 };
            let page = storage.list(listing).await.unwrap();
            for item in &page.items {
                let Item::Object { key, version, .. } = item else { continue };
                *self.0.lock().unwrap().entry((key.clone(), version.clone())).or_default() += by;
            }
            after = page.items.last().map(|item| item.name().to_owned());
            if !page.more {
                return;
            }
        }
    }

    fn of(&self, key: &str, version: &Version) -> Duration {
        self.0.lock().unwrap().get(&(key.to_owned(), version.clone())).copied().unwrap_or_default()
    }
}

/// Counts what instances ask for.
pub struct Shared {
    inner: Arc<dyn Storage>,
    lists: AtomicUsize,
    gets: AtomicUsize,
    older: Older,
    ages: bool,
}

impl Shared {
    pub fn new(inner: Arc<dyn Storage>) -> Self {
        Self::aging(inner, Older::default())
    }

    /// A store whose objects can be made older.
    pub fn aging(inner: Arc<dyn Storage>, older: Older) -> Self {
        Self { inner, lists: AtomicUsize::new(0), gets: AtomicUsize::new(0), older, ages: true }
    }

    /// A store that doesn't know how old anything is.
    pub fn without_ages(inner: Arc<dyn Storage>) -> Self {
        Self { ages: false, ..Self::new(inner) }
    }

    /// Pages listed and small objects read so far.
    pub fn calls(&self) -> (usize, usize) {
        (self.lists.load(Ordering::SeqCst), self.gets.load(Ordering::SeqCst))
    }
}

impl Storage for Shared {
    fn is_shared(&self) -> bool {
        true
    }

    fn complaint(&self) -> Option<Complaint> {
        self.inner.complaint()
    }

    fn direct_url<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Url>>> {
        self.inner.direct_url(key)
    }

    fn was_there<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<bool>> {
        self.inner.was_there(key)
    }

    fn least_piece(&self) -> u64 {
        self.inner.least_piece()
    }

    fn size<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<u64>> {
        self.inner.size(key)
    }

    fn read<'a>(&'a self, key: &'a Key, range: ByteRange) -> BoxFuture<'a, Result<Reading>> {
        self.inner.read(key, range)
    }

    fn get<'a>(&'a self, key: &'a Key, limit: u64) -> BoxFuture<'a, Result<(Bytes, Version)>> {
        self.gets.fetch_add(1, Ordering::SeqCst);
        self.inner.get(key, limit)
    }

    fn put<'a>(&'a self, key: &'a Key, bytes: Bytes, condition: Condition) -> BoxFuture<'a, Result<Version>> {
        self.inner.put(key, bytes, condition)
    }

    fn write_blob(&self, algorithm: Algorithm) -> BoxFuture<'_, Result<Box<dyn BlobWriter>>> {
        self.inner.write_blob(algorithm)
    }

    fn list<'a>(&'a self, listing: Listing<'a>) -> BoxFuture<'a, Result<Page>> {
        self.lists.fetch_add(1, Ordering::SeqCst);
        async move {
            let mut page = self.inner.list(listing).await?;
            for item in &mut page.items {
                if let Item::Object { key, version, age, .. } = item {
                    *age = age.filter(|_| self.ages).map(|age| age + self.older.of(key, version));
                }
            }
            Ok(page)
        }
        .boxed()
    }

    fn renew<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<bool>> {
        self.inner.renew(key)
    }

    fn rename<'a>(&'a self, from: &'a Key, to: &'a Key) -> BoxFuture<'a, Result<()>> {
        self.inner.rename(from, to)
    }

    fn delete<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<()>> {
        self.inner.delete(key)
    }

    fn delete_unchanged<'a>(&'a self, key: &'a Key, version: &'a Version) -> BoxFuture<'a, Result<bool>> {
        self.inner.delete_unchanged(key, version)
    }

    fn content_bytes(&self) -> BoxFuture<'_, Result<u64>> {
        self.inner.content_bytes()
    }

    fn create_session(&self, id: SessionId, note: Bytes) -> BoxFuture<'_, Result<()>> {
        self.inner.create_session(id, note)
    }

    fn view_session(&self, id: SessionId) -> BoxFuture<'_, Result<SessionView>> {
        self.inner.view_session(id)
    }

    fn resume_session(&self, id: SessionId) -> BoxFuture<'_, Result<Box<dyn Session>>> {
        self.inner.resume_session(id)
    }

    fn drop_session(&self, id: SessionId) -> BoxFuture<'_, Result<()>> {
        self.inner.drop_session(id)
    }

    fn stale_sessions(&self, older_than: Duration) -> BoxFuture<'_, Result<Vec<SessionId>>> {
        self.inner.stale_sessions(older_than)
    }
}
