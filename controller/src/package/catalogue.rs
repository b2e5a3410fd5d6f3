//! The registry's catalogue, as far as it says how a package came in and whether it should go.

use api::{PackageImage, PublishedPackage, State};
use serde::Deserialize;

/// `GET /api/v1/packages`.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Catalogue {
    /// The packages.
    pub packages: Vec<Entry>,
}

/// One package at one version.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Name of the package.
    pub name: String,
    /// Version of the package.
    pub version: String,
    /// Where it is on its way.
    pub status: State,
    /// Why it is there, for people.
    #[serde(default)]
    pub message: Option<String>,
    /// Number that orders the versions of one name.
    #[serde(default)]
    pub release_version: Option<u64>,
    /// Bytes of its content.
    #[serde(default)]
    pub size: Option<u64>,
    /// Content digest.
    #[serde(default)]
    pub digest: Option<String>,
    /// The declaration (id) that keeps it.
    #[serde(default)]
    pub managed_by: Option<String>,
    /// Its images.
    #[serde(default)]
    pub images: Vec<PackageImage>,
    /// How it came in; servers of before uploads don't say it.
    #[serde(default)]
    pub source: Option<Source>,
    /// Somebody asked the server to remove it: its object is to be deleted.
    #[serde(default)]
    pub removal_requested: bool,
}

/// How a package came in.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// Fetched for a declaration.
    Url,
    /// Uploaded.
    Upload,
}

impl Entry {
    /// Whether it was uploaded and no declaration has taken it over.
    #[must_use]
    pub fn is_upload(&self) -> bool {
        self.source == Some(Source::Upload) && self.managed_by.is_none()
    }

    /// What is in the catalogue; `None` before it is there whole.
    #[must_use]
    pub fn published(&self) -> Option<PublishedPackage> {
        Some(PublishedPackage {
            name: self.name.clone(),
            version: self.version.clone(),
            release_version: self.release_version?,
            digest: self.digest.clone()?,
            size: self.size?,
            images: self.images.clone(),
        })
    }
}
