//! Uploads: somebody brings a package whose `.dcos` file the server can't fetch itself.
//!
//! The client says first what the package consists of ([`PackageContent`]) and is told which bytes the registry lacks; only
//! those travel, in pieces that can be resumed through any instance. Then it asks for the package to be published, gets
//! an answer at once, and the rest goes on in the background.
//!
//! | call | body → answer |
//! |---|---|
//! | `POST /api/v1/uploads` | [`PackageContent`] → 200 or 201 [`Upload`], `Location` (a path) |
//! | `GET /api/v1/uploads/{id}` | → [`Upload`] |
//! | `HEAD /api/v1/uploads/{id}/blobs/{digest}` | → 204 with [`UPLOAD_OFFSET`]: bytes that the registry has of it |
//! | `PATCH /api/v1/uploads/{id}/blobs/{digest}` | bytes from [`UPLOAD_OFFSET`] on → 204 with the new [`UPLOAD_OFFSET`]; 409 with the right one where it differs |
//! | `POST /api/v1/uploads/{id}/complete` | → 202 [`Upload`]; 409 with what is still missing |
//! | `DELETE /api/v1/uploads/{id}` | → 204 |
//!
//! The id is made from name, version and content digest alone, so that the same `POST` again, also after a crash of either
//! side, goes on with the same upload. A blob is checked and kept as soon as its last byte has arrived.

use serde::{Deserialize, Serialize};

use crate::declaration::FailureReason;
use crate::package::{Progress, State};

/// Header that says at which byte of a blob a request's body begins, and up to which byte the registry has it.
pub const UPLOAD_OFFSET: &str = "upload-offset";

/// Everything that a package consists of: what is small in place, the rest by digest and size.
///
/// From this and the bytes behind its digests the `.dcos` file can be written again, byte for byte.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PackageContent {
    /// Name of the package.
    pub name: String,
    /// Version of the package.
    pub version: String,
    /// Content digest, `sha256:<hex>`.
    pub digest: String,
    /// `metadata.json`, byte for byte.
    pub metadata: String,
    /// `manifest.json`, byte for byte.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
    /// `signatures/<n>.json`, byte for byte, by n.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signatures: Vec<String>,
    /// `resources/<sha256 hex>/<name>`, sorted by path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<ContentFile>,
    /// `images/index.json`, byte for byte.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<String>,
    /// `images/blobs/…`: manifests, configurations and layers, sorted by digest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blobs: Vec<ContentBlob>,
}

/// A file of a package.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ContentFile {
    /// File name: `A–Z a–z 0–9 . _ -`.
    pub name: String,
    /// `sha256:<hex>` of its bytes.
    pub digest: String,
    /// Its bytes.
    pub size: u64,
}

/// A blob of a package's images.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ContentBlob {
    /// `sha256:<hex>` of its bytes.
    pub digest: String,
    /// Its bytes.
    pub size: u64,
}

/// An upload and how far it is.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Upload {
    /// Its id, for the other calls.
    pub id: String,
    /// Name of the package.
    pub name: String,
    /// Version of the package.
    pub version: String,
    /// Content digest.
    pub digest: String,
    /// Where the package is on its way; `Pending` until [`complete`](self) was asked for.
    pub state: State,
    /// Set when `state` is `Failed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<FailureReason>,
    /// What happened and what would be right, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Bytes that are in the registry, of all that the package has.
    #[serde(default)]
    pub progress: Progress,
    /// What the registry lacks, sorted by digest, with the bytes that it has of each already.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<MissingBlob>,
    /// The number that it was published under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release_version: Option<u64>,
}

/// Something that the registry lacks.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct MissingBlob {
    /// `sha256:<hex>`.
    pub digest: String,
    /// Its bytes.
    pub size: u64,
    /// How many of them arrived before.
    #[serde(default)]
    pub offset: u64,
}
