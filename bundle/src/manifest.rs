//! `manifest.json`: what the packer says of a bundle. Nothing depends on it, but what it says must be true.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{File, Image};

/// The only format there is.
const FORMAT: u64 = 1;

/// A manifest. One made by the registry's predecessor has `built-by` alone.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Manifest {
    /// 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<u64>,
    /// `<tool> <version>`.
    pub built_by: String,
    /// The entries under `resources/`, sorted by path.
    #[serde(default)]
    pub resources: Vec<ManifestResource>,
    /// The images, sorted by alias.
    #[serde(default)]
    pub images: Vec<ManifestImage>,
}

/// A file of the bundle.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct ManifestResource {
    /// Entry path.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Hex digits of its sha256.
    pub sha256: String,
    /// Address or path that it was fetched from, without credentials.
    pub source: String,
}

/// An image of the bundle.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ManifestImage {
    /// Alias in `resource.assets.container.docker`.
    pub alias: String,
    /// The reference, its tag or digest explicit.
    pub reference: String,
    /// Digest of the manifest or index.
    pub manifest_digest: String,
}

impl Manifest {
    /// A manifest of this format.
    #[must_use]
    pub const fn new(built_by: String, resources: Vec<ManifestResource>, images: Vec<ManifestImage>) -> Self {
        Self { format: Some(FORMAT), built_by, resources, images }
    }

    /// Compares what a manifest says with what is in the bundle.
    ///
    /// # Errors
    /// What is wrong.
    pub(crate) fn check(bytes: &[u8], files: &BTreeMap<String, File>, images: &[Image]) -> Result<(), String> {
        let manifest: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if let Some(format) = manifest.format.filter(|format| *format != FORMAT) {
            return Err(format!("$.format: is {format}, must be {FORMAT}"));
        }
        for resource in &manifest.resources {
            let path = resource.path.escape_debug();
            let file =
                files.get(&resource.path).ok_or_else(|| format!("it lists {path}, which is not in the bundle"))?;
            if file.size != resource.size || file.digest.strip_prefix("sha256:") != Some(&resource.sha256) {
                return Err(format!("what it says of {path} is not so"));
            }
        }
        for said in &manifest.images {
            let (alias, digest) = (said.alias.escape_debug(), said.manifest_digest.escape_debug());
            let image = images.iter().find(|image| image.alias == said.alias);
            let image = image.ok_or_else(|| format!("it lists image {alias}, which the metadata does not name"))?;
            if image.target.digest != said.manifest_digest {
                return Err(format!("it says that image {alias} is {digest}, but it is {}", image.target.digest));
            }
        }
        Ok(())
    }
}
