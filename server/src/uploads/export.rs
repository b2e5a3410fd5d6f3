//! A package of the catalogue as something that can be written, or brought to another registry, again.

use std::collections::BTreeMap;

use api::{ContentBlob, ContentFile, PackageContent};
use bundle::model::Descriptor;

use crate::catalogue::entry::Entry;

/// Everything that a package consists of.
#[must_use]
pub fn content_of(entry: &Entry) -> PackageContent {
    let file = |file: &bundle::model::File| ContentFile {
        name: file.name.clone(),
        digest: file.digest.clone(),
        size: file.size,
    };
    let mut files: Vec<_> = entry.files.iter().map(file).collect();
    files.sort_by(|a, b| (&a.digest, &a.name).cmp(&(&b.digest, &b.name)));
    let blobs: BTreeMap<&str, u64> = image_blobs(entry).map(|blob| (blob.digest.as_str(), blob.size)).collect();
    PackageContent {
        name: entry.name.clone(),
        version: entry.version.clone(),
        digest: entry.digest.clone(),
        metadata: entry.metadata.clone(),
        manifest: entry.manifest.clone(),
        signatures: entry.signatures.clone(),
        files,
        index: entry.index.clone().or_else(|| index_of(entry)),
        blobs: blobs.into_iter().map(|(digest, size)| ContentBlob { digest: digest.to_owned(), size }).collect(),
    }
}

/// Whether a package has a file or blob of this digest.
#[must_use]
pub fn has(entry: &Entry, digest: &str) -> bool {
    entry.files.iter().any(|file| file.digest == digest) || image_blobs(entry).any(|blob| blob.digest == digest)
}

fn image_blobs(entry: &Entry) -> impl Iterator<Item = &Descriptor> {
    entry.images.iter().flat_map(|image| image.manifests.iter().chain(&image.blobs))
}

/// The index of images that came in another form than an OCI layout.
fn index_of(entry: &Entry) -> Option<String> {
    let images: BTreeMap<_, _> =
        entry.images.iter().map(|image| (image.reference.clone(), image.target.clone())).collect();
    (!images.is_empty()).then(|| bundle::write::index(&images))
}
