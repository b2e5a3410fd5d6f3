//! The body of an answer that isn't a success, outside `/v2/` (which has the OCI specification's form).

use serde::{Deserialize, Serialize};

/// `{"type", "message", "data"?}`, the form that the consumer's package errors have.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ApiError {
    /// A word for programs, in CamelCase: `NotFound`, `Unauthorized`, `Forbidden`, `Conflict`, `Invalid`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// What happened and what would be right.
    pub message: String,
    /// More, for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<serde_json::Value>,
}
