//! Declarations: somebody (a `Package` object) wants the package at a source to be in the catalogue.
//!
//! The id is the declaring object's uid. `PUT` is idempotent: the same spec changes nothing, another one replaces the
//! declaration (the new package is published before the old one is withdrawn). A `PUT` after [`State::Failed`] with the
//! same spec starts another attempt. The server keeps nothing of a declaration that isn't published but what is in
//! memory: after a restart the declaring side gets 404 and puts it again; what is already published under that id from
//! the same source is found again and nothing is fetched.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::package::{PackageImage, Progress, State};

/// What is declared.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeclarationSpec {
    /// The bundle's address.
    pub url: UrlSource,
    /// Number that orders the versions of one name: exactly this one where the declaring side has decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release_version: Option<u64>,
    /// Otherwise: this one (Unix seconds), raised until it is above every other of that name. The answer's
    /// [`PublishedPackage::release_version`] says which one it became.
    pub release_version_from: u64,
    /// For people and the audit log: `<namespace>/<name>` of the declaring object.
    pub declared_by: String,
}

/// A `.dcos` file behind an `http` or `https` address.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UrlSource {
    /// Address, `http://…` or `https://…`, without user or password.
    pub url: String,
    /// Digest of the file's bytes, 64 lower-case hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// User and password, or a bearer token, for that host alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Credentials>,
    /// PEM certificates to trust for that host instead of the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle: Option<String>,
}

/// Credentials for a source. Their `Debug` form prints no secret.
#[derive(Clone, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Credentials {
    /// Sent as `Authorization: Basic`.
    Basic {
        /// User name.
        username: String,
        /// Password.
        password: String,
    },
    /// Sent as `Authorization: Bearer`.
    Bearer {
        /// The token.
        token: String,
    },
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Basic { username, .. } => f.debug_struct("Basic").field("username", username).finish_non_exhaustive(),
            Self::Bearer { .. } => f.debug_struct("Bearer").finish_non_exhaustive(),
        }
    }
}

/// Why a declaration failed, as far as a program has to know. The names are those of the `Package` conditions' reasons.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum FailureReason {
    /// The source may not be asked: not in the list of allowed hosts, a forbidden address, no digest where one is required.
    NotAllowed,
    /// The source could not be read.
    FetchFailed,
    /// The source answered 401 or 403.
    AuthenticationFailed,
    /// The bytes are not those that the declaration's sha256 promises.
    DigestMismatch,
    /// Not a `.dcos` file that could be published.
    InvalidBundle,
    /// A packaging version that can't be published.
    UnsupportedPackagingVersion,
    /// Another declaration publishes this name and version.
    AlreadyDeclared,
    /// The same name and version is there with other content.
    Conflict,
    /// No room.
    StorageFull,
}

impl FailureReason {
    /// Whether the fetch failed (as opposed to the publication of what was fetched).
    #[must_use]
    pub fn is_fetch(self) -> bool {
        matches!(self, Self::NotAllowed | Self::FetchFailed | Self::AuthenticationFailed | Self::DigestMismatch)
    }

    /// Whether another attempt can succeed although nobody changed the declaration or the bundle.
    #[must_use]
    pub fn is_transient(self) -> bool {
        matches!(self, Self::FetchFailed | Self::AuthenticationFailed | Self::StorageFull | Self::AlreadyDeclared)
    }
}

/// A declaration and what became of it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Declaration {
    /// Id that it was put under.
    pub id: String,
    /// Where its package is on its way.
    pub state: State,
    /// Set when `state` is `Failed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<FailureReason>,
    /// What happened and what would be right, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Bytes taken in.
    #[serde(default)]
    pub progress: Progress,
    /// What this declaration has in the catalogue now; during a replacement still the old one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<PublishedPackage>,
}

/// What a declaration has in the catalogue.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PublishedPackage {
    /// Name of the package.
    pub name: String,
    /// Version of the package.
    pub version: String,
    /// Number that orders the versions of that name.
    pub release_version: u64,
    /// Content digest.
    pub digest: String,
    /// Bytes of its content.
    pub size: u64,
    /// Its images.
    #[serde(default)]
    pub images: Vec<PackageImage>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_never_show_in_debug_output() {
        let basic = Credentials::Basic { username: "ann".into(), password: "hunter2".into() };
        let bearer = Credentials::Bearer { token: "hunter2".into() };
        assert!(!format!("{basic:?}{bearer:?}").contains("hunter2"));
    }

    #[test]
    fn an_unknown_key_in_a_declaration_is_refused() {
        let text = r#"{"url":{"url":"https://a.test/x.dcos","sha":"1"},"releaseVersionFrom":1,"declaredBy":"a/b"}"#;
        assert!(serde_json::from_str::<DeclarationSpec>(text).is_err());
    }
}
