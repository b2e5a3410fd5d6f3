//! Removing tags, manifests and blobs. What goes is the link: bytes go later, once nobody needs them.

use std::collections::BTreeSet;

use futures::{FutureExt, StreamExt, TryStreamExt, stream};

use super::{ImageError, Images};
use crate::catalogue::entry::{BlobLink, Link, TagTarget};
use crate::digest::Digest;
use crate::names::{Repository, Tag};
use crate::storage::keys::{self, Place};
use crate::storage::{Key, StorageError, Version, for_each_object};

/// Tags that are read at the same time.
const AT_ONCE: usize = 16;

impl Images {
    /// Removes a tag.
    ///
    /// # Errors
    /// A tag that isn't there or that a package publishes; a store that fails.
    pub async fn remove_tag(&self, repository: &Repository, tag: &Tag) -> Result<(), ImageError> {
        let place = Place::Tag(repository.clone(), tag.clone());
        let key = place.key();
        let (_, version) = self.small::<TagTarget>(&key).await?.ok_or(ImageError::ManifestUnknown)?;
        self.refuse_owned(repository, &place).await?;
        // Moved meanwhile: the move came after the removal.
        self.storage().delete_unchanged(&key, &version).await?;
        Ok(())
    }

    /// Removes a manifest, the tags that point at it, and its entry as a referrer.
    ///
    /// The link goes first. A push writes the link, then the rest: what is seen of the rest while the link is away belongs
    /// to a push that came before this removal, and what is written later is in another state.
    ///
    /// # Errors
    /// A manifest that isn't there or that a package needs; a store that fails.
    pub async fn remove_manifest(&self, repository: &Repository, digest: &Digest) -> Result<(), ImageError> {
        let place = Place::ManifestLink(repository.clone(), digest.clone());
        let key = place.key();
        let link = self.small::<Link>(&key).await?;
        if link.is_none() && self.tags_at(repository, digest).await?.is_empty() {
            return Err(ImageError::ManifestUnknown);
        }
        self.refuse_owned(repository, &place).await?;
        if let Some((_, version)) = &link
            && !self.storage().delete_unchanged(&key, version).await?
        {
            // Pushed again meanwhile: that came after the removal.
            return Ok(());
        }
        let mut rest = self.tags_at(repository, digest).await?;
        let subject = link.and_then(|(link, _)| link?.pushed?.subject);
        if let Some(subject) = subject.and_then(|text| text.parse().ok()) {
            rest.extend(self.referrer_state(keys::referrer(repository, &subject, digest)).await?);
        }
        match self.storage().size(&key).await {
            Ok(_) => return Ok(()),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error.into()),
        }
        for (key, version) in rest {
            self.storage().delete_unchanged(&key, &version).await?;
        }
        Ok(())
    }

    /// Takes a blob out of a repository.
    ///
    /// # Errors
    /// A blob that isn't there, is a manifest, or that a package needs; a store that fails.
    pub async fn remove_blob(&self, repository: &Repository, digest: &Digest) -> Result<(), ImageError> {
        let place = Place::BlobLink(repository.clone(), digest.clone());
        let Some((_, version)) = self.small::<BlobLink>(&place.key()).await? else {
            // As it is now: what was removed a moment ago is gone, whatever is remembered of it.
            let is_manifest = self.small::<Link>(&keys::manifest_link(repository, digest)).await?.is_some();
            return Err(if is_manifest { ImageError::IsManifest } else { ImageError::BlobUnknown });
        };
        self.refuse_owned(repository, &place).await?;
        self.storage().delete_unchanged(&place.key(), &version).await?;
        Ok(())
    }

    /// Tags that point at a manifest, as they are now.
    async fn tags_at(&self, repository: &Repository, digest: &Digest) -> Result<Vec<(Key, Version)>, StorageError> {
        let (prefix, digest) = (keys::tags(repository), digest.to_string());
        let mut tags = BTreeSet::new();
        for_each_object(self.storage(), &prefix, |key, _| {
            tags.extend(key.strip_prefix(&prefix).and_then(|name| name.parse::<Tag>().ok()));
            std::future::ready(Ok::<_, StorageError>(()))
        })
        .await?;
        let reads: Vec<_> =
            tags.into_iter().map(|tag| self.tag_at(keys::tag(repository, &tag), &digest).boxed()).collect();
        stream::iter(reads).buffered(AT_ONCE).try_filter_map(|found| std::future::ready(Ok(found))).try_collect().await
    }

    /// A tag and its state, if it points at that digest.
    async fn tag_at(&self, key: Key, digest: &str) -> Result<Option<(Key, Version)>, StorageError> {
        let found = self.small::<TagTarget>(&key).await?;
        Ok(found.and_then(|(target, version)| (target?.digest == digest).then_some((key, version))))
    }
}
