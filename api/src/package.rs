//! Packages as the API describes them.

use serde::{Deserialize, Serialize};

/// Where a package is on its way into the catalogue (the words of the `describe` command).
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum State {
    /// Accepted, nothing done yet.
    Pending,
    /// Bytes arrive and are checked.
    Validating,
    /// Checked, being written where all instances see it.
    Storing,
    /// In the catalogue, whole.
    Added,
    /// Refused or given up; the message says why. Nothing of it is kept.
    Failed,
    /// On its way out.
    Removing,
}

impl State {
    /// Whether nothing will change without a new request.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Added | Self::Failed)
    }
}

/// How far a transfer is, in bytes. Never goes back within one attempt.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// Bytes taken in so far.
    pub bytes_done: u64,
    /// Bytes there are in all, where the source says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_total: Option<u64>,
}

/// One image of a package.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PackageImage {
    /// The name under which the package's metadata knows the image (`resource.assets.container.docker.<alias>`).
    pub name: String,
    /// The reference as the registry serves it, without the registry's host, with the digest:
    /// `docker.io/library/redis:5@sha256:…`.
    pub reference: String,
    /// Digest of the manifest or index.
    pub digest: String,
    /// Platforms in the form `linux/amd64`, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub platforms: Vec<String>,
}

/// How a package came in.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub enum PackageSource {
    /// A declaration made the server fetch it.
    Url,
    /// Somebody uploaded it.
    Upload,
}

/// One package at one version.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PackageInfo {
    /// Name of the package.
    pub name: String,
    /// Version of the package.
    pub version: String,
    /// Where it is on its way.
    pub status: State,
    /// Why it is there, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Number that orders the versions of one name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release_version: Option<u64>,
    /// `3.0`, `4.0` or `5.0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packaging_version: Option<String>,
    /// When it became visible (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub added_at: Option<String>,
    /// Bytes of its content: files and image blobs, each counted once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Content digest, `sha256:<hex>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// How it came in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<PackageSource>,
    /// Somebody asked for its removal, which is for the operator to carry out: it deletes the `Package` object first.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub removal_requested: bool,
    /// Bytes taken in, while it is on its way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// The declaration (id) that keeps it; such a package can't be removed through the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed_by: Option<String>,
    /// Who made that declaration: `<namespace>/<name>` of its object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declared_by: Option<String>,
    /// Its images.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<PackageImage>,
}

/// The catalogue in short, sorted by name, then release version, newest first.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PackageList {
    /// The packages.
    pub packages: Vec<PackageInfo>,
}
