//! Now and then: going on with what another process left, and forgetting what is old.

use std::collections::HashSet;
use std::sync::{Arc, Weak};
use std::time::Instant;

use futures::future::{BoxFuture, FutureExt};

use super::error::UploadError;
use super::observe::Rest;
use super::status::Status;
use super::{Inner, UploadId, Uploads};
use crate::catalogue::InFlight;
use crate::digest::Digest;
use crate::storage::keys::{self, UploadPart};
use crate::storage::{Condition, Item, StorageError, Version};

impl Uploads {
    /// Looks at all uploads for ever.
    pub async fn watch(self) {
        loop {
            if let Err(error) = self.scan().await {
                tracing::warn!(%error, "the uploads can't be looked at");
            }
            tokio::time::sleep(self.inner.pace.look).await;
        }
    }

    /// Looks at all uploads once. A status is read when it is new, or has been the same for so long that whoever should work
    /// on the upload may have stopped.
    ///
    /// # Errors
    /// A listing that fails.
    pub async fn scan(&self) -> Result<(), StorageError> {
        let began = Instant::now();
        let (mut there, mut old) = (HashSet::new(), Vec::new());
        let parts = self.store().parts().await?;
        for (part, item) in &parts {
            let (UploadPart::Status(id), Item::Object { version, age, .. }) = (part, item) else { continue };
            there.insert(id.clone());
            if age.is_some_and(|age| age >= self.inner.pace.expiry) {
                old.push((id.clone(), version.clone()));
            } else if self.is_quiet(id, version)
                && let Err(error) = self.look(id, version, began).await
            {
                tracing::warn!(upload.id = %id, %error, "an upload can't be looked at");
            }
        }
        self.observed().keep(&there);
        self.writes().keep(&there);
        self.release_others(&there, began).await;
        for (id, version) in old {
            if let Err(error) = self.forget(&id, &version).await {
                tracing::warn!(upload.id = %id, %error, "an old upload can't be removed");
            }
        }
        for (part, item) in parts {
            // What a crash left before there was a status.
            if let (UploadPart::Content(id, hex), Item::Object { age: Some(age), version, .. }) = (part, item)
                && age >= self.inner.pace.expiry
                && !there.contains(&id)
            {
                self.store().storage.delete_unchanged(&keys::upload_content(&id, &hex), &version).await?;
            }
        }
        Ok(())
    }

    /// Whether the status of an upload that this process doesn't work on may be that of a stopped one.
    fn is_quiet(&self, id: &UploadId, version: &Version) -> bool {
        !self.inner.running.has(id) && self.is_silent(id, version)
    }

    /// Looks at an upload whose status was listed after `began`.
    async fn look(&self, id: &UploadId, listed: &Version, began: Instant) -> Result<(), UploadError> {
        let known = self.observed().rest(id, listed);
        let rest = match known {
            Some(rest) => Some(rest),
            None => self.read_rest(id, listed).await?,
        };
        if rest == Some(Rest::Over) {
            // Held since it was announced or sent here, although another process worked on it.
            self.release_before(id, began).await;
        }
        Ok(())
    }

    /// Reads a status, and goes on with the upload if nobody does.
    async fn read_rest(&self, id: &UploadId, listed: &Version) -> Result<Option<Rest>, UploadError> {
        let (status, version) = match self.store().status(id).await {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(None),
            Err(error) => {
                if matches!(error, UploadError::Damaged { .. }) {
                    self.observed().note_rest(id, listed, Some(Rest::Over), Instant::now());
                }
                return Err(error);
            }
        };
        let rest = Rest::of(&status);
        self.observed().note_rest(id, &version, rest, Instant::now());
        if self.is_abandoned(id, &status, &version) {
            self.resume(id, status, version).await?;
        }
        Ok(rest)
    }

    /// Begins again with what another process left.
    pub(super) async fn resume(&self, id: &UploadId, status: Status, version: Version) -> Result<(), UploadError> {
        let record = self.store().record(id, &status.content).await?;
        let owned = status.owned(&self.inner.me);
        let Some(mark) = self.inner.running.mark(id) else { return Ok(()) };
        match self.store().put_status(id, &owned, Condition::Unchanged(version)).await {
            Ok(version) => {
                tracing::info!(upload.id = %id, "goes on with an upload that another process left");
                self.start(mark, record, owned, version);
                Ok(())
            }
            // Somebody was quicker.
            Err(StorageError::ConditionFailed { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes an upload that was old when it was listed, unless somebody touched it since.
    async fn forget(&self, id: &UploadId, listed: &Version) -> Result<(), UploadError> {
        let removed = match self.store().status(id).await {
            Ok(Some((status, version))) => version == *listed && self.store().remove(id, &status, &version).await?,
            Ok(None) => false,
            // What it consists of goes when it is found without a status.
            Err(UploadError::Damaged { .. }) => {
                self.store().storage.delete_unchanged(&keys::upload_status(id), listed).await?
            }
            Err(error) => return Err(error),
        };
        if removed {
            self.release(id).await;
            tracing::info!(upload.id = %id, "an upload expired");
        }
        Ok(())
    }

    /// Every blob that an upload on its way needs, whichever process it goes through.
    ///
    /// # Errors
    /// A store that fails: what uploads need is not known then.
    pub async fn roots(&self) -> Result<HashSet<Digest>, StorageError> {
        let mut roots = HashSet::new();
        for (id, status) in self.store().statuses().await? {
            if !status.holds_blobs() {
                continue;
            }
            match self.store().record(&id, &status.content).await {
                Ok(record) => roots.extend(record.blobs.keys().cloned()),
                Err(UploadError::Store { source }) if !source.is_not_found() => return Err(source),
                Err(error) => tracing::error!(upload.id = %id, %error, "what an upload consists of can't be read"),
            }
        }
        Ok(roots)
    }
}

/// The uploads of a process, as the catalogue asks for what they need. Not a part of them: the catalogue would keep itself.
struct Needed(Weak<Inner>);

impl InFlight for Needed {
    fn roots(&self) -> BoxFuture<'_, Result<HashSet<Digest>, StorageError>> {
        async move {
            match self.0.upgrade() {
                Some(inner) => Uploads { inner }.roots().await,
                None => Ok(HashSet::new()),
            }
        }
        .boxed()
    }
}

/// What the uploads need, for [`crate::catalogue::Catalogue::protect`].
pub(super) fn needed(inner: &Arc<Inner>) -> Arc<dyn InFlight> {
    Arc::new(Needed(Arc::downgrade(inner)))
}
