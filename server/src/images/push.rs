//! Taking a manifest in: what it needs must be there, then its bytes, its link, its entry as a referrer, and last its tag.

use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};

use super::manifest::Manifest;
use super::{ImageError, Images, MayMove};
use crate::catalogue::entry::{Link, Pushed, TagTarget};
use crate::catalogue::referrers::Described;
use crate::digest::{Algorithm, Digest, Hasher};
use crate::names::{Repository, Tag};
use crate::storage::{StorageError, keys};

/// Most bytes of a manifest; the specification wants at least 4 MiB.
pub const MANIFEST_LIMIT: u64 = 4 << 20;
/// References that are looked up at the same time.
const AT_ONCE: usize = 16;

/// What a manifest is to be called.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Named {
    /// By its digest.
    Digest(Digest),
    /// By a tag.
    Tag(Tag),
}

/// A manifest that was taken in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Accepted {
    /// Its digest.
    pub digest: Digest,
    /// What it says something about.
    pub subject: Option<Digest>,
}

impl Images {
    /// Takes a manifest in. A subject needn't be there; everything else that it refers to must be, in the same repository.
    ///
    /// # Errors
    /// A manifest that is none, has another digest or needs what isn't there; a tag that the caller may not move; a store
    /// that fails.
    pub async fn put_manifest(
        &self,
        repository: &Repository,
        named: &Named,
        content_type: Option<&str>,
        bytes: Bytes,
        may_move: &MayMove<'_>,
    ) -> Result<Accepted, ImageError> {
        let digest = digest_of(named, &bytes)?;
        let manifest = Manifest::parse(&bytes, content_type)?;
        let size = bytes.len() as u64;
        let target =
            TagTarget { digest: digest.to_string(), media_type: manifest.media_type.clone(), size, pushed: true };
        if let Named::Tag(tag) = named {
            self.check_move(repository, tag, &target, may_move).await?;
        }
        let mut pins = self.catalogue.pins().set();
        for needed in manifest.references().chain([&digest]) {
            pins.pin(needed.clone()).await;
        }
        self.check_references(repository, &manifest).await?;
        self.write_manifest(digest.algorithm(), bytes).await?;
        let link = Link { media_type: manifest.media_type.clone(), size, pushed: Some(pushed(&manifest)) };
        self.link_manifest(repository, &digest, &link).await?;
        if let Some(subject) = &manifest.subject {
            let described = Described::new(&manifest, &digest, size);
            self.note_referrer(repository, subject, &digest, &described).await?;
        }
        if let Named::Tag(tag) = named {
            self.point(repository, tag, &target, may_move).await?;
        }
        Ok(Accepted { digest, subject: manifest.subject })
    }

    /// Everything that the manifest needs is in the repository, and made young again, so that it stays until the manifest
    /// is there.
    async fn check_references(&self, repository: &Repository, manifest: &Manifest) -> Result<(), ImageError> {
        let blobs = manifest.blobs.iter().map(|digest| self.missing(repository, digest, false).boxed());
        let children = manifest.children.iter().map(|digest| self.missing(repository, digest, true).boxed());
        let looked_up: Vec<_> = blobs.chain(children).collect();
        let missing: Vec<Digest> = stream::iter(looked_up)
            .buffered(AT_ONCE)
            .try_filter_map(|missing| std::future::ready(Ok(missing)))
            .try_collect()
            .await?;
        if missing.is_empty() { Ok(()) } else { Err(ImageError::Incomplete { missing }) }
    }

    /// What is not there. A child must be there as a manifest, or nobody could pull it as one.
    async fn missing(
        &self,
        repository: &Repository,
        digest: &Digest,
        is_manifest: bool,
    ) -> Result<Option<Digest>, StorageError> {
        let found = if is_manifest {
            let link = keys::manifest_link(repository, digest);
            self.storage().renew(&link).await? && self.storage().renew(&keys::blob(digest)).await?
        } else {
            self.renew(repository, digest).await?
        };
        Ok((!found).then(|| digest.clone()))
    }

    async fn write_manifest(&self, algorithm: Algorithm, bytes: Bytes) -> Result<(), StorageError> {
        let mut writer = self.storage().write_blob(algorithm).await?;
        writer.write(bytes).await?;
        writer.finish().await?.commit().await
    }
}

fn digest_of(named: &Named, bytes: &[u8]) -> Result<Digest, ImageError> {
    let algorithm = match named {
        Named::Digest(digest) => digest.algorithm(),
        Named::Tag(_) => Algorithm::Sha256,
    };
    let mut hasher = Hasher::new(algorithm);
    hasher.update(bytes);
    let found = hasher.finish();
    match named {
        Named::Digest(wanted) if *wanted != found => Err(ImageError::Digest { wanted: wanted.clone(), found }),
        _ => Ok(found),
    }
}

fn pushed(manifest: &Manifest) -> Pushed {
    Pushed {
        references: manifest.references().map(ToString::to_string).collect(),
        subject: manifest.subject.as_ref().map(ToString::to_string),
    }
}
