//! What one server says of itself.

use serde::{Deserialize, Serialize};

/// Figures for the `PackageRegistry`'s status.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ServerStatus {
    /// Version of the server.
    pub version: String,
    /// Packages in the catalogue.
    pub packages: u64,
    /// Bytes of all blobs in the store.
    pub used_bytes: u64,
    /// What is right and wrong with it. Types that aren't there weren't looked at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<ServerCondition>,
}

/// One thing about a server that is right or wrong.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ServerCondition {
    /// What: `Storage`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it is right.
    pub ok: bool,
    /// A word for programs: `Succeeded`, `SecretInvalid`, `ClockSkew`, `S3CoordinationUnsafe`, `Unreachable`, …
    pub reason: String,
    /// What happened and what would be right.
    pub message: String,
}
