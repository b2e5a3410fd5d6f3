//! What a bundle consists of, in the API's words.

use std::collections::BTreeMap;

use api::{ContentBlob, ContentFile, PackageContent};
use bundle::model::Bundle;

use super::UploadError;

/// Everything of a bundle: what is small in place, the rest by digest and size.
pub fn content(bundle: &Bundle) -> Result<PackageContent, UploadError> {
    let files = bundle.files.iter().map(|file| ContentFile {
        name: file.name.clone(),
        digest: file.digest.clone(),
        size: file.size,
    });
    let parts = bundle.images.iter().flat_map(|image| image.manifests.iter().chain(&image.blobs));
    let blobs: BTreeMap<_, _> = parts.map(|part| (&part.digest, part.size)).collect();
    let signatures = bundle.signatures.iter().enumerate();
    Ok(PackageContent {
        name: bundle.name.clone(),
        version: bundle.version.clone(),
        digest: bundle.content_digest.clone(),
        metadata: text("metadata.json", &bundle.metadata)?,
        manifest: bundle.manifest.as_deref().map(|bytes| text("manifest.json", bytes)).transpose()?,
        signatures: signatures
            .map(|(n, bytes)| text(&format!("signatures/{n}.json"), bytes))
            .collect::<Result<_, _>>()?,
        files: files.collect(),
        index: bundle.index.as_deref().map(|bytes| text("images/index.json", bytes)).transpose()?,
        blobs: blobs.into_iter().map(|(digest, size)| ContentBlob { digest: digest.clone(), size }).collect(),
    })
}

fn text(entry: &str, bytes: &[u8]) -> Result<String, UploadError> {
    String::from_utf8(bytes.to_vec()).map_err(|_| UploadError::NotText { entry: entry.to_owned() })
}
