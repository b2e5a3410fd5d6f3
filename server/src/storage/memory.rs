//! Storage in memory, for tests and trials: gone with the process.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use futures::future::{BoxFuture, FutureExt, ready};
use futures::{StreamExt, stream};

use super::{
    BlobWriter, ByteRange, Condition, FinishedBlob, Item, Key, Listing, Page, Reading, Result, Storage, StorageError,
    Version, keys,
};
use crate::digest::{Algorithm, Digest, Hasher};

/// Objects in a map.
#[derive(Clone, Debug, Default)]
pub struct MemoryStorage {
    objects: Arc<Mutex<BTreeMap<String, Bytes>>>,
}

impl MemoryStorage {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn objects(&self) -> MutexGuard<'_, BTreeMap<String, Bytes>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, key: &Key) -> Result<Bytes> {
        let found = self.objects().get(key.as_str()).cloned();
        found.ok_or_else(|| StorageError::NotFound { key: key.to_string() })
    }

    fn open(&self, key: &Key, range: ByteRange) -> Result<Reading> {
        let bytes = self.find(key)?;
        let size = bytes.len() as u64;
        let range = range.within(size).ok_or_else(|| StorageError::RangeOutside { key: key.to_string(), size })?;
        let to_index = |n: u64| usize::try_from(n).unwrap_or(bytes.len());
        let part = bytes.slice(to_index(range.start)..to_index(range.end));
        let chunks: Vec<_> = part.chunks(1 << 16).map(|c| Ok(part.slice_ref(c))).collect();
        Ok(Reading { size, range, body: stream::iter(chunks).boxed() })
    }

    fn put_now(&self, key: &Key, bytes: Bytes, condition: &Condition) -> Result<Version> {
        let mut objects = self.objects();
        let holds = match (objects.get(key.as_str()), condition) {
            (None, Condition::Absent) => true,
            (Some(there), Condition::Unchanged(version)) => Version::of_content(there) == *version,
            _ => false,
        };
        if !holds {
            return Err(StorageError::ConditionFailed { key: key.to_string() });
        }
        let version = Version::of_content(&bytes);
        objects.insert(key.to_string(), bytes);
        Ok(version)
    }

    fn page(&self, listing: &Listing<'_>) -> Page {
        let objects = self.objects();
        let start = match listing.after {
            Some(after) if after >= listing.prefix => Bound::Excluded(after),
            _ => Bound::Included(listing.prefix),
        };
        let mut page = Page::default();
        for (key, bytes) in objects.range::<str, _>((start, Bound::Unbounded)) {
            let Some(rest) = key.strip_prefix(listing.prefix) else { break };
            let item = match rest.find('/').filter(|_| listing.folders) {
                Some(end) => Item::Folder(key[..=listing.prefix.len() + end].to_owned()),
                None => Item::Object { key: key.clone(), size: bytes.len() as u64 },
            };
            let repeated = page.items.last() == Some(&item);
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
    fn size<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<u64>> {
        ready(self.find(key).map(|bytes| bytes.len() as u64)).boxed()
    }

    fn read<'a>(&'a self, key: &'a Key, range: ByteRange) -> BoxFuture<'a, Result<Reading>> {
        ready(self.open(key, range)).boxed()
    }

    fn get<'a>(&'a self, key: &'a Key, limit: u64) -> BoxFuture<'a, Result<(Bytes, Version)>> {
        let found = self.find(key).and_then(|bytes| {
            if bytes.len() as u64 > limit {
                return Err(StorageError::TooLarge { key: key.to_string(), limit });
            }
            let version = Version::of_content(&bytes);
            Ok((bytes, version))
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
        if let Some(bytes) = objects.remove(from.as_str()) {
            objects.insert(to.to_string(), bytes);
        }
        ready(Ok(())).boxed()
    }

    fn delete<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<()>> {
        self.objects().remove(key.as_str());
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

struct FinishedMemoryBlob {
    storage: MemoryStorage,
    digest: Digest,
    bytes: Bytes,
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
        self.storage.objects().insert(key.to_string(), self.bytes);
        ready(Ok(())).boxed()
    }
}
