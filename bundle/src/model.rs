//! What a checked bundle holds.

use serde::{Deserialize, Serialize};

use crate::digest::content_document;

/// A bundle that was read to its end and found right.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Bundle {
    /// `metadata.json`, byte for byte.
    pub metadata: Vec<u8>,
    /// `manifest.json`, byte for byte, where there is one.
    pub manifest: Option<Vec<u8>>,
    /// `images/index.json`, byte for byte; where the images came as `docker/images.tar`, what it would be. `None` without
    /// images.
    pub index: Option<Vec<u8>>,
    /// Signature bundles (`signatures/<n>.json`), byte for byte, in order of their names.
    pub signatures: Vec<Vec<u8>>,
    /// `packagingVersion` of the metadata: `3.0`, `4.0` or `5.0`.
    pub packaging_version: String,
    /// Name of the package.
    pub name: String,
    /// Version of the package.
    pub version: String,
    /// Files, sorted by entry path.
    pub files: Vec<File>,
    /// Images, sorted by alias.
    pub images: Vec<Image>,
    /// Content digest, `sha256:<hex>`, as the design page defines it.
    pub content_digest: String,
    /// Bytes of its content: files and image blobs, each digest counted once.
    pub size: u64,
}

impl Image {
    /// What the content digest says of it: its reference, and the digest of its manifest or index.
    pub(crate) fn content(&self) -> (&str, &str) {
        (&self.reference, &self.target.digest)
    }
}

impl Bundle {
    /// The document whose sha256 is the content digest: what a signature of the package signs.
    #[must_use]
    pub fn content(&self) -> Vec<u8> {
        content_document(&self.metadata, &self.files, self.images.iter().map(Image::content))
    }
}

/// One `resources/<sha256 hex>/<name>` entry.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct File {
    /// File name, `[A-Za-z0-9._-]+`.
    pub name: String,
    /// `sha256:<hex>`.
    pub digest: String,
    /// Bytes.
    pub size: u64,
}

impl File {
    /// Where it is in a bundle: `resources/<sha256 hex>/<name>`.
    #[must_use]
    pub fn path(&self) -> String {
        format!("resources/{}/{}", self.hex(), self.name)
    }

    /// Hex digits of its digest.
    pub(crate) fn hex(&self) -> &str {
        self.digest.trim_start_matches("sha256:")
    }
}

/// One image that the metadata names, with everything that must be there to pull it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// Alias in `resource.assets.container.docker`.
    pub alias: String,
    /// Reference as the metadata has it: `redis:5`.
    pub reference: String,
    /// Repository as the registry serves it: `docker.io/library/redis`.
    pub repository: String,
    /// Tag, `latest` where the reference has neither tag nor digest; `None` for a reference by digest.
    pub tag: Option<String>,
    /// The manifest or index that the name stands for.
    pub target: Descriptor,
    /// Every manifest and index reachable from the target, the target among them, children before parents; after
    /// them the manifests in the bundle that belong to one of these (signatures, SBOMs), by their `subject` or their tag.
    pub manifests: Vec<Descriptor>,
    /// Every config and layer that those need, each once.
    pub blobs: Vec<Descriptor>,
    /// Platforms in the form `linux/amd64` or `linux/arm64/v8`, sorted.
    pub platforms: Vec<String>,
    /// Those of the manifests that are kept under a tag of their own in the image's repository, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Attachment>,
}

/// A manifest that belongs to another one by its tag, as cosign's do: see [`crate::image::attachment`].
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attachment {
    /// `sha256-<hex>.sig`, `.att` or `.sbom`.
    pub tag: String,
    /// What the tag stands for.
    pub target: Descriptor,
}

/// A blob with its type.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Ord, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Media type.
    pub media_type: String,
    /// `sha256:<hex>`.
    pub digest: String,
    /// Bytes.
    pub size: u64,
}
