//! Links: which repository serves what. Written so that what a package and a push say of one link are both kept.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{ImageError, Images};
use crate::catalogue::entry::{BlobLink, LINK_LIMIT, Link, TagTarget};
use crate::digest::Digest;
use crate::names::{Repository, Tag};
use crate::storage::{Condition, Key, StorageError, Version, document, keys};

/// How often something that others write at the same time is tried.
pub(super) const ATTEMPTS: usize = 16;

impl Images {
    /// Whether a repository serves a blob, or did some seconds ago. Manifests are blobs too.
    ///
    /// # Errors
    /// A store that fails.
    pub async fn serves(&self, repository: &Repository, digest: &Digest) -> Result<bool, StorageError> {
        for key in [keys::blob_link(repository, digest), keys::manifest_link(repository, digest)] {
            if self.storage().was_there(&key).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Makes a blob of a repository young again, so that it isn't collected before the manifest that needs it is there.
    /// False if the repository or the store doesn't have it.
    ///
    /// # Errors
    /// A store that fails.
    pub async fn renew(&self, repository: &Repository, digest: &Digest) -> Result<bool, StorageError> {
        let blob = keys::blob(digest);
        for key in [keys::blob_link(repository, digest), keys::manifest_link(repository, digest)] {
            if self.storage().renew(&key).await? {
                return self.storage().renew(&blob).await;
            }
        }
        Ok(false)
    }

    /// Links a blob whose bytes are in the store, and marks it as pushed.
    pub(super) async fn link_blob(&self, repository: &Repository, digest: &Digest) -> Result<(), ImageError> {
        let key = keys::blob_link(repository, digest);
        self.merge(&key, |_: Option<BlobLink>| BlobLink { pushed: true }).await
    }

    /// Links a manifest whose bytes are in the store. The media type that a package gave it stays.
    pub(super) async fn link_manifest(
        &self,
        repository: &Repository,
        digest: &Digest,
        link: &Link,
    ) -> Result<(), ImageError> {
        let key = keys::manifest_link(repository, digest);
        self.merge(&key, |there: Option<Link>| match there {
            Some(there) if there.pushed.is_none() => Link { pushed: link.pushed.clone(), ..there },
            _ => link.clone(),
        })
        .await
    }

    /// Writes what `change` makes of what is there. It is written also where nothing changes: its age begins again, and
    /// who is about to remove it sees that it was wanted again.
    async fn merge<T: Serialize + DeserializeOwned>(
        &self,
        key: &Key,
        change: impl Fn(Option<T>) -> T,
    ) -> Result<(), ImageError> {
        let mut there: Option<(Option<T>, Version)> = None;
        for _ in 0..ATTEMPTS {
            let (value, condition) = match there.take() {
                None => (change(None), Condition::Absent),
                Some((value, version)) => (change(value), Condition::Unchanged(version)),
            };
            match self.storage().put(key, document::write(key, &value)?, condition).await {
                Ok(_) => return Ok(()),
                Err(StorageError::ConditionFailed { .. }) => there = self.small(key).await?,
                Err(error) => return Err(error.into()),
            }
        }
        Err(ImageError::Contended)
    }

    /// What a repository says of a manifest; `None` where it doesn't serve it, or where that is damaged.
    ///
    /// # Errors
    /// A store that fails.
    pub async fn manifest_link(&self, repository: &Repository, digest: &Digest) -> Result<Option<Link>, StorageError> {
        Ok(self.small(&keys::manifest_link(repository, digest)).await?.and_then(|(link, _)| link))
    }

    /// Where a tag points; `None` where there is none, or where that is damaged.
    ///
    /// # Errors
    /// A store that fails.
    pub async fn tag_target(&self, repository: &Repository, tag: &Tag) -> Result<Option<TagTarget>, StorageError> {
        Ok(self.small(&keys::tag(repository, tag)).await?.and_then(|(target, _)| target))
    }

    /// A link or tag and its state: nothing if it isn't there, no content if that is damaged.
    pub(super) async fn small<T: DeserializeOwned>(
        &self,
        key: &Key,
    ) -> Result<Option<(Option<T>, Version)>, StorageError> {
        match self.storage().get(key, LINK_LIMIT).await {
            Ok((bytes, version)) => {
                let value = serde_json::from_slice(&bytes);
                let value = value.inspect_err(|error| tracing::error!(%key, %error, "damaged")).ok();
                Ok(Some((value, version)))
            }
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }
}
