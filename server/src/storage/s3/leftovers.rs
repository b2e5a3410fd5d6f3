//! What is in the bucket and belongs to nothing: removed when who wrote it gives up, and after a while if he died.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use tokio::runtime::Handle;
use uuid::Uuid;

use super::envelope::content_size;
use super::inner::Inner;
use crate::storage::{Listing, PAGE, Result, StorageError, keys};

/// Pointers that are read at the same time.
const READS: usize = 8;

/// Bytes that are on their way to be a blob. Dropped before they are in use, they are removed in the background.
pub(super) struct Leftover {
    inner: Arc<Inner>,
    data: Uuid,
    upload: Option<String>,
    /// Whether a session's state names the upload. Then it is the session's: whoever takes that over may complete it and give
    /// the object a pointer, and whoever drops it aborts it.
    shared: bool,
    object: bool,
}

impl Leftover {
    pub fn new(inner: Arc<Inner>, data: Uuid) -> Self {
        Self { inner, data, upload: None, shared: false, object: false }
    }

    pub fn is_upload(&mut self, upload: Option<&String>) {
        self.upload = upload.cloned();
    }

    /// The upload of a session, which others may have taken over.
    pub fn is_shared_upload(&mut self, upload: Option<&String>) {
        self.is_upload(upload);
        self.shared = upload.is_some();
    }

    pub fn upload(&self) -> Option<&str> {
        self.upload.as_deref()
    }

    /// From now on there may be an object; whether there is, only an answer says.
    pub fn may_be_an_object(&mut self) {
        self.object = true;
    }

    pub fn is_no_upload_any_more(&mut self) {
        self.upload = None;
    }

    pub fn is_in_use(&mut self) {
        (self.upload, self.object) = (None, false);
    }
}

impl Drop for Leftover {
    fn drop(&mut self) {
        let (upload, object) = (self.upload.take(), self.object);
        if self.shared || upload.is_none() && !object {
            return;
        }
        // Without a runtime the process ends; the next clearing of leftovers finds it.
        let Ok(runtime) = Handle::try_current() else { return };
        let (inner, key) = (Arc::clone(&self.inner), keys::data(self.data));
        runtime.spawn(async move {
            if let Some(upload) = upload
                && let Err(failure) = inner.bucket.abort_multipart(&key, &upload).await
            {
                tracing::warn!(key, error = %failure.at(&key), "an unfinished upload stays for now");
            }
            if object && let Err(error) = inner.remove_small(&key).await {
                tracing::warn!(key, %error, "bytes that nobody needs stay for now");
            }
        });
    }
}

/// Bytes that had no pointer when leftovers were cleared last.
#[derive(Debug, Default)]
pub(super) struct Suspects(Mutex<HashSet<Uuid>>);

/// What a clearing removed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Cleared {
    /// Uploads that were neither completed nor aborted.
    pub uploads: usize,
    /// Objects that nothing pointed to.
    pub objects: usize,
}

impl Inner {
    /// Removes what belongs to nothing and is older than that by the store's clock. Bytes without a pointer must be found
    /// twice: an object made of parts is as old as its first part, and may get its pointer at this moment.
    pub async fn clear_leftovers(&self, older_than: Duration) -> Result<Cleared> {
        Ok(Cleared { uploads: self.clear_uploads(older_than).await?, objects: self.clear_objects(older_than).await? })
    }

    async fn clear_uploads(&self, older_than: Duration) -> Result<usize> {
        let old = self.bucket.unfinished(keys::DATA).await.map_err(|failure| failure.at(keys::DATA))?;
        let ours = |key: &str| keys::data_id(key).is_some();
        let old: Vec<_> =
            old.into_iter().filter(|u| ours(&u.key) && u.age.is_some_and(|age| age >= older_than)).collect();
        if old.is_empty() {
            return Ok(0);
        }
        let needed = self.uploads_of_sessions().await?;
        let mut cleared = 0;
        for upload in old.iter().filter(|upload| !needed.contains(&upload.upload)) {
            let aborted = self.bucket.abort_multipart(&upload.key, &upload.upload).await;
            aborted.map_err(|failure| failure.at(&upload.key))?;
            cleared += 1;
        }
        Ok(cleared)
    }

    async fn clear_objects(&self, older_than: Duration) -> Result<usize> {
        let mut old: HashSet<Uuid> = HashSet::new();
        self.each_object(keys::DATA, |key, _, age| {
            old.extend(keys::data_id(&key).filter(|_| age.is_some_and(|age| age >= older_than)));
        })
        .await?;
        // Pointers are listed after the bytes, so that bytes that were listed and are in use have theirs already. Reading
        // each of them is only worth it if there are too few.
        if old.len() as u64 <= self.count_pointers().await? {
            old.clear();
        }
        match self.without_those_in_use(&mut old).await {
            // It could name any of them. What isn't readable for now says so by another error.
            Err(error @ StorageError::Io { .. }) => {
                tracing::warn!(%error, "a pointer can't be read: until it is removed no bytes are taken for left over");
                return Ok(0);
            }
            other => other?,
        }
        let before = {
            let mut known = self.suspects.0.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *known, old.clone())
        };
        let mut cleared = 0;
        for data in old.intersection(&before) {
            self.remove_small(&keys::data(*data)).await?;
            cleared += 1;
        }
        Ok(cleared)
    }

    async fn count_pointers(&self) -> Result<u64> {
        let mut count = 0;
        for prefix in pointer_prefixes() {
            self.each_object(&prefix, |_, size, _| count += u64::from(content_size(size).is_some())).await?;
        }
        Ok(count)
    }

    /// Takes those out that a pointer names. Pointers are in memory a page at a time.
    async fn without_those_in_use(&self, old: &mut HashSet<Uuid>) -> Result<()> {
        for prefix in pointer_prefixes() {
            let mut after: Option<String> = None;
            while !old.is_empty() {
                let listing = Listing { prefix: &prefix, folders: false, after: after.as_deref(), limit: PAGE };
                let page = self.page(&listing).await?;
                let names: Vec<String> = page.items.iter().map(|item| item.name().to_owned()).collect();
                after = names.last().cloned();
                let read = |key: String| async move { self.data_of(&key).await };
                let mut pointers = stream::iter(names).map(read).buffer_unordered(READS);
                while let Some(data) = pointers.try_next().await? {
                    if let Some(data) = data {
                        old.remove(&data);
                    }
                }
                if !page.more {
                    break;
                }
            }
        }
        Ok(())
    }

    async fn data_of(&self, key: &str) -> Result<Option<Uuid>> {
        match self.read_pointer(key).await {
            Ok(known) => Ok(Some(known.pointer.data)),
            Err(StorageError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn pointer_prefixes() -> [String; 2] {
    [keys::BLOBS.to_owned(), format!("{}{}", keys::QUARANTINE, keys::BLOBS)]
}
