//! What one server says of itself.

use serde::{Deserialize, Serialize};

/// Figures for the `PackageRegistry`'s status.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerStatus {
    /// Version of the server.
    pub version: String,
    /// Packages in the catalogue.
    pub packages: u64,
    /// Bytes of all blobs in the store.
    pub used_bytes: u64,
}
