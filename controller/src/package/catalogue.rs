//! What an entry of the registry's catalogue means for Package objects.

use api::{PackageInfo, PackageSource, PublishedPackage};

/// Whether it was uploaded and no declaration has taken it over.
pub(super) fn is_upload(entry: &PackageInfo) -> bool {
    entry.source == Some(PackageSource::Upload) && entry.managed_by.is_none()
}

/// What is in the catalogue; `None` before it is there whole.
pub(super) fn published(entry: &PackageInfo) -> Option<PublishedPackage> {
    Some(PublishedPackage {
        name: entry.name.clone(),
        version: entry.version.clone(),
        release_version: entry.release_version?,
        digest: entry.digest.clone()?,
        size: entry.size?,
        images: entry.images.clone(),
    })
}
