//! Storage in memory, for tests and trials: gone with the process.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures::future::{BoxFuture, FutureExt, ready};

use super::memory_session::{MemorySession, Pieces};
use super::session::{Session, SessionId, SessionView};
use super::{
    BlobWriter, ByteRange, Condition, FinishedBlob, Item, Key, Listing, Page, Reading, Result, Storage, StorageError,
    Version, keys,
};
use crate::digest::{Algorithm, Digest, Hasher};

/// Objects in a map.
#[derive(Clone, Debug, Default)]
pub struct MemoryStorage {
    objects: Arc<Mutex<Objects>>,
    sessions: Arc<Mutex<HashMap<SessionId, Pieces>>>,
}

#[derive(Debug, Default)]
struct Objects {
    by_key: BTreeMap<String, Object>,
    /// Writes and renewals so far.
    writes: u64,
}

#[derive(Clone, Debug)]
struct Object {
    bytes: Bytes,
    /// Which of the writes it is from.
    write: u64,
    since: Instant,
}

impl Object {
    fn version(&self) -> Version {
        Version::new(self.write.to_string())
    }
}

impl Objects {
    fn insert(&mut self, key: &Key, bytes: Bytes) -> Version {
        self.writes += 1;
        let object = Object { bytes, write: self.writes, since: Instant::now() };
        let version = object.version();
        self.by_key.insert(key.to_string(), object);
        version
    }
}

impl MemoryStorage {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn objects(&self) -> MutexGuard<'_, Objects> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn sessions(&self) -> MutexGuard<'_, HashMap<SessionId, Pieces>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, key: &Key) -> Result<Object> {
        let found = self.objects().by_key.get(key.as_str()).cloned();
        found.ok_or_else(|| StorageError::NotFound { key: key.to_string() })
    }

    fn open(&self, key: &Key, range: ByteRange) -> Result<Reading> {
        Reading::of_bytes(key, &self.find(key)?.bytes, range)
    }

    fn put_now(&self, key: &Key, bytes: Bytes, condition: &Condition) -> Result<Version> {
        let mut objects = self.objects();
        let holds = match (objects.by_key.get(key.as_str()), condition) {
            (None, Condition::Absent) => true,
            (Some(there), Condition::Unchanged(version)) => there.version() == *version,
            _ => false,
        };
        if !holds {
            return Err(StorageError::ConditionFailed { key: key.to_string() });
        }
        Ok(objects.insert(key, bytes))
    }

    fn delete_now(&self, key: &Key, version: &Version) -> bool {
        let mut objects = self.objects();
        if objects.by_key.get(key.as_str()).is_some_and(|there| there.version() != *version) {
            return false;
        }
        objects.by_key.remove(key.as_str());
        true
    }

    fn renew_now(&self, key: &Key) -> bool {
        let mut objects = self.objects();
        let Some(bytes) = objects.by_key.get(key.as_str()).map(|object| object.bytes.clone()) else { return false };
        objects.insert(key, bytes);
        true
    }

    fn page(&self, listing: &Listing<'_>) -> Page {
        let objects = self.objects();
        let start = match listing.after {
            Some(after) if after >= listing.prefix => Bound::Excluded(after),
            _ => Bound::Included(listing.prefix),
        };
        let mut page = Page::default();
        for (key, object) in objects.by_key.range::<str, _>((start, Bound::Unbounded)) {
            let Some(rest) = key.strip_prefix(listing.prefix) else { break };
            let item = match rest.find('/').filter(|_| listing.folders) {
                Some(end) => Item::Folder(key[..=listing.prefix.len() + end].to_owned()),
                None => Item::Object {
                    key: key.clone(),
                    size: object.bytes.len() as u64,
                    version: object.version(),
                    age: Some(object.since.elapsed()),
                },
            };
            let repeated = page.items.last().is_some_and(|last| last.name() == item.name());
            if repeated || listing.after.is_some_and(|after| item.name() <= after) {
                continue;
            }
            if page.items.len() == listing.limit {
                page.more = true;
                break;
            }
            page.items.push(item);
        }
        page
    }
}

impl Storage for MemoryStorage {
    fn is_shared(&self) -> bool {
        false
    }

    fn size<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<u64>> {
        ready(self.find(key).map(|object| object.bytes.len() as u64)).boxed()
    }

    fn read<'a>(&'a self, key: &'a Key, range: ByteRange) -> BoxFuture<'a, Result<Reading>> {
        ready(self.open(key, range)).boxed()
    }

    fn get<'a>(&'a self, key: &'a Key, limit: u64) -> BoxFuture<'a, Result<(Bytes, Version)>> {
        let found = self.find(key).and_then(|object| {
            if object.bytes.len() as u64 > limit {
                return Err(StorageError::TooLarge { key: key.to_string(), limit });
            }
            let version = object.version();
            Ok((object.bytes, version))
        });
        ready(found).boxed()
    }

    fn put<'a>(&'a self, key: &'a Key, bytes: Bytes, condition: Condition) -> BoxFuture<'a, Result<Version>> {
        ready(self.put_now(key, bytes, &condition)).boxed()
    }

    fn write_blob(&self, algorithm: Algorithm) -> BoxFuture<'_, Result<Box<dyn BlobWriter>>> {
        let writer: Box<dyn BlobWriter> =
            Box::new(MemoryBlob { storage: self.clone(), hasher: Hasher::new(algorithm), bytes: BytesMut::new() });
        ready(Ok(writer)).boxed()
    }

    fn list<'a>(&'a self, listing: Listing<'a>) -> BoxFuture<'a, Result<Page>> {
        ready(Ok(self.page(&listing))).boxed()
    }

    fn rename<'a>(&'a self, from: &'a Key, to: &'a Key) -> BoxFuture<'a, Result<()>> {
        let mut objects = self.objects();
        if let Some(object) = objects.by_key.remove(from.as_str()) {
            objects.insert(to, object.bytes);
        }
        ready(Ok(())).boxed()
    }

    fn renew<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<bool>> {
        ready(Ok(self.renew_now(key))).boxed()
    }

    fn delete_unchanged<'a>(&'a self, key: &'a Key, version: &'a Version) -> BoxFuture<'a, Result<bool>> {
        ready(Ok(self.delete_now(key, version))).boxed()
    }

    fn create_session(&self, id: SessionId, note: Bytes) -> BoxFuture<'_, Result<()>> {
        self.sessions().insert(id, Pieces::new(note));
        ready(Ok(())).boxed()
    }

    fn view_session(&self, id: SessionId) -> BoxFuture<'_, Result<SessionView>> {
        let found = self.sessions().get(&id).map(Pieces::view);
        ready(found.ok_or_else(|| StorageError::NotFound { key: keys::session_state(id).to_string() })).boxed()
    }

    fn resume_session(&self, id: SessionId) -> BoxFuture<'_, Result<Box<dyn Session>>> {
        let resumed = MemorySession::resume(self, id).map(|session| Box::new(session) as Box<dyn Session>);
        ready(resumed).boxed()
    }

    fn drop_session(&self, id: SessionId) -> BoxFuture<'_, Result<()>> {
        self.sessions().remove(&id);
        ready(Ok(())).boxed()
    }

    fn stale_sessions(&self, older_than: Duration) -> BoxFuture<'_, Result<Vec<SessionId>>> {
        let sessions = self.sessions();
        let stale = sessions.iter().filter(|(_, pieces)| pieces.age() > older_than).map(|(id, _)| *id).collect();
        ready(Ok(stale)).boxed()
    }

    fn delete<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<()>> {
        self.objects().by_key.remove(key.as_str());
        ready(Ok(())).boxed()
    }
}

struct MemoryBlob {
    storage: MemoryStorage,
    hasher: Hasher,
    bytes: BytesMut,
}

impl BlobWriter for MemoryBlob {
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<()>> {
        self.hasher.update(&bytes);
        self.bytes.extend_from_slice(&bytes);
        ready(Ok(())).boxed()
    }

    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<Box<dyn FinishedBlob>>> {
        let finished: Box<dyn FinishedBlob> = Box::new(FinishedMemoryBlob {
            storage: self.storage,
            digest: self.hasher.finish(),
            bytes: self.bytes.freeze(),
        });
        ready(Ok(finished)).boxed()
    }
}

pub(super) struct FinishedMemoryBlob {
    pub(super) storage: MemoryStorage,
    pub(super) digest: Digest,
    pub(super) bytes: Bytes,
}

impl FinishedBlob for FinishedMemoryBlob {
    fn digest(&self) -> &Digest {
        &self.digest
    }

    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn commit(self: Box<Self>) -> BoxFuture<'static, Result<()>> {
        let key = keys::blob(&self.digest);
        self.storage.objects().insert(&key, self.bytes);
        ready(Ok(())).boxed()
    }
}
