//! Which package needs something. Packages own their images: what one needs goes with it alone.

use futures::{FutureExt, StreamExt, TryStreamExt, stream};

use super::{ImageError, Images};
use crate::catalogue::ReadError;
use crate::catalogue::entry::Entry;
use crate::names::Repository;
use crate::storage::StorageError;
use crate::storage::keys::{Key, Place};

/// Entries that are read at the same time.
const AT_ONCE: usize = 16;

impl Images {
    /// Refuses what a package needs.
    pub(super) async fn refuse_owned(&self, repository: &Repository, place: &Place) -> Result<(), ImageError> {
        match self.owner(repository, place).await? {
            Some(package) => Err(ImageError::Owned { package }),
            None => Ok(()),
        }
    }

    /// Name and version of a package that needs a link or a tag. Entries of packages with an image in the repository are
    /// read: which parts it has, only the entry says.
    async fn owner(&self, repository: &Repository, place: &Place) -> Result<Option<String>, ImageError> {
        let keys = self.catalogue.with_images_in(repository).await?;
        let reads: Vec<_> = keys.into_iter().map(|key| self.entry(key).boxed()).collect();
        let mut entries = stream::iter(reads).buffer_unordered(AT_ONCE);
        while let Some(entry) = entries.try_next().await? {
            let Some(entry) = entry else { continue };
            let needs = entry.roots().is_ok_and(|roots| roots.links_and_tags().any(|needed| needed == *place));
            if needs {
                return Ok(Some(format!("{} {}", entry.name, entry.version)));
            }
        }
        Ok(None)
    }

    async fn entry(&self, key: Key) -> Result<Option<Entry>, StorageError> {
        match self.catalogue.read(&key).await {
            Ok((entry, _)) => Ok(Some(entry)),
            Err(ReadError::Store { source }) if !source.is_not_found() => Err(source),
            // Gone since it was listed, or damaged: then nobody knows, and what it needs is made again.
            Err(_) => Ok(None),
        }
    }
}
