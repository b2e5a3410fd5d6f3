//! A store that fails on purpose.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use server::digest::{Algorithm, Digest};
use server::storage::health::Complaint;
use server::storage::{
    BlobWriter, ByteRange, Condition, FinishedBlob, Key, Listing, Page, Reading, Result, Session, SessionId,
    SessionView, Storage, StorageError, Version,
};
use tokio::sync::Semaphore;
use url::Url;

/// When it fails.
#[derive(Clone, Copy, Debug)]
pub enum When {
    /// At the n-th call and at every later one, as if the process had died there.
    From(usize),
    /// At the n-th call alone.
    Only(usize),
    /// At every write, for want of room.
    Full,
    /// At no call.
    Never,
}

struct Counted {
    when: When,
    calls: usize,
}

#[derive(Clone)]
struct Faults(Arc<Mutex<Counted>>);

impl Faults {
    fn check(&self) -> Result<()> {
        let mut counted = self.0.lock().unwrap();
        counted.calls += 1;
        let fails = match counted.when {
            When::From(n) => counted.calls >= n,
            When::Only(n) => counted.calls == n,
            When::Full | When::Never => false,
        };
        if fails {
            return Err(StorageError::Io { key: "fault".into(), source: io::Error::other("on purpose") });
        }
        Ok(())
    }

    fn check_room(&self) -> Result<()> {
        let when = self.0.lock().unwrap().when;
        match when {
            When::Full => Err(StorageError::StorageFull { key: "fault".into() }),
            _ => self.check(),
        }
    }
}

pub struct Faulty {
    inner: Arc<dyn Storage>,
    faults: Faults,
    /// Writes under that prefix wait for a permit.
    gate: Option<(&'static str, Arc<Semaphore>)>,
    /// What happens before the first listing of that prefix.
    interruption: Mutex<Option<(&'static str, BoxFuture<'static, ()>)>>,
}

impl Faulty {
    pub fn new(inner: Arc<dyn Storage>, when: When) -> Self {
        let faults = Faults(Arc::new(Mutex::new(Counted { when, calls: 0 })));
        Self { inner, faults, gate: None, interruption: Mutex::default() }
    }

    /// Never fails, but lets no write under the prefix through without a permit.
    pub fn gated(inner: Arc<dyn Storage>, prefix: &'static str, gate: Arc<Semaphore>) -> Self {
        Self { gate: Some((prefix, gate)), ..Self::new(inner, When::Never) }
    }

    /// From now on fails then, counted from now.
    pub fn fail(&self, when: When) {
        *self.faults.0.lock().unwrap() = Counted { when, calls: 0 };
    }

    /// Before the next listing of that prefix, this happens.
    pub fn interrupt(&self, prefix: &'static str, what: impl Future<Output = ()> + Send + 'static) {
        *self.interruption.lock().unwrap() = Some((prefix, what.boxed()));
    }

    /// Calls since it was said when to fail.
    pub fn calls(&self) -> usize {
        self.faults.0.lock().unwrap().calls
    }
}

impl Storage for Faulty {
    fn size<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<u64>> {
        async move {
            self.faults.check()?;
            self.inner.size(key).await
        }
        .boxed()
    }

    fn read<'a>(&'a self, key: &'a Key, range: ByteRange) -> BoxFuture<'a, Result<Reading>> {
        async move {
            self.faults.check()?;
            self.inner.read(key, range).await
        }
        .boxed()
    }

    fn get<'a>(&'a self, key: &'a Key, limit: u64) -> BoxFuture<'a, Result<(Bytes, Version)>> {
        async move {
            self.faults.check()?;
            self.inner.get(key, limit).await
        }
        .boxed()
    }

    fn put<'a>(&'a self, key: &'a Key, bytes: Bytes, condition: Condition) -> BoxFuture<'a, Result<Version>> {
        async move {
            self.faults.check_room()?;
            if let Some((prefix, gate)) = &self.gate
                && key.as_str().starts_with(prefix)
            {
                gate.acquire().await.unwrap().forget();
            }
            self.inner.put(key, bytes, condition).await
        }
        .boxed()
    }

    fn write_blob(&self, algorithm: Algorithm) -> BoxFuture<'_, Result<Box<dyn BlobWriter>>> {
        async move {
            self.faults.check()?;
            let inner = self.inner.write_blob(algorithm).await?;
            Ok(Box::new(FaultyBlob { inner, faults: self.faults.clone() }) as Box<dyn BlobWriter>)
        }
        .boxed()
    }

    fn list<'a>(&'a self, listing: Listing<'a>) -> BoxFuture<'a, Result<Page>> {
        async move {
            self.faults.check()?;
            let interruption = self.interruption.lock().unwrap().take_if(|(prefix, _)| *prefix == listing.prefix);
            if let Some((_, what)) = interruption {
                what.await;
            }
            self.inner.list(listing).await
        }
        .boxed()
    }

    fn rename<'a>(&'a self, from: &'a Key, to: &'a Key) -> BoxFuture<'a, Result<()>> {
        async move {
            self.faults.check()?;
            self.inner.rename(from, to).await
        }
        .boxed()
    }

    fn is_shared(&self) -> bool {
        self.inner.is_shared()
    }

    fn complaint(&self) -> Option<Complaint> {
        self.inner.complaint()
    }

    fn was_there<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<bool>> {
        async move {
            self.faults.check()?;
            self.inner.was_there(key).await
        }
        .boxed()
    }

    fn direct_url<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Url>>> {
        async move {
            self.faults.check()?;
            self.inner.direct_url(key).await
        }
        .boxed()
    }

    fn renew<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<bool>> {
        async move {
            self.faults.check()?;
            self.inner.renew(key).await
        }
        .boxed()
    }

    fn delete_unchanged<'a>(&'a self, key: &'a Key, version: &'a Version) -> BoxFuture<'a, Result<bool>> {
        async move {
            self.faults.check()?;
            self.inner.delete_unchanged(key, version).await
        }
        .boxed()
    }

    fn content_bytes(&self) -> BoxFuture<'_, Result<u64>> {
        async move {
            self.faults.check()?;
            self.inner.content_bytes().await
        }
        .boxed()
    }

    fn least_piece(&self) -> u64 {
        self.inner.least_piece()
    }

    fn create_session(&self, id: SessionId, note: Bytes) -> BoxFuture<'_, Result<()>> {
        async move {
            self.faults.check_room()?;
            self.inner.create_session(id, note).await
        }
        .boxed()
    }

    fn view_session(&self, id: SessionId) -> BoxFuture<'_, Result<SessionView>> {
        async move {
            self.faults.check()?;
            self.inner.view_session(id).await
        }
        .boxed()
    }

    fn resume_session(&self, id: SessionId) -> BoxFuture<'_, Result<Box<dyn Session>>> {
        async move {
            self.faults.check()?;
            let inner = self.inner.resume_session(id).await?;
            Ok(Box::new(FaultySession { inner, faults: self.faults.clone() }) as Box<dyn Session>)
        }
        .boxed()
    }

    fn drop_session(&self, id: SessionId) -> BoxFuture<'_, Result<()>> {
        async move {
            self.faults.check()?;
            self.inner.drop_session(id).await
        }
        .boxed()
    }

    fn stale_sessions(&self, older_than: Duration) -> BoxFuture<'_, Result<Vec<SessionId>>> {
        async move {
            self.faults.check()?;
            self.inner.stale_sessions(older_than).await
        }
        .boxed()
    }

    fn delete<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<()>> {
        async move {
            self.faults.check()?;
            self.inner.delete(key).await
        }
        .boxed()
    }
}

struct FaultySession {
    inner: Box<dyn Session>,
    faults: Faults,
}

impl Session for FaultySession {
    fn size(&self) -> u64 {
        self.inner.size()
    }

    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<()>> {
        async move {
            self.faults.check_room()?;
            self.inner.write(bytes).await
        }
        .boxed()
    }

    fn save(self: Box<Self>) -> BoxFuture<'static, Result<u64>> {
        async move {
            self.faults.check_room()?;
            self.inner.save().await
        }
        .boxed()
    }

    fn finish(self: Box<Self>, algorithm: Algorithm) -> BoxFuture<'static, Result<Box<dyn FinishedBlob>>> {
        async move {
            self.faults.check()?;
            let inner = self.inner.finish(algorithm).await?;
            Ok(Box::new(FinishedFaultyBlob { inner, faults: self.faults }) as Box<dyn FinishedBlob>)
        }
        .boxed()
    }
}

struct FaultyBlob {
    inner: Box<dyn BlobWriter>,
    faults: Faults,
}

impl BlobWriter for FaultyBlob {
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<()>> {
        async move {
            self.faults.check_room()?;
            self.inner.write(bytes).await
        }
        .boxed()
    }

    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<Box<dyn FinishedBlob>>> {
        async move {
            self.faults.check()?;
            let inner = self.inner.finish().await?;
            Ok(Box::new(FinishedFaultyBlob { inner, faults: self.faults }) as Box<dyn FinishedBlob>)
        }
        .boxed()
    }
}

struct FinishedFaultyBlob {
    inner: Box<dyn FinishedBlob>,
    faults: Faults,
}

impl FinishedBlob for FinishedFaultyBlob {
    fn digest(&self) -> &Digest {
        self.inner.digest()
    }

    fn size(&self) -> u64 {
        self.inner.size()
    }

    fn commit(self: Box<Self>) -> BoxFuture<'static, Result<()>> {
        async move {
            self.faults.check()?;
            self.inner.commit().await
        }
        .boxed()
    }
}

/// Lets `round` fail at its first call of the store, then at its second, and so on, until it ends before that call comes. It is
/// given the number, and says how many calls it made. At least so many must be tried.
pub async fn at_every_call(least: usize, round: impl AsyncFn(usize) -> usize) {
    let mut n = 1;
    while round(n).await >= n {
        n += 1;
    }
    assert!(n > least, "only {n} calls were tried");
}
