//! Packages in the words of the API.

use api::{PackageImage, PackageInfo, PackageSource, PublishedPackage, State};
use bundle::model::Image;

use super::entry::Entry;

/// One package, for `/api/v1/packages`.
#[must_use]
pub fn info(entry: &Entry) -> PackageInfo {
    let declaration = (entry.source == PackageSource::Url).then_some(&entry.declaration);
    PackageInfo {
        name: entry.name.clone(),
        version: entry.version.clone(),
        status: State::Added,
        message: None,
        release_version: Some(entry.release_version),
        packaging_version: Some(entry.packaging_version.clone()),
        added_at: Some(entry.added_at.clone()),
        size: Some(entry.size),
        digest: Some(entry.digest.clone()),
        source: Some(entry.source),
        removal_requested: false,
        progress: None,
        managed_by: declaration.map(|it| it.id.clone()),
        declared_by: declaration.map(|it| it.by.clone()),
        images: entry.images.iter().map(image).collect(),
    }
}

/// What a declaration has in the catalogue.
#[must_use]
pub fn published(entry: &Entry) -> PublishedPackage {
    PublishedPackage {
        name: entry.name.clone(),
        version: entry.version.clone(),
        release_version: entry.release_version,
        digest: entry.digest.clone(),
        size: entry.size,
        images: entry.images.iter().map(image).collect(),
    }
}

fn image(image: &Image) -> PackageImage {
    let tag = image.tag.as_ref().map(|tag| format!(":{tag}")).unwrap_or_default();
    PackageImage {
        name: image.alias.clone(),
        reference: format!("{}{tag}@{}", image.repository, image.target.digest),
        digest: image.target.digest.clone(),
        platforms: image.platforms.clone(),
    }
}
