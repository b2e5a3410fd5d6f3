//! The server's HTTP types: what `/api/v1`, `/health` and the errors look like on the wire.
//!
//! Shared by the server, the command line and the controller, so that a change of the wire is one change.
//! JSON, `camelCase` keys, absent instead of `null`. Digests are `sha256:<64 lower-case hex>`, sizes are bytes,
//! times are RFC 3339 in UTC.
//!
//! | call | body → answer | right on `packages` |
//! |---|---|---|
//! | `GET /api/v1/packages` | → [`PackageList`] | get |
//! | `GET /api/v1/packages/{name}/{version}` | → [`PackageInfo`] | get |
//! | `DELETE /api/v1/packages/{name}/{version}` | → 202 [`PackageInfo`]; 404; 409 where a declaration keeps it | delete |
//! | `GET /api/v1/packages/{name}/{version}/content` | → [`PackageContent`] | get |
//! | `GET /api/v1/packages/{name}/{version}/blobs/{digest}` | → bytes, with ranges | get |
//! | `/api/v1/uploads…` | see [`upload`] | create |
//! | `PUT /api/v1/declarations/{id}` | [`DeclarationSpec`] → [`Declaration`] | create |
//! | `GET /api/v1/declarations/{id}` | → [`Declaration`] | get |
//! | `DELETE /api/v1/declarations/{id}` | → [`Declaration`] while removing, 404 once gone | delete |
//! | `GET /api/v1/status` | → [`ServerStatus`] | get |

pub mod declaration;
pub mod error;
pub mod health;
pub mod package;
pub mod status;
pub mod upload;

pub use declaration::{Credentials, Declaration, DeclarationSpec, FailureReason, PublishedPackage, UrlSource};
pub use error::ApiError;
pub use health::Health;
pub use package::{PackageImage, PackageInfo, PackageList, PackageSource, Progress, State};
pub use status::{ServerCondition, ServerStatus};
pub use upload::{ContentBlob, ContentFile, MissingBlob, PackageContent, Upload};

/// First path segment of the API, with its version.
pub const BASE_PATH: &str = "/api/v1";

/// Audience that tokens for a registry must carry: `registry.dcos.io/<namespace>/<name>`.
#[must_use]
pub fn token_audience(namespace: &str, name: &str) -> String {
    format!("registry.dcos.io/{namespace}/{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_audience_names_one_registry_of_one_namespace() {
        assert_eq!(token_audience("apps", "dcos-registry"), "registry.dcos.io/apps/dcos-registry");
    }
}
