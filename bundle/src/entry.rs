//! Names of a bundle's entries.

use crate::reference::is_sha256_hex;
use crate::universe::entry_path;

/// What an entry of a bundle is, by its name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum EntryKind {
    /// `metadata.json`
    Metadata,
    /// `manifest.json`
    Manifest,
    /// `resources/<hex>/<name>`
    Resource {
        /// `sha256:<hex>`
        digest: String,
        /// File name.
        name: String,
    },
    /// `signatures/<n>.json`
    Signature(u32),
    /// `images/oci-layout`
    Layout,
    /// `images/index.json`
    Index,
    /// `images/blobs/sha256/<hex>`, the digest
    Blob(String),
    /// `docker/images.tar`
    DockerArchive,
    /// A folder of one of these.
    Folder,
}

pub(crate) const METADATA: &str = "metadata.json";
pub(crate) const MANIFEST: &str = "manifest.json";
pub(crate) const LAYOUT: &str = "images/oci-layout";
pub(crate) const INDEX: &str = "images/index.json";
pub(crate) const BLOBS: &str = "images/blobs/sha256/";
pub(crate) const DOCKER_ARCHIVE: &str = "docker/images.tar";

impl EntryKind {
    /// The kind of an entry; `None` for names that bundles don't have.
    pub(crate) fn of(name: &str) -> Option<Self> {
        match name {
            METADATA => return Some(Self::Metadata),
            MANIFEST => return Some(Self::Manifest),
            LAYOUT => return Some(Self::Layout),
            INDEX => return Some(Self::Index),
            DOCKER_ARCHIVE => return Some(Self::DockerArchive),
            "resources/" | "signatures/" | "images/" | "images/blobs/" | BLOBS | "docker/" => {
                return Some(Self::Folder);
            }
            _ => {}
        }
        if let Some((hex, name)) = entry_path(name) {
            return Some(Self::Resource { digest: format!("sha256:{hex}"), name: name.to_owned() });
        }
        if let Some(hex) = name.strip_prefix(BLOBS) {
            return is_sha256_hex(hex).then(|| Self::Blob(format!("sha256:{hex}")));
        }
        if let Some(number) = name.strip_prefix("signatures/").and_then(|rest| rest.strip_suffix(".json")) {
            let plain = number == "0" || (!number.starts_with(['0', '+']));
            return number.parse().ok().filter(|_| plain).map(Self::Signature);
        }
        let hex = name.strip_prefix("resources/")?.strip_suffix('/')?;
        is_sha256_hex(hex).then_some(Self::Folder)
    }
}
